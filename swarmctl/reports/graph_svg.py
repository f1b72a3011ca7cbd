"""The picture as SVG, drawn here: nothing else has to be installed, and it looks well on light and dark pages."""

from __future__ import annotations

from collections.abc import Iterator

from swarmctl.operations.graph import Flow, Group, Picture
from swarmctl.reports import graph_svg_cards, graph_svg_ring
from swarmctl.reports.console import names
from swarmctl.reports.graph import group_label, summary
from swarmctl.reports.graph_layout import Point, lay_out
from swarmctl.reports.svg import clean, text

COLORS = ("#2f81f7", "#d4660a", "#2da44e", "#a475f9", "#d6409f", "#0f9b9b", "#b08800", "#e5534b")
"""Pools, in turn; each is legible on white and on nearly black. Names and titles say the same."""
MARGIN = 32.0
HEAD = 76.0

_STYLE = """
text { font-family: ui-sans-serif, system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.page { fill: #ffffff } .region { fill: #f6f8fa; stroke: #d0d7de } .card { fill: #ffffff; stroke: #d0d7de }
.title { font-size: 22px; font-weight: 600 } .small { font-size: 11px } .muted { fill: #59636e }
.name { font-size: 12px; font-weight: 600 } .halo { stroke: #f6f8fa; stroke-width: 4px; paint-order: stroke }
.band { fill: none; stroke: #f6f8fa; stroke-width: 32px; stroke-linecap: round; stroke-linejoin: round }
.edge { fill: none; stroke: #d0d7de; stroke-width: 34px; stroke-linecap: round; stroke-linejoin: round }
.tunnel { stroke: #6e7781; fill: none; stroke-linecap: round }
.leader { stroke: #8b949e; stroke-width: 0.8; fill: none }
.dot { stroke: #ffffff; stroke-width: 1.5 }
.ring { fill: none; stroke-width: 2 } .count { fill: #ffffff; stroke: #d0d7de }
.flow { stroke: #0969da; stroke-width: 1.6; stroke-dasharray: 5 4; fill: none } .arrow, .allowed { fill: #0969da }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .page { fill: #0d1117 } .region { fill: #161b22; stroke: #3d444d }
.band { stroke: #161b22 } .edge { stroke: #3d444d }
.card { fill: #0d1117; stroke: #3d444d } .muted { fill: #9198a1 } .halo { stroke: #161b22 }
.tunnel { stroke: #8b949e } .dot { stroke: #0d1117 } .count { fill: #0d1117; stroke: #3d444d }
.flow { stroke: #58a6ff } .arrow, .allowed { fill: #58a6ff }
}
"""


def render(picture: Picture, *, flows: bool) -> str:
    """The whole file."""
    layout = lay_out(picture, flows=flows)
    bounds = layout.bounds
    legend = list(_legend(picture, flows))
    told = max((len(_told(flow)) * 6.1 + 32 for flow in picture.flows if flows), default=0.0)
    width = max(max(bounds.width, told) + 2 * MARGIN, 480.0)
    drawing = graph_svg_cards if picture.crowded else graph_svg_ring
    height = HEAD + bounds.height + 34 + 20 * len(legend) + MARGIN / 2
    offset = Point((width - bounds.width) / 2 - bounds.x, HEAD - bounds.y)
    below = HEAD + bounds.height + 34
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-labelledby="title desc">',
        f'<title id="title">Mesh of {clean(picture.stack)}</title>',
        f'<desc id="desc">{clean(_description(picture))}</desc>',
        f"<style>{_STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse">'
        '<path class="arrow" d="M0 0 8 4 0 8z"/></marker></defs>',
        f'<rect class="page" width="{width:.0f}" height="{height:.0f}"/>',
        text(MARGIN, 38, picture.stack, "title"),
        text(MARGIN, 58, summary(picture), "small muted"),
        f'<g transform="translate({offset.x:.1f} {offset.y:.1f})">',
        *drawing.draw(picture, layout, _colors(picture), flows=flows),
        "</g>",
        *(
            f'<g transform="translate({MARGIN:.0f} {below + 20 * row:.0f})">{line}</g>'
            for row, line in enumerate(legend)
        ),
        "</svg>",
        "",
    ]
    return "\n".join(lines)


def _legend(picture: Picture, flows: bool) -> Iterator[str]:
    """Lines of SVG, each 20 px high."""
    row, x = "", 0.0
    for pool, color in _pool_colors(picture).items():
        width = len(pool) * 6.6 + 40
        if x and x + width > 620:
            yield row
            row, x = "", 0.0
        row += f'<circle cx="{x + 6:.0f}" cy="-4" r="6" fill="{color}"/>' + text(x + 18, 0, f"pool {pool}", "small")
        x += width + 28
    if row:
        yield row
    line = '<path class="tunnel" stroke-width="2.5" d="M0 -4H24"/>'
    tunnel = "tunnels between two pools; the thicker, the more" if picture.crowded else "tunnel"
    hub = (
        f'<g transform="translate({len(tunnel) * 6 + 70})"><circle class="ring" cx="6" cy="-4" r="7" stroke="#6e7781"/>'
    )
    hubs = hub + text(20, 0, "hub", "small") + "</g>" if any(node.hub for node in picture.nodes) else ""
    if picture.tunnels:
        yield line + text(32, 0, tunnel, "small") + hubs
    if flows:
        arrow = '<path class="flow" marker-end="url(#head)" d="M0 -4H24"/>'
        for flow in picture.flows:
            yield arrow + text(32, 0, _told(flow), "small")
        if not picture.flows:
            yield arrow + text(32, 0, "no flow is allowed", "small")


def _told(flow: Flow) -> str:
    sources, targets = names(flow.sources, limit=3) or "no node", names(flow.targets, limit=3) or "no node"
    ends = f"among {sources}" if flow.sources == flow.targets else f"from {sources} to {targets}"
    return f"{flow.name}: {flow.protocol} {flow.ports} {ends}"


def _description(picture: Picture) -> str:
    parts = (group_label(group, nodes, 0) + f" in {group.region}" for group, nodes in picture.groups.items())
    return f"{summary(picture)}. {'. '.join(parts)}."


def _pool_colors(picture: Picture) -> dict[str, str]:
    pools = dict.fromkeys(group.pool for group in picture.groups)
    return {pool: COLORS[place % len(COLORS)] for place, pool in enumerate(pools)}


def _colors(picture: Picture) -> dict[Group, str]:
    colors = _pool_colors(picture)
    return {group: colors[group.pool] for group in picture.groups}
