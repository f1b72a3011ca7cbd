"""A mesh of many nodes: a card per pool with a dot per node, tunnels in bundles with their number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from swarmctl.operations.graph import Group, Node, Picture, Use
from swarmctl.operations.graph_scheme import Count, Knot, Scheme, scheme
from swarmctl.reports.console import amount
from swarmctl.reports.geometry import Box, Curve, Point, label_place
from swarmctl.reports.graph import group_label, group_name, group_size, knot_label, region_told, traits, tunnels_label
from swarmctl.reports.graph_columns import Columns, End, columns
from swarmctl.reports.graph_marks import mark
from swarmctl.reports.svg import MOST_ARROWS, clean, cubic, pill, pill_size, rect, text

MOST_LABELS = 30
"""Bundles that get their number written beside the line; it is in their tooltip always."""


class Cards:
    """The whole drawing."""

    def __init__(self, picture: Picture, *, flows: bool) -> None:
        self.picture = picture
        self.scheme: Scheme = scheme(picture)
        self.uses = {bundle.use for bundle in self.scheme.lines.values()} | {
            knot.count.use for knot in self.scheme.knots
        }
        self.among: dict[Group, list[str]] = {}
        arrows = []
        for flow, one, other in picture.flow_bundles(few=True) if flows else ():
            if one == other:
                self.among.setdefault(one, []).append(flow.name)
            else:
                arrows.append((flow.name, one, other))
        self.left_out = len(arrows) if len(arrows) > MOST_ARROWS else 0
        """Arrows that are too many to be drawn."""
        self.arrows = [] if self.left_out else arrows
        self.ends: list[tuple[End, End]] = list(self.scheme.lines)
        self.ends += [(group, place) for place, knot in enumerate(self.scheme.knots) for group in knot.groups]
        self.ends += [(one, other) for _, one, other in self.arrows]
        self.layout: Columns = columns(picture, self.scheme, lines=len(self.ends))
        self.curves: list[Curve] = self.layout.curves(self.ends)
        self.bounds: Box = self.layout.bounds
        self.taken: list[Box] = [*self.layout.cards.values(), *self.layout.knots]

    def draw(self, colors: Mapping[str, str]) -> Iterator[str]:
        """Everything, from back to front."""
        for region, box in self.layout.regions.items():
            yield rect(box, "region", 14)
            yield text(box.x + 16, box.y + 25, region, "name muted")
            if told := region_told(self.scheme, region):
                yield text(box.x + 16, box.y + 43, told, "small muted")
        labels: list[str] = []
        yield from self._lines(labels)
        yield from self._arrows(labels)
        yield from self._knots()
        for group, nodes in self.picture.groups.items():
            yield from self._card(group, nodes)
            for node in nodes:
                yield _dot(node, self.layout.spots[node.name], colors[node.pool])
        yield from labels

    def _lines(self, labels: list[str]) -> Iterator[str]:
        """One line per pair of pools, as thick as it has tunnels, with their number on it; and the ends of knots."""
        lines = self.scheme.lines
        most = max((count.tunnels for count in lines.values()), default=1)
        for ((one, other), count), curve in zip(lines.items(), self.curves, strict=False):
            told = f"{group_name(one)} to {group_name(other)}: {tunnels_label(count)}"
            yield _line(curve, count, 1.2 + 5 * math.sqrt(count.tunnels / most), told)
            if len(lines) <= MOST_LABELS:
                labels.append(self._pill(curve, f"{count.tunnels:,}", ""))
        ends = iter(self.curves[len(lines) :])
        for knot in self.scheme.knots:
            for group in knot.groups:
                yield _line(next(ends), knot.count, 2.4, f"{group_name(group)}: {self._knot_told(knot)}")

    def _knot_told(self, knot: Knot) -> str:
        return knot_label(knot, {group: len(nodes) for group, nodes in self.picture.groups.items()})

    def _arrows(self, labels: list[str]) -> Iterator[str]:
        first = len(self.ends) - len(self.arrows)
        for (name, _, _), curve in zip(self.arrows, self.curves[first:], strict=True):
            yield f'<path class="flow" marker-end="url(#head)" d="{cubic(curve)}"/>'
            labels.append(self._pill(curve, name, "allowed"))

    def _knots(self) -> Iterator[str]:
        for knot, box in zip(self.scheme.knots, self.layout.knots, strict=True):
            yield rect(box, "count", 21)
            yield text(box.center.x, box.y + 18, self._knot_told(knot), "small strong", anchor="middle")
            yield text(box.center.x, box.y + 33, tunnels_label(knot.count), "small muted", anchor="middle")

    def _pill(self, curve: Curve, words: str, style: str) -> str:
        place = label_place(curve.points(), pill_size(words), self.taken)
        self.taken.append(place)
        return pill(place, words, style)

    def _card(self, group: Group, nodes: Sequence[Node]) -> Iterator[str]:
        box, inside = self.layout.cards[group], self.scheme.inside.get(group, Count()).tunnels
        yield f"<g><title>{clean(group_label(group, list(nodes), inside))}</title>"
        yield rect(box, "card", 9)
        yield text(box.x + 12, box.y + 20, f"{group_name(group)}, {group_size(group, len(nodes))}", "name")
        if len(nodes) > 1 and not self.picture.focus:  # those among others are not in a picture of one node
            among = f"{amount(inside, 'tunnel') if inside else 'no tunnels'} among them"
            yield text(box.x + 12, box.y + box.height - 8, among, "small muted")
        right = box.x + box.width
        for flow in reversed(self.among.get(group, ())):
            size = pill_size(f"{flow} \u21bb")
            right -= size.x
            yield pill(Box(right - 4, box.y + box.height - 8, size.x, size.y), f"{flow} \u21bb", "allowed")
            right -= 6
        yield "</g>"


def _line(curve: Curve, count: Count, weight: float, told: str) -> str:
    style = {Use.DIRECT: "tunnel", Use.THROUGH: "tunnel through", Use.STANDBY: "tunnel through standby"}[count.use]
    return (
        f'<path class="{style}" opacity="0.55" stroke-width="{weight:.1f}" '
        f'd="{cubic(curve)}"><title>{clean(told)}</title></path>'
    )


def _dot(node: Node, at: Point, color: str) -> str:
    told = ", ".join([node.name, f"pool {node.pool}", *traits(node.role, nat=node.nat), *node.addresses])
    return f"<g><title>{clean(told)}</title>{mark(at, 4.2, color, node.role, nat=node.nat)}</g>"
