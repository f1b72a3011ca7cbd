"""Where things stand in the drawing of a crowded mesh: cards in two columns, every line between them. Pure geometry.

Lines leave a card at its inner edge and never leave the strip between the columns, so they can't run behind a card.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from swarmctl.operations.graph import Group, Picture
from swarmctl.operations.graph_scheme import Scheme
from swarmctl.reports.geometry import Box, Curve, Point, around
from swarmctl.reports.graph import group_name, group_size, knot_label, region_told, tunnels_label

PITCH = 13.0
"""Distance of the dots in a card."""
BOLD = 8.2
"""Width of a character of a title at 12 px, in wide fonts."""
SMALL = 6.7
"""The same of small letters, at 11 px."""
HEAD = 40.0
"""Height of a region's name; with a second line below it, half as much again."""
BETWEEN = 26.0
"""Room between two regions of a column."""
KNOTS = 76.0
"""Distance of the middles of two knots."""

End = Group | int
"""A card, or a knot by its number."""


@dataclass(slots=True)
class Columns:
    """Everything's place; the left column begins at 0, 0."""

    bounds: Box
    strip: Box
    """Between the columns, or, where there is one only, to its right."""
    spots: dict[str, Point] = field(default_factory=dict)
    """By node name."""
    regions: dict[str, Box] = field(default_factory=dict)
    cards: dict[Group, Box] = field(default_factory=dict)
    knots: list[Box] = field(default_factory=list)

    def curves(self, lines: Sequence[tuple[End, End]]) -> list[Curve]:
        """A curve for each, their ends apart at every card and in an order in which few of them cross."""
        ports: dict[tuple[int, int], Point] = {}
        ends: dict[End, list[tuple[float, int, int]]] = {}
        for number, line in enumerate(lines):
            for side, end in enumerate(line):
                ends.setdefault(end, []).append((self._box(line[1 - side]).center.y, number, side))
        for end, found in ends.items():
            box = self._box(end)
            apart = 0.0 if isinstance(end, int) else min(12.0, (box.height - 14) / len(found))
            for place, (_, number, side) in enumerate(sorted(found)):
                y = box.center.y + apart * (place - (len(found) - 1) / 2)
                ports[number, side] = Point(self._edge(end, lines[number][1 - side]), y)
        return [
            self._curve(
                ports[number, 0], ports[number, 1], *(self._inwards(end, other) for end, other in (line, line[::-1]))
            )
            for number, line in enumerate(lines)
        ]

    def _curve(self, start: Point, end: Point, out: int, back: int) -> Curve:
        if out == back:  # from a card to another of the same column
            room = (
                abs((self.knots[0].x if out > 0 else self.knots[0].x + self.knots[0].width) - start.x)
                if self.knots
                else self.strip.width
            )
            reach = min(room, 60 + 0.4 * abs(start.y - end.y))
        else:
            reach = abs(end.x - start.x) * 0.5
        return Curve(start, Point(start.x + out * reach, start.y), Point(end.x + back * reach, end.y), end)

    def _box(self, end: End) -> Box:
        return self.knots[end] if isinstance(end, int) else self.cards[end]

    def _left(self, end: End) -> bool:
        return self._box(end).center.x < self.strip.x

    def _edge(self, end: End, other: End) -> float:
        box = self._box(end)
        return box.x + box.width if self._inwards(end, other) > 0 else box.x

    def _inwards(self, end: End, other: End) -> int:
        """Which way a line leaves: 1 to the right."""
        if isinstance(end, int):
            return -1 if self._left(other) else 1
        return 1 if self._left(end) else -1


def columns(picture: Picture, scheme: Scheme, *, lines: int) -> Columns:
    """A card per group with a dot per node, in frames by region, and knots in the strip. `lines`: how many of them
    will run there."""
    drafts = [_region(picture, scheme, region) for region in picture.regions]
    cut = _cut([draft.bounds.height for draft in drafts])
    sides = [drafts[:cut], drafts[cut:]]
    sizes = {group: len(nodes) for group, nodes in picture.groups.items()}
    pills = [max(len(knot_label(knot, sizes)), len(tunnels_label(knot.count))) * SMALL + 28 for knot in scheme.knots]
    # All as wide as the widest, so that the ends of one can't run behind another.
    pills = [max(pills)] * len(pills) if pills else []
    width = max(max(pills, default=0.0) + 220, min(440.0, 200 + 8.0 * lines)) if lines else 60.0
    left = max((draft.bounds.width for draft in sides[0]), default=0.0)
    right = max((draft.bounds.width for draft in sides[1]), default=0.0)
    heights = [sum(draft.bounds.height + BETWEEN for draft in side) - BETWEEN for side in sides]
    found = Columns(Box(0, 0, 0, 0), Box(left, 0, width, max(*heights, 0.0)))
    for side, x, wide in zip(sides, (0.0, left + width), (left, right), strict=True):
        y = (found.strip.height - sum(draft.bounds.height + BETWEEN for draft in side) + BETWEEN) / 2
        for draft in side:
            _put(found, draft, Point(x, y), wide)
            y += draft.bounds.height + BETWEEN
    # Cards keep a margin inside of their region's frame; the strip ends at their edges.
    found.strip = Box(left - PAD, 0, width + PAD * (2 if sides[1] else 1), found.strip.height)
    found.knots = _knots(found, scheme, pills, two=bool(sides[1]))
    found.bounds = around([*found.regions.values(), *found.knots, *([found.strip] if lines else [])])
    return found


PAD = 14.0
"""Between a card and the frame of its region."""


@dataclass(slots=True)
class _Draft:
    region: str
    bounds: Box
    cards: dict[Group, Box]
    spots: dict[str, Point]


def _region(picture: Picture, scheme: Scheme, region: str) -> _Draft:
    told = region_told(scheme, region)
    top = HEAD + (HEAD / 2 if told else 0)
    found = _Draft(region, Box(0, 0, 0, 0), {}, {})
    for group in picture.regions[region]:
        nodes = picture.groups[group]
        pitch = PITCH * 1.6 if group.role else PITCH  # outlines need room
        across = max(1, math.ceil(math.sqrt(len(nodes) * 2.5)))
        rows = math.ceil(len(nodes) / across)
        title = f"{group_name(group)}, {group_size(group, len(nodes))}"
        width = max(across * pitch + 30, len(title) * BOLD + 24, 180.0)
        height = 36 + rows * pitch + (20 if len(nodes) > 1 else 4)
        found.cards[group] = Box(PAD, top, width, height)
        for place, node in enumerate(nodes):
            row, column = divmod(place, across)
            found.spots[node.name] = Point(PAD + 20 + column * pitch, top + 36 + row * pitch)
        top += height + 14
    width = max(*(card.width for card in found.cards.values()), len(told) * SMALL, len(region) * BOLD) + 2 * PAD
    found.bounds = Box(0, 0, width, top)
    return found


def _put(found: Columns, draft: _Draft, corner: Point, width: float) -> None:
    """A region at its place, as wide as its column."""
    found.regions[draft.region] = Box(corner.x, corner.y, width, draft.bounds.height)
    for group, card in draft.cards.items():
        found.cards[group] = Box(corner.x + card.x, corner.y + card.y, width - 2 * PAD, card.height)
    for name, spot in draft.spots.items():
        found.spots[name] = spot + corner


def _cut(heights: Sequence[float]) -> int:
    """After how many of the regions the second column begins, so that both are about as high."""
    if len(heights) < 2:
        return len(heights)
    return min(range(1, len(heights)), key=lambda cut: max(sum(heights[:cut]), sum(heights[cut:])))


def _knots(found: Columns, scheme: Scheme, widths: Sequence[float], *, two: bool) -> list[Box]:
    """In the middle of the strip, each as high as its ends are on average, and apart."""
    middles = [sum(found.cards[group].center.y for group in knot.groups) / len(knot.groups) for knot in scheme.knots]
    order = sorted(range(len(middles)), key=middles.__getitem__)
    heights = dict.fromkeys(order, 0.0)
    for place, number in enumerate(order):
        least = heights[order[place - 1]] + KNOTS if place else -math.inf
        heights[number] = max(middles[number], least)
    shift = sum(heights[number] - middles[number] for number in order) / max(1, len(order))
    boxes = []
    for number, width in enumerate(widths):
        x = found.strip.center.x if two else found.strip.x + found.strip.width - width / 2 - 10
        boxes.append(Box(x - width / 2, heights[number] - shift - 21, width, 42))
    return boxes
