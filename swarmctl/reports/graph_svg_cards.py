"""A mesh of many nodes: a card per pool with a dot per node, tunnels in bundles with their number."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from swarmctl.operations.graph import Group, Node, Picture
from swarmctl.reports.console import amount
from swarmctl.reports.graph import group_label
from swarmctl.reports.graph_layout import Box, Layout, Point, along, curve, label_place
from swarmctl.reports.svg import clean, pill, pill_size, quadratic, rect, text

MOST_LABELS = 30
"""Bundles that get their number written beside the line; it is in their tooltip always."""
_LANE = 0.13
"""How far apart the arrows between two pools bend, as a part of their length."""


def draw(picture: Picture, layout: Layout, colors: Mapping[Group, str], *, flows: bool) -> Iterator[str]:
    """Everything, from back to front."""
    bundles = picture.bundles()
    among: dict[Group, list[str]] = {}
    if flows:
        for flow, one, other in picture.flow_bundles():
            if one == other:
                among.setdefault(one, []).append(flow.name)
    titles = {region: Box(box.x + 12, box.y + 12, len(region) * 7.4 + 8, 22) for region, box in layout.regions.items()}
    taken = [*layout.cards.values(), *titles.values()]
    for box in layout.regions.values():
        yield rect(box, "region", 14)
    labels: list[str] = []
    yield from _bundles(bundles, layout, taken, labels)
    if flows:
        yield from _flows(picture, layout, taken, labels)
    for region, title in titles.items():
        yield text(title.x + 4, title.y + 15, region, "name muted halo")
    for group, nodes in picture.groups.items():
        yield from _card(layout.cards[group], group, nodes, bundles.get((group, group), 0), among.get(group, []))
        for node in nodes:
            yield _dot(node, layout, colors[group])
    yield from labels


def _bundles(
    bundles: Mapping[tuple[Group, Group], int], layout: Layout, taken: list[Box], labels: list[str]
) -> Iterator[str]:
    """One line per pair of pools, as thick as it has tunnels, with their number on it."""
    between = {ends: count for ends, count in bundles.items() if ends[0] != ends[1]}
    most = max(between.values(), default=1)
    for (one, other), count in between.items():
        start, end = layout.cards[one].center, layout.cards[other].center
        control = curve(start, end, 0.55 if one.region == other.region and not _next(layout, one, other) else 0.06)
        told = f"{one.pool} to {other.pool}: {amount(count, 'tunnel')}"
        weight = 1.2 + 6 * math.sqrt(count / most)
        yield (
            f'<path class="tunnel" opacity="0.45" stroke-width="{weight:.1f}" d="{quadratic(start, control, end)}">'
            f"<title>{clean(told)}</title></path>"
        )
        if len(between) <= MOST_LABELS:
            place = label_place(along(start, control, end), pill_size(f"{count:,}"), taken)
            taken.append(place)
            labels.append(pill(place, f"{count:,}", ""))


def _next(layout: Layout, one: Group, other: Group) -> bool:
    """Whether the two cards stand next to each other in their region."""
    inside = [group for group in layout.cards if group.region == one.region]
    return abs(inside.index(one) - inside.index(other)) == 1


def _flows(picture: Picture, layout: Layout, taken: list[Box], labels: list[str]) -> Iterator[str]:
    """An arrow per flow and pair of pools, from the edge of one card to that of the other, each in its own lane."""
    drawn: Counter[tuple[Group, Group]] = Counter()
    beside: Counter[str] = Counter()
    for flow, one, other in picture.flow_bundles():
        if one == other:
            continue
        start, end = layout.cards[one], layout.cards[other]
        if one.region == other.region:
            beside[one.region] += 1
            points = _beside(start, end, beside[one.region])
        else:
            drawn[one, other] += 1
            bend = 0.06 + _LANE * drawn[one, other]
            points = list(along(start.center, curve(start.center, end.center, bend), end.center, 80))
            points = [point for point in points if not start.around(point, 3) and not end.around(point, 5)]
        if len(points) < 2:
            continue
        path = "M" + "L".join(f"{point.x:.1f} {point.y:.1f}" for point in points)
        yield f'<path class="flow" marker-end="url(#head)" d="{path}"/>'
        place = label_place(points, pill_size(flow.name), taken)
        taken.append(place)
        labels.append(pill(place, flow.name, "allowed"))


def _beside(start: Box, end: Box, lane: int) -> list[Point]:
    """From the right edge of one card to that of another in the same column."""
    spread = 11.0 * (lane - 1)
    a = Point(start.x + start.width + 3, start.center.y + spread - 8)
    b = Point(end.x + end.width + 5, end.center.y - spread + 8)
    reach = Point(a.x + 50 + 44 * lane, (a.y + b.y) / 2)
    return list(along(a, reach, b))


def _card(box: Box, group: Group, nodes: Sequence[Node], inside: int, flows: Sequence[str]) -> Iterator[str]:
    yield f"<g><title>{clean(group_label(group, list(nodes), inside))}</title>"
    yield rect(box, "card", 9)
    yield text(box.x + 12, box.y + 20, f"{group.pool}, {amount(len(nodes), 'node')}", "name")
    among = f"{amount(inside, 'tunnel') if inside else 'no tunnels'} among them"
    yield text(box.x + 12, box.y + box.height - 10, among, "small muted")
    right = box.x + box.width
    for flow in reversed(flows):
        size = pill_size(f"{flow} \u21bb")
        right -= size.x
        yield pill(Box(right - 4, box.y + box.height - 8, size.x, size.y), f"{flow} \u21bb", "allowed")
        right -= 6
    yield "</g>"


def _dot(node: Node, layout: Layout, color: str) -> str:
    at = layout.spots[node.name].point
    told = ", ".join([node.name, f"pool {node.pool}", *(["hub"] if node.hub else []), *node.addresses])
    circle = f'<circle class="dot" cx="{at.x:.1f}" cy="{at.y:.1f}" r="4.2" fill="{color}"/>'
    hub = f'<circle class="ring" cx="{at.x:.1f}" cy="{at.y:.1f}" r="5.8" stroke="{color}"/>' if node.hub else ""
    return f"<g><title>{clean(told)}</title>{circle}{hub}</g>"
