"""Whose outage explains which missing answer: the way between two nodes may lead through one that is down. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from swarmctl.graph.model import MeshMember
from swarmctl.operations.status_model import Link, Reading
from swarmctl.operations.ways import ways

MOST = 3
"""Pairs that are named; of more their number is told."""


def explained(members: Sequence[MeshMember], readings: Mapping[str, Reading], links: Sequence[Link]) -> list[Link]:
    """The links with the way that each is declared to take and, of one that doesn't work, the nodes that are why."""
    inside: dict[str, dict[str, MeshMember]] = {}
    for member in members:
        inside.setdefault(member.mesh, {})[member.node] = member
    down = {
        mesh: frozenset(name for name, member in by_name.items() if not _up(member, readings[name]))
        for mesh, by_name in inside.items()
    }
    known: dict[tuple[str, str, bool], Mapping[str, Sequence[str]]] = {}

    def leading(link: Link, *, now: bool) -> Mapping[str, Sequence[str]]:
        """All ways from its sender; with `now` those that spare what is down."""
        at = (link.mesh, link.sender, now)
        if at not in known:
            known[at] = ways(inside[link.mesh], link.sender, without=down[link.mesh] if now else frozenset())
        return known[at]

    def one(link: Link) -> Link:
        via = () if link.tunnel else tuple(leading(link, now=False).get(link.target, ()))
        role = inside[link.mesh][via[0]].role if via else ""
        ends = tuple(name for name in (link.sender, link.target) if name in down[link.mesh])
        if link.works or ends:
            return replace(link, via=via, role=role, cut_by=() if link.works else ends)
        lost = () if link.tunnel or link.target in leading(link, now=True) else via
        return replace(link, via=via, role=role, cut_by=tuple(name for name in lost if name in down[link.mesh]))

    return list(map(one, links))


def consequences(links: Sequence[Link]) -> dict[str, str]:
    """What the outage of a node does to others, as a clause, by node."""
    pairs: dict[str, dict[frozenset[str], str]] = {}
    for link in links:
        for name in link.cut_by:
            if name not in (link.sender, link.target):
                ends = frozenset({link.sender, link.target})
                pairs.setdefault(name, {}).setdefault(ends, f"{link.sender} ⇄ {link.target}")
    return {name: f"cuts off {', '.join(_named([*found.values()]))}" for name, found in pairs.items()}


def _named(pairs: Sequence[str]) -> Iterator[str]:
    few = len(pairs) <= MOST + 1
    yield from pairs if few else pairs[:MOST]
    if not few:
        yield f"and {len(pairs) - MOST:,} more pairs"


def _up(member: MeshMember, reading: Reading) -> bool:
    """Whether a node could carry traffic, as far as it tells itself."""
    facts = reading.facts
    if facts is None:
        return False
    link = facts.interfaces.get(member.interface)
    return link is not None and link.up and member.interface in facts.wireguard
