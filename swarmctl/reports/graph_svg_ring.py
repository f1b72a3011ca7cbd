"""A mesh of few nodes: a ring with names outside, tunnels and flows inside."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping

from swarmctl.operations.graph import Flow, Group, Node, Picture, Use
from swarmctl.reports.geometry import Box, Point, along, label_place
from swarmctl.reports.graph import traits
from swarmctl.reports.graph_layout import BAND, Arc, Ring, details
from swarmctl.reports.graph_marks import mark
from swarmctl.reports.svg import MOST_ARROWS, clean, pill, pill_size, quadratic, text

LANE = 20.0
"""Between two flows, and from the ring to the first of them."""

FAR = 38.0
"""A label further from its node than this is joined to it by a line."""


def draw(picture: Picture, layout: Ring, colors: Mapping[str, str], *, flows: bool) -> Iterator[str]:
    """Everything, from back to front."""
    for region, arc in layout.region_arcs.items():
        yield _band(layout, arc)
        title = layout.titles[region]
        yield text(title.center.x, title.center.y + 4, region, "name muted", anchor="middle")
    yield from _tunnels(picture, layout, faint=flows)
    if flows:
        yield from _flows(picture, layout)
    for group, nodes in picture.groups.items():
        for node in nodes:
            yield from _node(node, layout, colors[group.pool])


def _band(layout: Ring, arc: Arc) -> str:
    if layout.radius == 0:
        return f'<circle class="region" r="{BAND:.0f}"/>'
    path = "M" + "L".join(f"{point.x:.1f} {point.y:.1f}" for point in _stretch(layout, arc, 0.0))
    return f'<path class="edge" d="{path}"/><path class="band" d="{path}"/>'


def _stretch(layout: Ring, arc: Arc, inwards: float) -> list[Point]:
    """Points along the arc, a few degrees apart, so close that they look round."""
    steps = max(1, math.ceil((arc.end - arc.begin) / 0.05))
    angles = (arc.begin + (arc.end - arc.begin) * step / steps for step in range(steps + 1))
    return [layout.on_ring(angle, inwards) for angle in angles]


def _tunnels(picture: Picture, layout: Ring, *, faint: bool) -> Iterator[str]:
    # The more lines there are, the fainter is each: what stays visible is where many of them run.
    many = len(picture.tunnels)
    opacity = max(0.2, min(0.75, 4 / math.sqrt(many or 1))) * (0.5 if faint else 1.0)
    weight = 1.4 if many < 100 else 0.8
    styles = {Use.DIRECT: "tunnel", Use.STANDBY: "tunnel through standby", Use.THROUGH: "tunnel through"}
    for use, style in styles.items():
        drawn = [tunnel for tunnel in picture.tunnels if tunnel.use is use]
        if drawn:
            plain = use is Use.DIRECT
            seen = opacity if plain else max(opacity, 0.35 if faint else 0.6)
            wide = weight if plain else weight + 0.6
            yield f'<g class="{style}" stroke-width="{wide:.1f}" stroke-opacity="{seen:.2f}">'
            for tunnel in drawn:
                a, b = layout.spots[tunnel.a].point, layout.spots[tunnel.b].point
                yield f'<path d="M{a.x:.1f} {a.y:.1f}L{b.x:.1f} {b.y:.1f}"/>'
            yield "</g>"


def arrows(picture: Picture) -> list[tuple[Flow, Group, Group]]:
    """The flows that are drawn, between which pools; none when they are too many."""
    found = picture.flow_bundles(few=True)
    return found if len(found) <= MOST_ARROWS else []


def _flows(picture: Picture, layout: Ring) -> Iterator[str]:
    """An arrow per flow and pair of pools; what flows inside of a pool runs along its arc, with a head at both ends."""
    bundles = arrows(picture)
    taken = [Box(spot.point.x - 12, spot.point.y - 12, 24, 24) for spot in layout.spots.values()]
    labels: list[str] = []
    lanes: Counter[Group] = Counter()
    for flow, one, other in bundles:
        if one == other:
            lanes[one] += 1
            points = _stretch(layout, layout.pool_arcs[one], BAND + LANE * (lanes[one] - 0.4))
            path = "M" + "L".join(f"{point.x:.1f} {point.y:.1f}" for point in points)
            yield f'<path class="flow" marker-start="url(#head)" marker-end="url(#head)" d="{path}"/>'
            labels.append(_label(flow, points, taken))
    ports = _ports(bundles, layout, lanes)
    for number, (flow, one, other) in enumerate(bundles):
        if one != other:
            start, end = ports[number, one], ports[number, other]
            # Towards the middle of the ring, so that arrows leave and arrive at right angles to it.
            control = Point((start.x + end.x) * 0.22, (start.y + end.y) * 0.22)
            yield f'<path class="flow" marker-end="url(#head)" d="{quadratic(start, control, end)}"/>'
            labels.append(_label(flow, list(along(start, control, end)), taken))
    yield from labels


def _ports(
    bundles: list[tuple[Flow, Group, Group]], layout: Ring, lanes: Mapping[Group, int]
) -> dict[tuple[int, Group], Point]:
    """Where every arrow begins and ends: apart from one another, and in an order in which few of them cross."""
    middles = {group: arc.middle for group, arc in layout.pool_arcs.items()}
    ends: dict[Group, list[tuple[float, int]]] = {}
    for number, (_, one, other) in enumerate(bundles):
        if one != other:
            first, second = sorted((one, other), key=middles.__getitem__)
            # Clockwise along a pool the other ends go against the clock; of a pair's arrows, the same on both sides.
            ends.setdefault(first, []).append((-((middles[second] - middles[first]) % math.tau), number))
            ends.setdefault(second, []).append((-((middles[first] - middles[second]) % math.tau), -number))
    ports: dict[tuple[int, Group], Point] = {}
    for group, found in ends.items():
        inwards = BAND + 6 + LANE * lanes[group]
        apart = (30 if len(found) < 5 else 18) / max(1.0, layout.radius - inwards)
        for place, (_, number) in enumerate(sorted(found)):
            angle = middles[group] + apart * (place - (len(found) - 1) / 2)
            ports[abs(number), group] = layout.on_ring(angle, inwards)
    return ports


def _label(flow: Flow, points: list[Point], taken: list[Box]) -> str:
    place = label_place(points, pill_size(flow.name), taken)
    taken.append(place)
    return pill(place, flow.name, "allowed")


def _node(node: Node, layout: Ring, color: str) -> Iterator[str]:
    spot = layout.spots[node.name]
    x, y = spot.point.x, spot.point.y
    tip = ", ".join([node.name, f"pool {node.pool}", *traits(node.role, nat=node.nat), *node.addresses])
    yield f"<g><title>{clean(tip)}</title>"
    if spot.label is not None:
        beside = Point(spot.label.x + {"start": -3, "end": 3}.get(spot.anchor, 0), spot.label.y - 4)
        if spot.anchor != "middle" and math.dist((x, y), (beside.x, beside.y)) > FAR:
            yield f'<path class="leader" d="M{x:.1f} {y:.1f}L{beside.x:.1f} {beside.y:.1f}"/>'
        yield text(spot.label.x, spot.label.y, node.name, "name", anchor=spot.anchor)
        if told := details(node):
            yield text(spot.label.x, spot.label.y + 14, told, "small muted", anchor=spot.anchor)
    yield mark(spot.point, 9, color, node.role, nat=node.nat)
    yield "</g>"
