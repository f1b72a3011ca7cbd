"""`swarmctl mesh verify`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from swarmctl.cli.context import Context, Seconds, format_option, pass_context, print_out, tell

if TYPE_CHECKING:
    from swarmctl.operations.mesh_verify_model import Verification
    from swarmctl.operations.mesh_verify_watch import Change

INTERRUPTED = 130


@click.command(name="verify")
@click.option(
    "--watch",
    "every",
    type=Seconds(),
    is_flag=False,
    flag_value="30s",
    metavar="[DURATION]",
    help="Measure again and again, every 30s or as often as said, and show what changes; Ctrl-C ends it.",
)
@format_option("prometheus")
@pass_context
def command(context: Context, every: float | None, format_: str) -> int:
    """Measure by real traffic that every mesh is as declared, and that nothing of it goes over the underlay in clear.
    Changes nothing.

    Every node sends echoes as large as the mesh's MTU to all others (in a mesh of more than 50 nodes to the 49 after
    it), over IPv4 and IPv6, and captures its underlay meanwhile: handshakes, reachability, loss and latency, path MTU,
    cipher, key age, preshared keys, modes of key files, peers that nobody declared, and packets of the mesh in clear.
    The capture needs tcpdump on the node; what could not be measured is said to be so, and is not "ok".

    \b
    Exit codes: 0 every check was made and found nothing
                1 not so, or not applied, or machines are gone
                8 a machine exists and could not be read
    With --watch the code is that of the last measurement.
    \b
    Examples:
      swarmctl mesh verify                          measure, and show it
      swarmctl mesh verify --watch 1m               every minute, until Ctrl-C
      swarmctl mesh verify --format prometheus      for a textfile collector
      swarmctl mesh verify --format json | jq '.meshes[].checks[] | select(.verdict != "ok")'
    """
    from swarmctl.operations.mesh_verify import verify

    def measure() -> Verification:
        return verify(context.folder, emit=tell)

    if every is None:
        found = measure()
        _show(found, format_)
        return int(found.exit_code)
    if format_ == "prometheus":
        raise click.UsageError("--format prometheus is one measurement: let a timer repeat it, without --watch")
    from swarmctl.operations.mesh_verify_watch import watch

    last = watch(measure, _Shown(format_), every)
    return INTERRUPTED if last is None else int(last.exit_code)


def _show(found: Verification, format_: str) -> None:
    if format_ == "json":
        from swarmctl.reports.json_v1 import text
        from swarmctl.reports.mesh_verify_json import to_json

        print_out(text(to_json(found)))
    elif format_ == "prometheus":
        from swarmctl.reports.mesh_verify_prometheus import render as prometheus

        print_out(prometheus(found))
    else:
        from swarmctl.reports.console import look
        from swarmctl.reports.mesh_verify import render

        console = look(sys.stdout)
        print_out(render(found, color=console.color, width=console.width), color=console.color)


class _Shown:
    """Shows one measurement after the other: a screen on a terminal, lines elsewhere, a JSON document a line."""

    def __init__(self, format_: str) -> None:
        from swarmctl.reports.console import look

        self._format = format_
        self._console = look(sys.stdout)

    def __call__(self, found: Verification, changes: list[Change]) -> None:
        from swarmctl.reports import json_v1
        from swarmctl.reports.mesh_verify_json import to_json
        from swarmctl.reports.mesh_verify_lines import lines, screen

        color, width = self._console.color, self._console.width
        if self._format == "json":
            print_out(json_v1.text(to_json(found), indent=None))
        elif self._console.live:
            print_out(screen(found, changes, color=color, width=width), color=True)
        else:
            print_out(lines(found, changes, color=color), color=color)
