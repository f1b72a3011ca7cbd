"""`swarmctl validate`."""

from __future__ import annotations

import sys

import click

from swarmctl.cli.context import Context, format_option, pass_context, print_out


@click.command(name="validate")
@format_option()
@pass_context
def command(context: Context, format_: str) -> int:
    """Find every mistake in the declarations, all in one go; touches nothing.

    \b
    Examples:
      swarmctl validate
      swarmctl -C stacks/lab validate --format json

    Exits with 4 when there are errors, 3 when there are no documents; warnings alone exit with 0.
    """
    from swarmctl.errors import ExitCode
    from swarmctl.operations.validate import validate
    from swarmctl.reports.console import look
    from swarmctl.reports.diagnostics import render_text, to_json

    checked = validate(context.folder)
    if format_ == "json":
        import json

        print_out(json.dumps(to_json(checked.diagnostics), indent=2))
    else:
        if checked.diagnostics:
            color = look(sys.stdout).color
            print_out(render_text(checked.diagnostics, checked.sources, color=color), color=color)
        if checked.valid:
            print_out(f"valid: {_count(checked.documents, 'document')} in {_count(len(checked.sources), 'file')}")
    return int(ExitCode.OK if checked.valid else ExitCode.INVALID_DECLARATION)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
