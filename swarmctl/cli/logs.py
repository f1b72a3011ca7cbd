"""`swarmctl logs`."""

from __future__ import annotations

import sys

import click

from swarmctl.cli.context import Context, complete_nodes, pass_context, tell


@click.command(name="logs")
@click.argument("node", shell_complete=complete_nodes)
@click.option(
    "--tail", type=click.IntRange(0, 100_000), default=200, show_default=True, help="Last lines of each log to print."
)
@click.option("-f", "--follow", is_flag=True, help="Go on printing new lines until Ctrl-C.")
@pass_context
def command(context: Context, node: str, tail: int, follow: bool) -> None:
    """Print the logs of a node's services, each line after the name of its log. Control characters are escaped.

    \b
    Examples:
      swarmctl logs workers-0
      swarmctl logs workers-0 --tail 20 --follow
    """
    from swarmctl.operations.logs import read_logs
    from swarmctl.reports.console import look, paint, safe

    color = look(sys.stdout).color
    for name, line in read_logs(context.folder, node, tail=tail, follow=follow, emit=tell):
        click.echo(f"{paint(safe(name), 'cyan', color=color)} {safe(line)}", color=color)
