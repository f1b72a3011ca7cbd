"""Where things stand in the drawing of a mesh of few nodes: on a ring. Pure geometry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from swarmctl.operations.graph import Group, Node, Picture
from swarmctl.reports.geometry import Box, Point, around
from swarmctl.reports.graph import traits

APART = 50.0
"""Distance of two nodes along the ring."""
BAND = 17.0
"""Half the width of the band that marks a region on the ring."""
LABEL = 7.2
"""Width of a character of a node's name at 12 px."""
LINES = 27.0
"""Height of a node's label: name and address."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where one node is drawn, and where the first line of its label begins, is centred, or ends (`anchor`)."""

    point: Point
    label: Point | None = None
    anchor: str = "middle"
    """`start`, `middle` or `end`, as SVG has it."""

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
class Ring:
    """Everything's place, around 0, 0."""

    bounds: Box
    """What all of it takes up."""
    spots: dict[str, Spot]
    """By node name."""
    radius: float = 0.0
    region_arcs: dict[str, Arc] = field(default_factory=dict)
    pool_arcs: dict[Group, Arc] = field(default_factory=dict)
    titles: dict[str, Box] = field(default_factory=dict)
    """Where the names of the regions on the ring stand."""

    def on_ring(self, angle: float, inwards: float = 0.0) -> Point:
        """A place on the ring, or so many pixels inside of it."""
        radius = self.radius - inwards
        return Point(radius * math.cos(angle), radius * math.sin(angle))


def lay_out(picture: Picture) -> Ring:
    """All nodes on one ring, by region and pool, their names outside of it and the tunnels inside, so that they never
    meet."""
    regions, groups = picture.regions, picture.groups
    gap = 1 if len(regions) > 1 else 0
    slots = len(picture.nodes) + gap * len(regions)
    layout = Ring(Box(0, 0, 0, 0), {}, radius=0.0 if slots < 2 else max(140.0, slots * APART / math.tau))
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


def _title(region: str, arc: Arc, layout: Ring, taken: Sequence[Box]) -> Box:
    """Outwards from the middle of the region's arc, as near as there is room."""
    width, away = len(region) * LABEL + 8, BAND + 10.0
    while True:
        at, lean = layout.on_ring(arc.middle, -away), Point(math.cos(arc.middle), math.sin(arc.middle))
        box = Box(at.x - width / 2 + lean.x * width / 2, at.y - 9 + lean.y * 9, width, 18)
        if not any(box.meets(other, 6) for other in taken):
            return box
        away += 6


def label_width(node: Node) -> float:
    """Room for a node's name, and below it in smaller letters its first address."""
    return max(len(node.name) * LABEL, len(details(node)) * LABEL * 0.9)


def details(node: Node) -> str:
    """What stands below its name: `hub 10.88.0.3`."""
    return " ".join([*traits(node.role, nat=node.nat), *node.addresses[:1]])


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
