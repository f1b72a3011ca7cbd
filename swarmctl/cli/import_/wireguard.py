"""`swarmctl import wireguard`."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from swarmctl.cli.context import Context, pass_context, print_out


@click.command(name="wireguard")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help="Write them there.")
@click.option("--name", default="", metavar="NAME", help="Name of the mesh. Default: that which the clusters name.")
@click.option(
    "--interface", default="", metavar="NAME", help="Interface on the nodes. Default: the files' name, or wg0."
)
@pass_context
def command(context: Context, files: tuple[Path, ...], out: Path | None, name: str, interface: str) -> None:
    """Turn configurations of wg-quick(8) into declarations, one FILE for each node.

    Nodes are called by `# Name = NODE` above `[Interface]`, else by their file (`a-0.conf`), else by its folder
    (`a-0/wg0.conf`). Where this folder (or `-C DIR`) declares a stack with these machines, only the Mesh is made, else
    a whole stack. Without --out it is printed.

    Whatever is not kept as it was is told, item by item. Private keys are never copied: the Mesh has `adopt: true`, and
    each node takes over its own key and interface when that is applied, without a tunnel being disturbed.

    \b
    Examples:
      swarmctl import wireguard a-0.conf a-1.conf
      swarmctl -C my-stack import wireguard *.conf --out my-stack
      swarmctl import wireguard nodes/*/wg0.conf --out my-stack --name backbone

    Exits with 4 when the files contradict each other or are no such configurations; nothing is written then.
    """
    from swarmctl.operations.import_wireguard import import_wireguard
    from swarmctl.reports.console import look
    from swarmctl.reports.diagnostics import render_text

    found = import_wireguard(files, context.folder, out=out, name=name, interface=interface)
    if found.diagnostics:
        color = look(sys.stderr).color
        click.echo(render_text(found.diagnostics, found.sources, color=color), err=True, color=color)
    if out is None:
        print_out("---\n".join(found.files.values()).rstrip("\n"))
    for path in found.written:
        print_out(f"wrote {os.path.relpath(path)}")
    count = len(found.nodes)
    click.echo(f"{count} node{'' if count == 1 else 's'}, {found.topology}", err=True)
    if out is not None:
        click.echo(f"next: swarmctl -C {shlex.quote(os.path.relpath(out))} plan", err=True)
        unit = f"wg-quick@{found.interface}"
        click.echo(f"once applied: `systemctl disable {unit}` on the nodes, so that one thing sets it up", err=True)
