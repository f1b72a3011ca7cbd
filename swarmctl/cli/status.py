"""`swarmctl status`."""

from __future__ import annotations

import sys

import click

from swarmctl.cli.context import Context, format_option, pass_context, print_out, tell


@click.command(name="status")
@format_option()
@click.option("--no-probe", is_flag=True, help="Only read what the machines say; send no traffic between them.")
@pass_context
def command(context: Context, format_: str, no_probe: bool) -> int:
    """Measure the nodes and the mesh by real traffic: handshakes, who reaches whom, which ports are open. Changes
    nothing.

    Every node pings the others over the mesh and tries ports of theirs: declared flows must be open, a sample of
    others closed, and all of them closed outside of the mesh. A node is ready when its machine exists, its interface
    is up, every tunnel works (a handshake within 180 s, or an answer) and its firewall drops what is not declared.

    \b
    Exit codes: 0 all nodes ready, all links reachable, all ports as declared
                1 not so, or not applied, or the machines are gone
                8 a machine exists and could not be read
    \b
    Examples:
      swarmctl status                                    measure, and show it
      swarmctl status --no-probe                         a quick look at handshakes
      swarmctl status --format json | jq '.nodes[] | select(.ready | not)'
    """
    from swarmctl.operations.status import status
    from swarmctl.reports import status as report
    from swarmctl.reports.console import look
    from swarmctl.reports.status_json import to_json

    found = status(context.folder, probe=not no_probe, emit=tell)
    if format_ == "json":
        from swarmctl.reports.json_v1 import text

        print_out(text(to_json(found)))
    else:
        console = look(sys.stdout)
        print_out(report.render(found, color=console.color, width=console.width), color=console.color)
    return int(found.exit_code)
