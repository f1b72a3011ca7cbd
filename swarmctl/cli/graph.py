"""`swarmctl graph`."""

from __future__ import annotations

from pathlib import Path

import click

from swarmctl.cli.context import Context, format_option, pass_context, print_out, tell
from swarmctl.errors import SwarmError


@click.command(name="graph")
@format_option("mermaid", "dot", "svg")
@click.option("--node", metavar="NODE", default="", help="Draw one node, the nodes it has tunnels to, and no others.")
@click.option("--flows", is_flag=True, help="Draw what the security policies allow, too.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write to a file."
)
@pass_context
def command(context: Context, format_: str, node: str, flows: bool, output: Path | None) -> None:
    """Draw the mesh as it is declared: nodes by region and pool, hubs, gateways, relays, who is behind NAT, tunnels,
    and through whom nodes without a tunnel reach each other. Asks no machine.

    A mesh of more than 40 nodes or 450 tunnels is drawn with tunnels in bundles: full meshes as one, the others
    counted between pools, and with very many pools between regions. `--node` shows one node of it in detail.

    \b
    Examples:
      swarmctl graph                                    a list
      swarmctl graph --format svg --output mesh.svg     a picture, legible on light and dark pages
      swarmctl graph --node workers-0                   one node and its peers
      swarmctl graph --format mermaid --flows           for a Markdown file
      swarmctl graph --format dot | dot -Tpdf -o mesh.pdf
    """
    from swarmctl.operations.graph import graph
    from swarmctl.reports.graph import render

    drawn = render(graph(context.folder, node=node, emit=tell), format_, flows=flows)
    if output is None:
        print_out(drawn)
        return
    try:
        output.write_text(drawn, encoding="utf-8")
    except OSError as error:
        raise SwarmError(f"{output} cannot be written: {error.strerror}") from error
