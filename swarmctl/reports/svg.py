"""Pieces of SVG that every picture is made of."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from swarmctl.reports.geometry import Box, Curve, Point

MOST_ARROWS = 16
"""Arrows of flows that are drawn; the legend names the flows always."""


def rect(box: Box, style: str, radius: int) -> str:
    """A rectangle with round corners."""
    place = f'x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"'
    return f'<rect class="{style}" {place} rx="{radius}"/>'


def text(x: float, y: float, words: str, style: str, *, anchor: str = "start") -> str:
    """A line of text; `y` is its base line."""
    anchored = "" if anchor == "start" else f" text-anchor={quoteattr(anchor)}"
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}"{anchored}>{clean(words)}</text>'


def pill(box: Box, words: str, style: str) -> str:
    """Text on a ground of its own, so that lines behind it don't run through it."""
    return rect(box, "count", 8) + text(box.center.x, box.center.y + 4, words, f"small {style}", anchor="middle")


def pill_size(words: str) -> Point:
    """What a pill takes up."""
    return Point(len(words) * 6.4 + 12, 17)


def clean(words: str) -> str:
    """Escaped, and without the characters that XML 1.0 forbids."""
    return escape("".join(character if character.isprintable() else " " for character in words))


def quadratic(start: Point, control: Point, end: Point) -> str:
    """The data of a curved path."""
    return f"M{start.x:.1f} {start.y:.1f}Q{control.x:.1f} {control.y:.1f} {end.x:.1f} {end.y:.1f}"


def cubic(curve: Curve) -> str:
    """The data of a path that is curved twice."""
    places = " ".join(f"{point.x:.1f} {point.y:.1f}" for point in (curve.first, curve.second, curve.end))
    return f"M{curve.start.x:.1f} {curve.start.y:.1f}C{places}"
