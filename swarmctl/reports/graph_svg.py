"""The picture as SVG, drawn here: nothing else has to be installed, and it looks well on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

from swarmctl.operations.graph import Flow, Group, Node, Picture
from swarmctl.reports.console import amount, names
from swarmctl.reports.graph import group_label, summary
from swarmctl.reports.graph_layout import Box, Layout, Point, along, curve, label_place, label_width, lay_out

COLORS = ("#2f81f7", "#d4660a", "#2da44e", "#a475f9", "#d6409f", "#0f9b9b", "#b08800", "#e5534b")
"""Pools, in turn; each is legible on white and on nearly black. Names and titles say the same."""
MARGIN = 32.0
HEAD = 76.0
MOST_LABELS = 30
"""Bundles that get their number written beside the line; it is in their tooltip always."""

_STYLE = """
text { font-family: ui-sans-serif, system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.page { fill: #ffffff } .region { fill: #f6f8fa; stroke: #d0d7de } .card { fill: #ffffff; stroke: #d0d7de }
.title { font-size: 22px; font-weight: 600 } .small { font-size: 11px } .muted { fill: #59636e }
.name { font-size: 12px; font-weight: 600 } .halo { stroke: #f6f8fa; stroke-width: 4px; paint-order: stroke }
.tunnel { stroke: #6e7781; fill: none; stroke-linecap: round } .dot { stroke: #ffffff; stroke-width: 1.5 }
.ring { fill: none; stroke-width: 2 } .count { fill: #ffffff; stroke: #d0d7de }
.flow { stroke: #0969da; stroke-width: 1.6; stroke-dasharray: 5 4; fill: none } .arrow, .allowed { fill: #0969da }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .page { fill: #0d1117 } .region { fill: #161b22; stroke: #3d444d }
.card { fill: #0d1117; stroke: #3d444d } .muted { fill: #9198a1 } .halo { stroke: #161b22 }
.tunnel { stroke: #8b949e } .dot { stroke: #0d1117 } .count { fill: #0d1117; stroke: #3d444d }
.flow { stroke: #58a6ff } .arrow, .allowed { fill: #58a6ff }
}
"""


def render(picture: Picture, *, flows: bool) -> str:
    """The whole file."""
    layout = lay_out(picture)
    bounds = layout.bounds
    legend = list(_legend(picture, flows))
    width = max(bounds.width + 2 * MARGIN, 480.0)
    height = HEAD + bounds.height + 34 + 20 * len(legend) + MARGIN / 2
    offset = Point((width - bounds.width) / 2 - bounds.x, HEAD - bounds.y)
    below = HEAD + bounds.height + 34
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-labelledby="title desc">',
        f'<title id="title">Mesh of {escape(_clean(picture.stack))}</title>',
        f'<desc id="desc">{escape(_clean(_description(picture)))}</desc>',
        f"<style>{_STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="arrow" d="M0 0 8 4 0 8z"/></marker></defs>',
        f'<rect class="page" width="{width:.0f}" height="{height:.0f}"/>',
        _text(MARGIN, 38, picture.stack, "title"),
        _text(MARGIN, 58, summary(picture), "small muted"),
        f'<g transform="translate({offset.x:.1f} {offset.y:.1f})">',
        *_drawing(picture, layout, flows),
        "</g>",
        *(
            f'<g transform="translate({MARGIN:.0f} {below + 20 * row:.0f})">{line}</g>'
            for row, line in enumerate(legend)
        ),
        "</svg>",
        "",
    ]
    return "\n".join(lines)


def _drawing(picture: Picture, layout: Layout, flows: bool) -> Iterator[str]:
    """From back to front."""
    for region, box in layout.regions.items():
        yield _rect(box, "region", 14)
        yield _text(box.x + 16, box.y + 27, region, "name muted")
    colors, bundles = _colors(picture), picture.bundles()
    if picture.crowded:
        yield from _bundles(bundles, layout)
    else:
        yield from _tunnels(picture, layout)
    if flows:
        yield from _flows(picture, layout)
    for group, nodes in picture.groups.items():
        if picture.crowded:
            yield from _card(layout.cards[group], group, nodes, bundles.get((group, group), 0))
        for node in nodes:
            yield from _node(node, layout, colors[group], picture.crowded)


def _tunnels(picture: Picture, layout: Layout) -> Iterator[str]:
    # The more lines there are, the fainter is each: what stays visible is where many of them run.
    many = len(picture.tunnels)
    opacity, weight = max(0.2, min(0.75, 4 / math.sqrt(many or 1))), 1.4 if many < 100 else 0.8
    yield f'<g class="tunnel" stroke-width="{weight}" stroke-opacity="{opacity:.2f}">'
    for tunnel in picture.tunnels:
        a, b = layout.spots[tunnel.a].point, layout.spots[tunnel.b].point
        yield f'<path d="M{a.x:.1f} {a.y:.1f}L{b.x:.1f} {b.y:.1f}"/>'
    yield "</g>"


def _bundles(bundles: Mapping[tuple[Group, Group], int], layout: Layout) -> Iterator[str]:
    """One line per pair of pools, as thick as it has tunnels, with their number on it."""
    between = {ends: count for ends, count in bundles.items() if ends[0] != ends[1]}
    most = max(between.values(), default=1)
    taken = list(layout.cards.values())
    labels: list[str] = []
    for (one, other), count in between.items():
        start, end = layout.cards[one].center, layout.cards[other].center
        control = curve(start, end, 0.55 if one.region == other.region and not _next(layout, one, other) else 0.06)
        told = f"{one.pool} to {other.pool}: {amount(count, 'tunnel')}"
        weight = 1.2 + 6 * math.sqrt(count / most)
        yield (
            f'<path class="tunnel" opacity="0.45" stroke-width="{weight:.1f}" d="{_path(start, control, end)}">'
            f"<title>{escape(_clean(told))}</title></path>"
        )
        if len(between) <= MOST_LABELS:
            size = Point(len(f"{count:,}") * 6.4 + 12, 18)
            place = label_place(along(start, control, end), size, taken)
            taken.append(place)
            labels.append(_rect(place, "count", 9))
            labels.append(_text(place.center.x, place.y + 13, f"{count:,}", "small", anchor="middle"))
    yield from labels


def _next(layout: Layout, one: Group, other: Group) -> bool:
    """Whether the two cards stand next to each other in their region."""
    inside = [group for group in layout.cards if group.region == one.region]
    return abs(inside.index(one) - inside.index(other)) == 1


def _flows(picture: Picture, layout: Layout) -> Iterator[str]:
    """An arrow per flow and pair of pools; what flows inside of a pool is in the legend only."""
    groups = picture.groups
    middles = {
        group: layout.cards[group].center if picture.crowded else _middle([layout.spots[n.name].point for n in nodes])
        for group, nodes in groups.items()
    }
    drawn: dict[tuple[Group, Group], int] = {}
    taken = [box for node in picture.nodes if (box := layout.spots[node.name].label_box(label_width(node))) is not None]
    labels: list[str] = []
    for flow, one, other in picture.flow_bundles():
        if one == other:
            continue
        drawn[one, other] = drawn.get((one, other), 0) + 1
        start, end = middles[one], middles[other]
        control = curve(start, end, 0.10 + 0.11 * drawn[one, other])
        start, end = _shortened(start, control, 24), _shortened(end, control, 24)
        yield f'<path class="flow" marker-end="url(#head)" d="{_path(start, control, end)}"/>'
        place = label_place(along(start, control, end), Point(len(flow.name) * 6.4 + 8, 16), taken)
        taken.append(place)
        labels.append(_text(place.center.x, place.y + 12, flow.name, "small allowed halo", anchor="middle"))
    yield from labels


def _card(box: Box, group: Group, nodes: Sequence[Node], inside: int) -> Iterator[str]:
    yield f"<g><title>{escape(_clean(group_label(group, list(nodes), inside)))}</title>"
    yield _rect(box, "card", 9)
    yield _text(box.x + 12, box.y + 20, f"{group.pool}, {amount(len(nodes), 'node')}", "name")
    among = f"{amount(inside, 'tunnel') if inside else 'no tunnels'} among them"
    yield _text(box.x + 12, box.y + box.height - 10, among, "small muted")
    yield "</g>"


def _node(node: Node, layout: Layout, color: str, crowded: bool) -> Iterator[str]:
    spot = layout.spots[node.name]
    x, y = spot.point.x, spot.point.y
    told = ", ".join([node.name, f"pool {node.pool}", *(["hub"] if node.hub else []), *node.addresses])
    radius = 4.2 if crowded else 9.0
    yield f"<g><title>{escape(_clean(told))}</title>"
    yield f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{color}"/>'
    if node.hub:
        outer = radius + (1.6 if crowded else 4)
        yield f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="{outer}" stroke="{color}"/>'
    if spot.label is not None:
        details = " ".join([*(["hub"] if node.hub else []), *node.addresses[:1]])
        yield _text(spot.label.x, spot.label.y, node.name, "name halo", anchor=spot.anchor)
        if details:
            yield _text(spot.label.x, spot.label.y + 14, details, "small muted halo", anchor=spot.anchor)
    yield "</g>"


def _legend(picture: Picture, flows: bool) -> Iterator[str]:
    """Lines of SVG, each 20 px high."""
    row, x = "", 0.0
    for pool, color in _pool_colors(picture).items():
        width = len(pool) * 6.6 + 40
        if x and x + width > 620:
            yield row
            row, x = "", 0.0
        row += f'<circle cx="{x + 6:.0f}" cy="-4" r="6" fill="{color}"/>' + _text(x + 18, 0, f"pool {pool}", "small")
        x += width + 28
    if row:
        yield row
    line = '<path class="tunnel" stroke-width="2.5" d="M0 -4H24"/>'
    tunnel = "tunnels between two pools; the thicker, the more" if picture.crowded else "tunnel"
    hub = (
        f'<g transform="translate({len(tunnel) * 6 + 70})"><circle class="ring" cx="6" cy="-4" r="7" stroke="#6e7781"/>'
    )
    hubs = hub + _text(20, 0, "hub", "small") + "</g>" if any(node.hub for node in picture.nodes) else ""
    if picture.tunnels:
        yield line + _text(32, 0, tunnel, "small") + hubs
    if flows:
        arrow = '<path class="flow" marker-end="url(#head)" d="M0 -4H24"/>'
        for flow in picture.flows:
            yield arrow + _text(32, 0, _told(flow), "small")
        if not picture.flows:
            yield arrow + _text(32, 0, "no flow is allowed", "small")


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


def _middle(points: Sequence[Point]) -> Point:
    return Point(sum(point.x for point in points) / len(points), sum(point.y for point in points) / len(points))


def _shortened(end: Point, towards: Point, by: float) -> Point:
    length = math.hypot(towards.x - end.x, towards.y - end.y) or 1.0
    part = min(by / length, 0.4)
    return Point(end.x + (towards.x - end.x) * part, end.y + (towards.y - end.y) * part)


def _path(start: Point, control: Point, end: Point) -> str:
    return f"M{start.x:.1f} {start.y:.1f}Q{control.x:.1f} {control.y:.1f} {end.x:.1f} {end.y:.1f}"


def _rect(box: Box, style: str, radius: int) -> str:
    place = f'x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"'
    return f'<rect class="{style}" {place} rx="{radius}"/>'


def _text(x: float, y: float, text: str, style: str, *, anchor: str = "start") -> str:
    anchored = "" if anchor == "start" else f" text-anchor={quoteattr(anchor)}"
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}"{anchored}>{escape(_clean(text))}</text>'


def _clean(text: str) -> str:
    """Without the characters that XML 1.0 forbids."""
    return "".join(character if character.isprintable() else " " for character in text)
