"""`swarmctl doctor`."""

from __future__ import annotations

import json
import sys

import click

from swarmctl.cli.context import format_option


@click.command(name="doctor")
@format_option()
def command(format_: str) -> int:
    """Check what this machine can do, and say how to mend what it cannot. Changes nothing.

    Exit code 0 when all is well, 1 when something is missing.

    \b
    Examples:
      swarmctl doctor                    a table, and the commands that mend
      swarmctl doctor --format json      the same for a program
    """
    from swarmctl.operations.doctor import all_well, examine
    from swarmctl.reports import doctor as report
    from swarmctl.reports.console import look

    areas = examine()
    if format_ == "json":
        click.echo(json.dumps(report.to_json(areas), indent=2))
    else:
        click.echo(report.render(areas, color=look(sys.stdout).color))
    return 0 if all_well(areas) else 1
