"""`swarmctl plan`."""

from __future__ import annotations

from pathlib import Path

import click

from swarmctl.cli.context import Context, at_work, format_option, pass_context, print_out, show_plan
from swarmctl.errors import ExitCode


@click.command(name="plan")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Save the plan for `apply --plan`."
)
@click.option(
    "--detailed-exitcode", is_flag=True, help="Exit with 20 when something would change, with 0 when nothing would."
)
@format_option()
@pass_context
def command(context: Context, out: Path | None, detailed_exitcode: bool, format_: str) -> int:
    """Show what apply would change, down to what lands on each host; changes nothing.

    The state and the world are read: what has moved away from what was applied is shown too, since apply heals it.

    \b
    Examples:
      swarmctl plan                         what would change
      swarmctl plan --out plan.json         save it, review it, `apply --plan plan.json`
      swarmctl plan --detailed-exitcode     20 when changes are pending, for pipelines
      swarmctl plan --format json | jq .summary
    """
    from swarmctl.operations.plan import plan
    from swarmctl.plans.file import save

    with at_work() as (progress, stopper):
        planned = plan(context.folder, emit=progress.emit, stopper=stopper)
    if out:
        save(out, planned.plan, planned.preconditions)
    if format_ == "json":
        from swarmctl.reports import json_v1

        print_out(json_v1.text(json_v1.plan(planned.plan)))
    else:
        show_plan(planned.plan, to_stderr=False)
    if out:
        click.echo(f"Saved: {out}; `swarmctl apply --plan {out}` applies exactly this", err=True)
    return ExitCode.CHANGES_PENDING if detailed_exitcode and not planned.plan.empty else ExitCode.OK
