"""The picture as SVG, drawn here: nothing else has to be installed, and it looks well on light and dark pages."""

from __future__ import annotations

from swarmctl.operations.graph import Group, Node, Picture
from swarmctl.reports import graph_svg_cards, graph_svg_ring
from swarmctl.reports.geometry import Point
from swarmctl.reports.graph import group_label, summary, title
from swarmctl.reports.graph_layout import lay_out
from swarmctl.reports.graph_svg_legend import flow_told, legend, many_pools
from swarmctl.reports.svg import clean, text

COLORS = ("#2f81f7", "#d4660a", "#2da44e", "#a475f9", "#d6409f", "#0f9b9b", "#b08800", "#e5534b")
"""Pools, in turn; each is legible on white and on nearly black. Names and titles say the same."""
MARGIN = 32.0
LEAST = 560.0
"""Width, without margins."""
HEAD = 76.0

_STYLE = """
text { font-family: ui-sans-serif, system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.page { fill: #ffffff } .region { fill: #f6f8fa; stroke: #d0d7de } .card { fill: #ffffff; stroke: #d0d7de }
.title { font-size: 22px; font-weight: 600 } .small { font-size: 11px } .muted { fill: #59636e }
.name { font-size: 12px; font-weight: 600 }
.band { fill: none; stroke: #f6f8fa; stroke-width: 32px; stroke-linecap: round; stroke-linejoin: round }
.edge { fill: none; stroke: #d0d7de; stroke-width: 34px; stroke-linecap: round; stroke-linejoin: round }
.tunnel { stroke: #6e7781; fill: none; stroke-linecap: round }
.through { stroke: #bf6a02 } .standby { stroke-dasharray: 2 5 } .strong { font-weight: 600 }
.hollow { fill: #ffffff }
.leader { stroke: #8b949e; stroke-width: 0.8; fill: none }
.dot { stroke: #ffffff; stroke-width: 1.5 }
.ring { fill: none; stroke-width: 2 } .count { fill: #ffffff; stroke: #d0d7de }
.flow { stroke: #0969da; stroke-width: 1.6; stroke-dasharray: 5 4; fill: none } .arrow, .allowed { fill: #0969da }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .page { fill: #0d1117 } .region { fill: #161b22; stroke: #3d444d }
.band { stroke: #161b22 } .edge { stroke: #3d444d }
.card { fill: #0d1117; stroke: #3d444d } .muted { fill: #9198a1 }
.tunnel { stroke: #8b949e } .through { stroke: #e09b3d } .hollow { fill: #0d1117 }
.dot { stroke: #0d1117 } .count { fill: #0d1117; stroke: #3d444d }
.flow { stroke: #58a6ff } .arrow, .allowed { fill: #58a6ff }
}
"""


def render(picture: Picture, *, flows: bool) -> str:
    """The whole file."""
    colors = pool_colors(picture)
    if picture.crowded:
        cards = graph_svg_cards.Cards(picture, flows=flows)
        bounds, drawn, left_out = cards.bounds, list(cards.draw(colors)), cards.left_out
        uses = cards.uses
    else:
        ring = lay_out(picture)
        bounds, drawn, left_out = ring.bounds, list(graph_svg_ring.draw(picture, ring, colors, flows=flows)), 0
        if flows:
            left_out = len(picture.flow_bundles(few=True)) - len(graph_svg_ring.arrows(picture))
        uses = {tunnel.use for tunnel in picture.tunnels}
    told = max((len(flow_told(flow)) * 6.7 + 40 for flow in picture.flows if flows), default=0.0)
    heading = max(len(title(picture)) * 14.5, len(summary(picture)) * 6.7)
    inner = max(bounds.width, told, heading, LEAST)
    width = inner + 2 * MARGIN
    rows = list(legend(picture, colors, uses, flows=flows, width=inner, left_out=left_out))
    below = HEAD + bounds.height + 34
    height = below + 20 * len(rows) + MARGIN / 2
    offset = Point((width - bounds.width) / 2 - bounds.x, HEAD - bounds.y)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-labelledby="title desc">',
        f'<title id="title">Mesh of {clean(title(picture))}</title>',
        f'<desc id="desc">{clean(_description(picture))}</desc>',
        f"<style>{_STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse">'
        '<path class="arrow" d="M0 0 8 4 0 8z"/></marker></defs>',
        f'<rect class="page" width="{width:.0f}" height="{height:.0f}"/>',
        text(MARGIN, 38, title(picture), "title"),
        text(MARGIN, 58, summary(picture), "small muted"),
        f'<g transform="translate({offset.x:.1f} {offset.y:.1f})">',
        *drawn,
        "</g>",
        *(
            f'<g transform="translate({MARGIN:.0f} {below + 20 * place:.0f})">{row}</g>'
            for place, row in enumerate(rows)
        ),
        "</svg>",
        "",
    ]
    return "\n".join(lines)


def _description(picture: Picture) -> str:
    parts = (group_label(group, nodes, 0) + f" in {group.region}" for group, nodes in picture.groups.items())
    return f"{summary(picture)}. {'. '.join(parts)}."


def pool_colors(picture: Picture) -> dict[str, str]:
    """A colour for every pool, in the order in which they are drawn; very many have those of their regions."""
    pools = {
        node.pool: place for place, groups in enumerate(picture.regions.values()) for node in _drawn(picture, groups)
    }
    if many_pools(picture):
        return {pool: COLORS[place % len(COLORS)] for pool, place in pools.items()}
    return {pool: COLORS[place % len(COLORS)] for place, pool in enumerate(pools)}


def _drawn(picture: Picture, groups: list[Group]) -> list[Node]:
    return [node for group in groups for node in picture.groups[group]]
