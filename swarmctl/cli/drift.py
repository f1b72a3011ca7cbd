"""`swarmctl drift`."""

from __future__ import annotations

import sys

import click

from swarmctl.cli.context import Context, at_work, format_option, pass_context, print_out
from swarmctl.errors import ExitCode


@click.command(name="drift")
@format_option()
@pass_context
def command(context: Context, format_: str) -> int:
    """Read the world back and show, per node and property, where it has moved away from what was applied.

    Changes nothing; `swarmctl apply` heals. A machine that can't be read is named, and the others are compared all the
    same: exits with 8 then, else with 21 when there is drift.

    \b
    Examples:
      swarmctl drift                        what has moved
      swarmctl drift --format json | jq .drift
      swarmctl drift || swarmctl apply --yes
    """
    from swarmctl.operations.drift import drift

    with at_work() as (progress, stopper):
        found = drift(context.folder, emit=progress.emit, stopper=stopper)
    if format_ == "json":
        from swarmctl.reports import json_v1

        print_out(json_v1.text(json_v1.drift(found.plan, found.silent)))
    else:
        from swarmctl.reports.console import look, wrapped
        from swarmctl.reports.drift import render

        console = look(sys.stdout)
        print_out(wrapped(render(found.plan, color=console.color, width=console.width), console), color=console.color)
    found.judge()
    return ExitCode.DRIFT if found.plan.drift else ExitCode.OK
