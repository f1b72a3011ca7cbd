"""`swarmctl fmt`."""

from __future__ import annotations

import click

from swarmctl.cli.context import Context, format_option, pass_context, print_out
from swarmctl.errors import ExitCode


@click.command(name="fmt")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 when a file would change.")
@click.option("--diff", is_flag=True, help="Show what changes.")
@format_option()
@pass_context
def command(context: Context, check: bool, diff: bool, format_: str) -> int:
    """Lay the files out the one way, comments kept; prints the names of the files that change.

    Two spaces per level, dashes inside of their key, one blank line at most, `---` between documents, and apiVersion,
    kind, metadata, spec in this order. What a file says is proven to stay the same, or the file stays as it is. Files
    that are not YAML are told, and then nothing is written.

    \b
    Examples:
      swarmctl fmt                   lay out every file of the folder
      swarmctl fmt --check --diff    for pipelines: what would change, exit code 1 if anything
    """
    from swarmctl.operations.fmt import fmt
    from swarmctl.reports.fmt import render_text, to_json

    formatted = fmt(context.folder, write=not check)
    if format_ == "json":
        import json

        print_out(json.dumps(to_json(formatted, written=not check), indent=2))
    else:
        import sys

        from swarmctl.reports.console import look

        color = look(sys.stdout).color
        print_out(render_text(formatted, diff=diff, color=color), color=color)
    for file, reason in formatted.left:
        click.echo(f"left as it is: {file}: {reason}", err=True)
    return ExitCode.FAILED if check and formatted.changed else ExitCode.OK
