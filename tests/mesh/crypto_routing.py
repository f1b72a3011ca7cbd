"""WireGuard's routing, packet by packet: what each node of a compiled mesh would do with it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import ip_address, ip_network

from swarmctl.mesh.compiler import Mesh

HOPS = 64
"""As many as a packet lives."""


class World:
    """A mesh at work. Nodes may die, and the others then move their groups' networks."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.addresses = {member.name: member.addresses for member in mesh.members}
        self.tables = {
            member.name: {network: peer.name for peer in mesh.peers(member.name) for network in peer.allowed_ips}
            for member in mesh.members
        }
        self.dead: frozenset[str] = frozenset()

    def kill(self, names: Iterable[str]) -> None:
        """These nodes are dead, all others live; everybody has noticed."""
        self.dead = frozenset(names)
        for name, table in self.tables.items():
            for group in self.mesh.failover(name):
                alive = next((peer for peer in group.via if peer not in self.dead), group.via[0])
                table.update(dict.fromkeys(group.networks, alive))

    def next(self, node: str, address: str) -> str:
        """The peer with the longest prefix; empty when there is none."""
        known = ip_address(address)
        single = f"{address}/{known.max_prefixlen}"
        if single in self.tables[node]:
            return self.tables[node][single]
        found = [
            (ip_network(network).prefixlen, peer)
            for network, peer in self.tables[node].items()
            if "/32" not in network and "/128" not in network and known in ip_network(network)
        ]
        return max(found)[1] if found else ""

    def send(self, source: str, target: str, family: int) -> tuple[str, ...]:
        """The nodes that a packet passes until it arrives; empty when it is lost on the way.

        Raises AssertionError for a loop.
        """
        start, end = self.addresses[source][family], self.addresses[target][family]
        passed = [source]
        while passed[-1] != target:
            at = passed[-1]
            if at != source and not self.mesh.forwards(at):
                return ()
            following = self.next(at, end)
            if not following or following in self.dead:
                return ()
            assert following not in passed, (source, target, passed)
            if self.next(following, start) != at:
                return ()  # it comes from another peer than its answer would go to
            passed.append(following)
            assert len(passed) <= HOPS
        return tuple(passed)


def lost(world: World, names: Collection[str]) -> list[tuple[str, str]]:
    """Pairs of living nodes of which one doesn't reach the other, over one family or the other."""
    living = sorted(set(names) - world.dead)
    return [
        (one, other)
        for one in living
        for other in living
        if one != other
        for family in range(len(world.addresses[one]))
        if not world.send(one, other, family)
    ]
