"""Drift for people: per node and property, what was applied and what is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from swarmctl.plans.model import DriftedProperty, Plan
from swarmctl.reports.console import amount, paint, safe
from swarmctl.reports.values import show


def render(plan: Plan, *, color: bool, width: int) -> str:
    """The whole drift report, ending in one summary line."""
    notes = [f"{paint('note:', 'cyan', color=color)} {safe(note)}" for note in plan.notes]
    if not plan.drift:
        return "\n".join([*notes, f"No drift: {amount(plan.same, 'resource')} as applied."]) + "\n"
    body = [*lines(plan.drift, color=color, width=width), ""]
    return "\n".join([*body, *notes, summary(plan.drift) + "; `swarmctl apply` heals it"]) + "\n"


def summary(drift: Sequence[DriftedProperty]) -> str:
    """`Drift: 3 properties of 2 resources on 2 nodes`."""
    resources = {item.address for item in drift}
    nodes = {item.node for item in drift if item.node}
    where = f" on {amount(len(nodes), 'node')}" if nodes else ""
    return f"Drift: {amount(len(drift), 'property', 'properties')} of {amount(len(resources), 'resource')}{where}"


def lines(drift: Iterable[DriftedProperty], *, color: bool, width: int) -> Iterator[str]:
    """The list alone, by node and resource."""

    def place(item: DriftedProperty) -> tuple[str, str]:
        return (item.node, item.address)

    yield paint("Moved away from what was applied (applied → found)", "bold", color=color)
    for node, members in groupby(sorted(drift, key=place), key=lambda item: item.node):
        yield f"  {paint(safe(node) if node else 'on no node', 'cyan', color=color)}"
        for address, items in groupby(members, key=lambda item: item.address):
            yield f"    {paint('≠ drifted', 'yellow', 'bold', color=color)} {safe(address)}"
            for item in items:
                yield from _line(item, color, width)


def _line(item: DriftedProperty, color: bool, width: int) -> Iterator[str]:
    if not item.path:
        yield f"      {paint('gone', 'red', color=color)}: it was applied and is not there any more"
        return
    expected, actual = ("(nothing)" if value is None else show(value) for value in (item.expected, item.actual))
    if 12 + len(item.path) + len(expected) + len(actual) <= width:
        yield f"      {safe(item.path)}: {expected} → {actual}"
        return
    yield f"      {safe(item.path)}:"
    yield f"        expected {expected}"
    yield f"        found    {actual}"
