"""`swarmctl exec`."""

from __future__ import annotations

import click

from swarmctl.cli.context import Context, complete_nodes, pass_context, tell


@click.command(name="exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("node", shell_complete=complete_nodes)
@click.argument("command_line", metavar="-- COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@pass_context
def command(context: Context, node: str, command_line: tuple[str, ...]) -> int:
    """Run a command on a node, as root of that machine and with this terminal.

    Write the command after two dashes. The exit status is the command's own.

    \b
    Examples:
      swarmctl exec workers-0 -- wg show
      swarmctl exec control-0 -- ping -c 3 10.88.0.3
      swarmctl exec workers-0 -- bash            a shell, until `exit`
    """
    from swarmctl.operations.exec import execute

    return execute(context.folder, node, command_line[1:] if command_line[0] == "--" else command_line, emit=tell)
