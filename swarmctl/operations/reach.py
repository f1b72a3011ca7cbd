"""Who reaches whom over the mesh, measured by pings from the nodes: what an apply compares before and after."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from swarmctl import backends
from swarmctl.backends.base import Host
from swarmctl.errors import SwarmError
from swarmctl.graph.model import MeshMember
from swarmctl.graph.names import natural
from swarmctl.hosts import probes

THREADS = 32
MOST = 16
"""Others that each changed node is measured with, in both directions."""


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """One direction between two nodes of a mesh."""

    mesh: str
    sender: str
    target: str


Addresses = Mapping[tuple[str, str], Sequence[str]]
"""Addresses on a mesh by (mesh, node)."""


def pairs(members: Iterable[MeshMember], changed: Collection[str]) -> set[Pair]:
    """What is measured for the nodes that change: with those that have a tunnel to them first, then with others that
    the declaration joins to them through nodes that pass traffic on."""
    by_mesh: dict[str, dict[str, MeshMember]] = {}
    for member in members:
        by_mesh.setdefault(member.mesh, {})[member.node] = member
    found: set[Pair] = set()
    for mesh, inside in by_mesh.items():
        for node in sorted(inside.keys() & set(changed)):
            for other in _some(inside[node], joined(node, inside)):
                found |= {Pair(mesh, node, other), Pair(mesh, other, node)}
    return found


def joined(node: str, inside: Mapping[str, MeshMember]) -> set[str]:
    """Whom the declaration lets a node reach: its peers, and the peers of those that pass traffic on."""
    known = {node}
    pending = deque([node])
    while pending:
        member = inside[pending.popleft()]
        if member.node != node and not member.forwards:
            continue
        for peer in member.peers:
            if peer in inside and peer not in known:
                known.add(peer)
                pending.append(peer)
    return known - {node}


def _some(member: MeshMember, others: Collection[str]) -> list[str]:
    direct = sorted(set(member.peers) & set(others), key=natural)
    further = sorted(set(others) - set(direct), key=natural)
    return [*_spread(direct, MOST if not further else MOST // 2), *_spread(further, MOST // 2)]


def _spread(names: Sequence[str], most: int) -> Sequence[str]:
    """At most so many of them, evenly."""
    if len(names) <= most:
        return names
    return [names[place * len(names) // most] for place in range(most)]


def measure(
    wanted: Collection[Pair],
    addresses: Addresses,
    hosts: Mapping[str, Mapping[str, Any]],
    open_: Callable[[Mapping[str, Any]], Host] = backends.open_host,
) -> set[Pair]:
    """Those of `wanted` whose target answers its sender at every address of its own; senders that can't be asked, and
    nodes that have no address, reach nobody."""
    by_sender: dict[str, list[Pair]] = {}
    for pair in sorted(wanted):
        if pair.sender in hosts and addresses.get((pair.mesh, pair.target)):
            by_sender.setdefault(pair.sender, []).append(pair)

    def ask(sender: str) -> set[Pair]:
        targets = {pair: addresses[pair.mesh, pair.target] for pair in by_sender[sender]}
        request = probes.request(dict.fromkeys(address for many in targets.values() for address in many), ())
        try:
            done = open_(hosts[sender]).run(probes.argv(), stdin=request, timeout=probes.TIMEOUT, check=False)
        except SwarmError:
            return set()
        answers = probes.parse(done.text).pings
        return {
            pair
            for pair, many in targets.items()
            if all(address in answers and answers[address].reachable for address in many)
        }

    with ThreadPoolExecutor(max_workers=max(1, min(THREADS, len(by_sender)))) as pool:
        return {pair for found in pool.map(ask, by_sender) for pair in found}
