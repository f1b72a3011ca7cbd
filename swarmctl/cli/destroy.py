"""`swarmctl destroy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from swarmctl.cli.context import (
    Context,
    ask,
    at_work,
    format_option,
    lock_timeout_option,
    pass_context,
    print_out,
    require_terminal,
    show_plan,
    show_run,
)

if TYPE_CHECKING:
    from swarmctl.plans.model import Plan


@click.command(name="destroy")
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@lock_timeout_option
@format_option()
@pass_context
def command(context: Context, yes: bool, lock_timeout: float, format_: str) -> None:
    """Take everything of the stack away: machines, mesh, rules, state; the declarations stay.

    Asks for the stack's name first. Works again after a crash, and when the machines are gone already.

    \b
    Examples:
      swarmctl destroy                      show what goes, ask for the stack's name
      swarmctl destroy --yes                for pipelines
    """
    from swarmctl.operations.destroy import destroy
    from swarmctl.operations.stack import Options
    from swarmctl.reports.console import safe

    require_terminal(yes, "destroy")
    with at_work() as (progress, stopper):

        def confirm(plan: Plan, name: str) -> bool:
            progress.pause()
            if format_ == "text" or not yes:
                show_plan(plan, to_stderr=format_ == "json")
            return yes or ask(f"All of this goes. Type the stack's name, {safe(name)}, to destroy it:") == name

        options = Options(lock_timeout=lock_timeout)
        run = destroy(context.folder, confirm=confirm, emit=progress.emit, stopper=stopper, options=options)
    if format_ == "json":
        from swarmctl.reports import json_v1

        print_out(json_v1.text(json_v1.destroy(run)))
    else:
        show_run(
            run, nothing="Nothing to destroy.", done="Partly destroyed" if run.silent or run.unswept else "Destroyed"
        )
    run.judge()
