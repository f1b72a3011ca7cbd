"""What the marks and lines of an SVG mean."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from swarmctl.kinds.security_policy.spec import moment
from swarmctl.operations.graph import ROLES, Flow, Picture, Use
from swarmctl.reports.console import names
from swarmctl.reports.geometry import Point
from swarmctl.reports.graph import BEHIND, USES, noun
from swarmctl.reports.graph_marks import mark
from swarmctl.reports.svg import text

MOST_POOLS = 16
"""Pools that have colours of their own."""
GREY = "#6e7781"
BUNDLES = {
    Use.DIRECT: "tunnels between pools; the thicker, the more",
    Use.THROUGH: "tunnels of which some also carry for others",
    Use.STANDBY: "tunnels of which some stand by for that",
}
"""What is said of the lines between pools."""

Entry = tuple[str, str]
"""SVG of the sign, at 0, 0 and 24 px wide, and words."""


def legend(
    picture: Picture, colors: Mapping[str, str], uses: Collection[Use], *, flows: bool, width: float, left_out: int = 0
) -> Iterator[str]:
    """Lines of SVG, each 20 px high, about so wide. `uses`: of the tunnels or bundles that are drawn; `left_out`:
    arrows of flows that are too many to be drawn."""
    pools = {} if many_pools(picture) else colors
    dots = [(mark(Point(12, -4), 6, color, "", nat=False), f"pool {pool}") for pool, color in pools.items()]
    yield from _rows(dots, width)
    yield from _rows(_nodes(picture), width)
    yield from _rows(_lines(picture, uses), width)
    if flows:
        arrow = '<path class="flow" marker-end="url(#head)" d="M0 -4H24"/>'
        for flow in picture.flows:
            # What runs between all of many pools is not drawn.
            sign = text(9, 0, "\u21bb", "small allowed") if picture.among_many(flow) else arrow
            yield sign + text(32, 0, flow_told(flow), "small")
        if not picture.flows:
            yield arrow + text(32, 0, "no flow is allowed", "small")
        if left_out:
            yield text(0, 0, f"{left_out:,} arrows between pools are too many to be drawn", "small muted")


def many_pools(picture: Picture) -> bool:
    """Whether there are more pools than colours can tell apart."""
    return len({node.pool for node in picture.nodes}) > MOST_POOLS


def flow_told(flow: Flow) -> str:
    """`metrics: tcp 9100 from control-0 to workers-0 … workers-9, until 2026-12-01T00:00:00Z`."""
    sources, targets = names(flow.sources, limit=3) or "no node", names(flow.targets, limit=3) or "no node"
    ends = f"among {sources}" if flow.mutual else f"from {sources} to {targets}"
    until = f", until {moment(flow.until)}" if flow.until is not None else ""
    return f"{flow.name}: {flow.protocol} {flow.ports} {ends}{until}"


def _nodes(picture: Picture) -> list[Entry]:
    roles = {node.role for node in picture.nodes}
    found = [(mark(Point(12, -4), 4.2, GREY, word, nat=False), noun(word)) for word in ROLES.values() if word in roles]
    if any(node.nat for node in picture.nodes):
        found.append((mark(Point(12, -4), 4.2, GREY, "", nat=True), f"{BEHIND}: nobody can begin a tunnel to it"))
    return found


def _lines(picture: Picture, uses: Collection[Use]) -> list[Entry]:
    styles = {Use.DIRECT: "tunnel", Use.THROUGH: "tunnel through", Use.STANDBY: "tunnel through standby"}
    words = BUNDLES if picture.crowded else USES
    return [
        (f'<path class="{styles[use]}" stroke-width="2.5" d="M0 -4H24"/>', words[use]) for use in words if use in uses
    ]


def _rows(entries: list[Entry], most: float) -> Iterator[str]:
    row, x = "", 0.0
    for sign, words in entries:
        width = 32 + len(words) * 6.7 + 22
        if x and x + width > most:
            yield row
            row, x = "", 0.0
        row += f'<g transform="translate({x:.0f})">{sign}{text(32, 0, words, "small")}</g>'
        x += width
    if row:
        yield row
