"""`swarmctl apply`."""

from __future__ import annotations

from pathlib import Path
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
    scope_options,
    show_plan,
    show_run,
)

if TYPE_CHECKING:
    from swarmctl.plans.model import Plan


@click.command(name="apply")
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@click.option(
    "--plan",
    "saved",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Apply exactly this plan, saved by `plan --out`, or nothing when anything has moved since.",
)
@scope_options
@lock_timeout_option
@format_option()
@pass_context
def command(
    context: Context,
    yes: bool,
    saved: Path | None,
    refresh: bool,
    targets: tuple[str, ...],
    lock_timeout: float,
    format_: str,
) -> None:
    """Make it so: show the plan, ask, change what differs; again, and nothing changes.

    Ctrl-C finishes the steps in flight and saves the state; apply goes on from there. A second Ctrl-C stops at once.

    \b
    Examples:
      swarmctl apply                        show the plan, ask, apply
      swarmctl apply --yes                  for pipelines
      swarmctl apply --plan plan.json       exactly what was reviewed, or nothing; again after a crash: the rest of it
      swarmctl apply --lock-timeout 10m     wait for whoever works on the stack
    """
    from swarmctl.operations.apply import apply
    from swarmctl.operations.stack import Options

    require_terminal(yes, "apply")
    if saved and (targets or not refresh):
        raise click.UsageError("--plan is applied as it was saved: --target and --no-refresh belong to `swarmctl plan`")
    options = Options(refresh, targets, lock_timeout)
    with at_work() as (progress, stopper):

        def confirm(plan: Plan) -> bool:
            progress.pause()
            if format_ == "text" or not yes:
                show_plan(plan, to_stderr=format_ == "json")
            return yes or ask("Apply these changes? [y/N]").lower() in ("y", "yes")

        run = apply(context.folder, confirm=confirm, emit=progress.emit, stopper=stopper, saved=saved, options=options)
    if format_ == "json":
        from swarmctl.reports import json_v1

        print_out(json_v1.text(json_v1.apply(run)))
    else:
        show_run(run, nothing="Nothing to change.", done="Applied")
    run.judge()
