"""Where things stand in the drawing of a mesh. Pure geometry, in pixels; y grows downwards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from swarmctl.operations.graph import Group, Node, Picture

GAP = 70.0
"""Room between two regions, for the lines between them."""
APART = 50.0
"""Distance of two nodes along the ring."""
BAND = 17.0
"""Half the width of the band that marks a region on the ring."""
LABEL = 7.2
"""Width of a character of a node's name at 12 px."""
LINES = 27.0
"""Height of a node's label: name and address."""
LANES = 110.0
"""Room beside the cards of a region for flows between them."""
PITCH = 13.0
"""Distance of the dots in a pool that is drawn without names."""


@dataclass(frozen=True, slots=True)
class Point:
    """A place."""

    x: float
    y: float

    def __add__(self, other: Point) -> Point:
        return Point(self.x + other.x, self.y + other.y)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle by its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def center(self) -> Point:
        """Its middle."""
        return Point(self.x + self.width / 2, self.y + self.height / 2)

    def meets(self, other: Box, gap: float = 0.0) -> bool:
        """Whether the two overlap, or are nearer than `gap`."""
        return (
            self.x < other.x + other.width + gap
            and other.x < self.x + self.width + gap
            and self.y < other.y + other.height + gap
            and other.y < self.y + self.height + gap
        )

    def around(self, point: Point, gap: float) -> bool:
        """Whether the point is inside, or nearer than `gap`."""
        return self.meets(Box(point.x, point.y, 0, 0), gap)

    def moved(self, by: Point) -> Box:
        """The same size elsewhere."""
        return Box(self.x + by.x, self.y + by.y, self.width, self.height)


@dataclass(frozen=True, slots=True)
class Spot:
    """Where one node is drawn, and where the first line of its label begins, is centred, or ends (`anchor`)."""

    point: Point
    label: Point | None = None
    anchor: str = "middle"
    """`start`, `middle` or `end`, as SVG has it."""

    def moved(self, by: Point) -> Spot:
        """The same elsewhere."""
        return Spot(self.point + by, self.label + by if self.label else None, self.anchor)

    def label_box(self, width: float) -> Box | None:
        """What a label of this width takes up."""
        if self.label is None:
            return None
        left = {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        return Box(self.label.x - left, self.label.y - 12, width, LINES)


@dataclass(frozen=True, slots=True)
class Arc:
    """A stretch of the ring, from the first node in it to the last; angles in radians, clockwise from the right."""

    begin: float
    end: float

    @property
    def middle(self) -> float:
        """Its middle."""
        return (self.begin + self.end) / 2


@dataclass(slots=True)
class Layout:
    """Everything's place: on a ring around 0, 0, or, in a crowded mesh, in cards."""

    bounds: Box
    """What all of it takes up."""
    spots: dict[str, Spot]
    """By node name."""
    radius: float = 0.0
    region_arcs: dict[str, Arc] = field(default_factory=dict)
    pool_arcs: dict[Group, Arc] = field(default_factory=dict)
    titles: dict[str, Box] = field(default_factory=dict)
    """Where the names of the regions on the ring stand."""
    regions: dict[str, Box] = field(default_factory=dict)
    cards: dict[Group, Box] = field(default_factory=dict)
    """Boxes of pools."""

    def on_ring(self, angle: float, inwards: float = 0.0) -> Point:
        """A place on the ring, or so many pixels inside of it."""
        radius = self.radius - inwards
        return Point(radius * math.cos(angle), radius * math.sin(angle))


def lay_out(picture: Picture, *, flows: bool = False) -> Layout:
    """All nodes on one ring, by region and pool, their names outside of it and the tunnels inside, so that they never
    meet; a crowded mesh as a card per pool and a dot per node, regions on an ellipse."""
    return _regions_around(picture, LANES if flows else 0.0) if picture.crowded else _ring(picture)


def _regions_around(picture: Picture, lanes: float) -> Layout:
    groups = picture.groups
    drafts = {
        region: _cards({group: groups[group] for group in inside}, lanes) for region, inside in picture.regions.items()
    }
    places = _around([Box(0, 0, box.width, box.height) for box, _, _ in drafts.values()])
    layout = Layout(Box(0, 0, 0, 0), {})
    for (region, (box, cards, spots)), corner in zip(drafts.items(), places, strict=True):
        layout.regions[region] = box.moved(corner)
        layout.cards |= {group: card.moved(corner) for group, card in cards.items()}
        layout.spots |= {name: spot.moved(corner) for name, spot in spots.items()}
    layout.bounds = around(layout.regions.values())
    return layout


def around(boxes: Iterable[Box]) -> Box:
    """What the boxes take up together."""
    all_ = list(boxes) or [Box(0, 0, 0, 0)]
    left, top = min(box.x for box in all_), min(box.y for box in all_)
    right, bottom = max(box.x + box.width for box in all_), max(box.y + box.height for box in all_)
    return Box(left, top, right - left, bottom - top)


def _ring(picture: Picture) -> Layout:
    regions, groups = picture.regions, picture.groups
    gap = 1 if len(regions) > 1 else 0
    slots = len(picture.nodes) + gap * len(regions)
    layout = Layout(Box(0, 0, 0, 0), {}, radius=0.0 if slots < 2 else max(140.0, slots * APART / math.tau))
    step = math.tau / max(slots, 1)
    first = sum(len(groups[group]) for group in next(iter(regions.values()), []))
    # The first region has its middle at the left, where one begins to read; a lone one begins at the top.
    angle = math.pi - step * (first - 1) / 2 if gap else -math.tau / 4
    nodes: list[Node] = []
    angles: list[float] = []
    for region, inside in regions.items():
        begin = angle
        for group in inside:
            layout.pool_arcs[group] = Arc(angle, angle + step * (len(groups[group]) - 1))
            for node in groups[group]:
                nodes.append(node)
                angles.append(angle)
                angle += step
        layout.region_arcs[region] = Arc(begin, angle - step)
        angle += step * gap
    points = [layout.on_ring(angle) for angle in angles]
    labels = _ring_labels(points, layout.radius)
    layout.spots = {node.name: Spot(point, *label) for node, point, label in zip(nodes, points, labels, strict=True)}
    taken = [box for node in nodes if (box := layout.spots[node.name].label_box(label_width(node))) is not None]
    for region, arc in layout.region_arcs.items():
        layout.titles[region] = _title(region, arc, layout, taken)
        taken.append(layout.titles[region])
    reach = layout.radius + BAND
    taken.append(Box(-reach, -reach, 2 * reach, 2 * reach))
    layout.bounds = around(Box(box.x - 8, box.y - 8, box.width + 16, box.height + 16) for box in taken)
    return layout


def _title(region: str, arc: Arc, layout: Layout, taken: Sequence[Box]) -> Box:
    """Outwards from the middle of the region's arc, as near as there is room."""
    width, away = len(region) * LABEL + 8, BAND + 10.0
    while True:
        at, lean = layout.on_ring(arc.middle, -away), Point(math.cos(arc.middle), math.sin(arc.middle))
        box = Box(at.x - width / 2 + lean.x * width / 2, at.y - 9 + lean.y * 9, width, 18)
        if not any(box.meets(other, 6) for other in taken):
            return box
        away += 6


Draft = tuple[Box, dict[Group, Box], dict[str, Spot]]
"""A region with its corner at 0, 0."""


def label_width(node: Node) -> float:
    """Room for a node's name, and below it in smaller letters its first address."""
    return max(len(node.name) * LABEL, (len("".join(node.addresses[:1])) + 4 * node.hub) * LABEL * 0.9)


def _ring_labels(points: Sequence[Point], radius: float) -> list[tuple[Point, str]]:
    """Labels outside of the ring: over its top, under its bottom, the others at its sides, apart by their height."""
    found: dict[int, tuple[Point, str]] = {}
    for side in (-1, 1):
        beside = [place for place, point in enumerate(points) if point.x * side > 1]
        beside.sort(key=lambda place: points[place].y)
        heights = _spread([points[place].y for place in beside], LINES + 1, 0.0)
        for place, y in zip(beside, heights, strict=True):
            # Where the label's nearest corner would be inside of the ring, tunnels could run through it.
            nearest = max(0.0, abs(y) - LINES / 2)
            reach = math.sqrt(max(0.0, radius**2 - nearest**2))
            x = max(reach, abs(points[place].x)) + BAND + 4
            found[place] = (Point(side * x, y - 1), "start" if side > 0 else "end")
    for place, point in enumerate(points):
        if place not in found:
            found[place] = (Point(point.x, point.y + (-38 if point.y <= 0 else 33)), "middle")
    return [found[place] for place in range(len(points))]


def _spread(wanted: Sequence[float], apart: float, middle: float) -> list[float]:
    """Heights in their order and at least `apart`: those above the middle give way upwards, the others downwards."""
    upper = [y for y in wanted if y < middle - 1]
    placed: list[float] = []
    for y in reversed(upper):
        placed.insert(0, min(y, placed[0] - apart) if placed else y)
    for y in wanted[len(upper) :]:
        placed.append(max(y, placed[-1] + apart) if placed else y)
    return placed


def _cards(groups: dict[Group, list[Node]], lanes: float) -> Draft:
    cards: dict[Group, Box] = {}
    spots: dict[str, Spot] = {}
    top = 46.0
    for group, nodes in groups.items():
        columns = max(1, math.ceil(math.sqrt(len(nodes) * 2)))
        rows = math.ceil(len(nodes) / columns)
        width = max(columns * PITCH + 24, 190.0, len(group.pool) * 8.0 + 120)
        cards[group] = Box(16, top, width, rows * PITCH + 62)
        for place, node in enumerate(nodes):
            row, column = divmod(place, columns)
            at = Point(16 + 18 + column * PITCH, top + 36 + row * PITCH)
            spots[node.name] = Spot(at)
        top += cards[group].height + 64
    width = max(card.width for card in cards.values())
    cards = {group: Box(card.x, card.y, width, card.height) for group, card in cards.items()}
    # Flows between pools of the same region have their lanes beside the cards.
    return Box(0, 0, width + 32 + (lanes if len(cards) > 1 else 0), top - 48), cards, spots


def _around(boxes: Sequence[Box]) -> list[Point]:
    """Corners for boxes whose middles stand on an ellipse, as small as it can be with `GAP` between the boxes."""
    count = len(boxes)
    if count < 2:
        return [Point(0, 0)] * count
    start = -math.tau / 4 if count % 2 else -math.tau / 4 - math.tau / (2 * count)
    start = math.pi if count == 2 else start
    scale = 0.2
    while True:
        placed = []
        for number, box in enumerate(boxes):
            angle = start + math.tau * number / count
            x, y = 400 * scale * math.cos(angle), 300 * scale * math.sin(angle)
            placed.append(Box(x - box.width / 2, y - box.height / 2, box.width, box.height))
        pairs = ((one, other) for place, one in enumerate(placed) for other in placed[place + 1 :])
        if not any(one.meets(other, GAP) for one, other in pairs):
            return [Point(box.x, box.y) for box in placed]
        scale *= 1.04


def curve(start: Point, end: Point, bend: float) -> Point:
    """The control point of a curve from `start` to `end`; `bend` is how far it leaves the straight line, as a part of
    its length, to the left for a positive number."""
    return Point(
        (start.x + end.x) / 2 + (end.y - start.y) * bend,
        (start.y + end.y) / 2 - (end.x - start.x) * bend,
    )


def along(start: Point, control: Point, end: Point, steps: int = 40) -> Iterator[Point]:
    """Points of the quadratic curve, from `start` to `end`."""
    for step in range(steps + 1):
        t = step / steps
        a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t**2
        yield Point(a * start.x + b * control.x + c * end.x, a * start.y + b * control.y + c * end.y)


def label_place(points: Iterable[Point], size: Point, taken: Sequence[Box]) -> Box:
    """A box of `size` on the curve that meets as few of the `taken` ones as possible, near the curve's middle."""
    candidates = list(points)
    middle = (len(candidates) - 1) / 2

    def cost(item: tuple[int, Box]) -> float:
        place, box = item
        return sum(10.0 for other in taken if box.meets(other, 3)) + abs(place - middle) / len(candidates)

    boxes = [Box(point.x - size.x / 2, point.y - size.y / 2, size.x, size.y) for point in candidates]
    return min(enumerate(boxes), key=cost)[1]
