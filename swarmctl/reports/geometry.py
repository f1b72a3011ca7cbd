"""Points, boxes and curves, in pixels; y grows downwards. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


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
class Curve:
    """A cubic curve."""

    start: Point
    first: Point
    second: Point
    end: Point

    def points(self, steps: int = 40) -> Iterator[Point]:
        """Points on it, from `start` to `end`."""
        for step in range(steps + 1):
            t = step / steps
            a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
            yield Point(
                a * self.start.x + b * self.first.x + c * self.second.x + d * self.end.x,
                a * self.start.y + b * self.first.y + c * self.second.y + d * self.end.y,
            )


def around(boxes: Iterable[Box]) -> Box:
    """What the boxes take up together."""
    all_ = list(boxes) or [Box(0, 0, 0, 0)]
    left, top = min(box.x for box in all_), min(box.y for box in all_)
    right, bottom = max(box.x + box.width for box in all_), max(box.y + box.height for box in all_)
    return Box(left, top, right - left, bottom - top)


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
    """A box of `size` on the curve that meets as few of the `taken` ones as possible, near the curve's middle; beside
    the curve where there is no room on it."""
    candidates = list(points)
    middle = (len(candidates) - 1) / 2
    found: list[tuple[float, Box]] = []
    for beside in (0.0, -16.0, 16.0, -32.0, 32.0):
        for place, point in enumerate(candidates):
            box = Box(point.x - size.x / 2, point.y - size.y / 2 + beside, size.x, size.y)
            met = sum(10.0 for other in taken if box.meets(other, 3))
            found.append((met + abs(place - middle) / len(candidates) + abs(beside) / 16, box))
        if min(cost for cost, _ in found) < 10:
            break
    return min(found, key=lambda item: item[0])[1]
