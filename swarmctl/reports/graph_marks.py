"""How a node is drawn in SVG: a dot in its pool's colour, an outline for its role, hollow behind NAT."""

from __future__ import annotations

from swarmctl.reports.geometry import Point

_CORNERS = {
    "gateway": ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)),
    "relay": ((0.0, -1.35), (1.35, 0.0), (0.0, 1.35), (-1.35, 0.0)),
    "transit": ((0.0, -1.55), (1.45, 0.95), (-1.45, 0.95)),
}
"""As parts of the outline's distance from the middle."""


def mark(at: Point, radius: float, color: str, role: str, *, nat: bool) -> str:
    """The dot and what is around it."""
    place = f'cx="{at.x:.1f}" cy="{at.y:.1f}"'
    if nat:
        weight = radius * 0.45
        size = f'r="{radius - weight / 2:.1f}" stroke-width="{weight:.1f}"'
        dot = f'<circle class="hollow" {place} {size} stroke="{color}"/>'
    else:
        dot = f'<circle class="dot" {place} r="{radius:.1f}" fill="{color}"/>'
    return dot + outline(at, radius, color, role)


def outline(at: Point, radius: float, color: str, role: str) -> str:
    """A circle around a hub, a square around a gateway, a diamond around a relay, a triangle around a transit node."""
    gap = 1.8 if radius < 6 else 3.2
    reach = radius + gap
    if not role:
        return ""
    if role == "hub":
        return f'<circle class="ring" cx="{at.x:.1f}" cy="{at.y:.1f}" r="{reach:.1f}" stroke="{color}"/>'
    corners = _CORNERS[role]
    path = "L".join(f"{at.x + x * reach:.1f} {at.y + y * reach:.1f}" for x, y in corners)
    return f'<path class="ring" d="M{path}z" stroke="{color}"/>'
