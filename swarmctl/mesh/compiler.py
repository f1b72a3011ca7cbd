"""The mesh compiler: members and a topology → who has which peer, and what is sent to it. Pure.

Whatever the topology, every node holds its part of one routing: a packet goes from tunnel to tunnel, each node takes
it from the peer that it would send the answer to, and what nobody has is dropped and not passed around.

What a peer looks like depends on the cells of both ends (`cells`) and on how they meet on the underlay, not on the
single node. So every `Peer` is made once and shared, a node's peers are a slice of one tuple, and a mesh of a thousand
nodes costs a thousand objects and not a million.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from swarmctl.mesh import cells as layout
from swarmctl.mesh.blocks import Homes
from swarmctl.mesh.cells import Cells, Node, bits
from swarmctl.mesh.faults import NoCommonFamily, NoGateway, NoRelay, NotConnected, Unconnected
from swarmctl.mesh.routes import Way, Ways, ways
from swarmctl.mesh.topology import Combine, Full, Hubs, Links, Part, Regions, Role, Topology, parts
from swarmctl.mesh.underlay import Reach, can_dial, can_meet, endpoint, preferred, reach, single

__all__ = [
    "Combine",
    "Full",
    "Group",
    "Hubs",
    "Links",
    "Member",
    "Mesh",
    "NoCommonFamily",
    "NoGateway",
    "NoRelay",
    "NotConnected",
    "Part",
    "Peer",
    "Regions",
    "Role",
    "Unconnected",
    "endpoint",
    "single",
]

NAT_KEEPALIVE = 25
"""Seconds: less than any common NAT forgets a UDP mapping after (30 s, RFC 4787 asks for 120)."""

LEADS = {
    Role.HUB: "hub: the way to what has no tunnel of its own",
    Role.GATEWAY: "gateway: the way to what has no tunnel of its own",
    Role.RELAY: "relay: the way to nodes that can't be met directly",
    Role.LINK: "the way to nodes that it is linked to",
}
"""Why networks of others are sent to a peer, by its role."""


@dataclass(frozen=True, slots=True)
class Member:
    """One node of a mesh."""

    name: str
    addresses: tuple[str, ...]
    """On the mesh, without prefix length."""
    underlay: tuple[str, ...]
    """Its own addresses outside the mesh, the preferred one first."""
    endpoint: str | None = ""
    """Where others reach it: an address or a host name; empty: its underlay addresses; None: nowhere (behind NAT)."""
    port: int = 51820
    """UDP port that others reach it by."""
    region: str = ""
    relay: bool = False
    """Whether it passes traffic on between nodes that can't have a tunnel."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One end of a tunnel, as the node at the other end sees it. Shared between nodes."""

    name: str
    address: str
    """Its underlay address, without brackets or port, or host name; empty where it can't be reached."""
    endpoint: str
    """`address:port`, IPv6 in brackets; empty: it has to begin."""
    allowed_ips: tuple[str, ...]
    """What may come from it and is sent to it: its own addresses, then the networks that it passes on."""
    keepalive: int = 0
    """Seconds between keepalive packets to it; 0: none."""
    why: str = ""
    """A clause for people, where the peer is more than a direct tunnel; it names no other node."""


@dataclass(frozen=True, slots=True)
class Group:
    """Networks that more than one peer of a node can pass on, all ends taking the first that is alive."""

    networks: tuple[str, ...]
    """They stand in the allowed IPs of the first."""
    via: tuple[str, ...]
    """Names of the peers, in order."""


@dataclass(frozen=True, slots=True)
class _View:
    """The peers of every node of a cell that meets others in the same way."""

    places: tuple[int, ...]
    peers: tuple[Peer, ...]
    groups: tuple[Group, ...]


class Mesh:
    """A compiled mesh. Time and memory are proportional to members and, in regions, to pairs of gateways."""

    def __init__(self, members: Iterable[Member], *, cidrs: Sequence[str], topology: Topology, keepalive: int) -> None:
        """`cidrs`: networks of the mesh; `keepalive`: seconds between keepalive packets to every peer, 0 for none."""
        self.members = tuple(sorted(members, key=lambda member: member.name))
        self._cidrs = tuple(cidrs)
        self._keepalive = keepalive
        self._parts = parts(topology, (member.name for member in self.members))
        self._place = {member.name: place for place, member in enumerate(self.members)}
        known: dict[Reach, Reach] = {}
        found = (reach(member.underlay, member.endpoint) for member in self.members)
        self._reach = [known.setdefault(one, one) for one in found]
        self._cells: Cells = layout.build(
            [
                Node(member.name, how, member.region, member.relay)
                for member, how in zip(self.members, self._reach, strict=True)
            ],
            self._parts,
        )
        self._own = [single(member.addresses) for member in self.members]
        regional = any(isinstance(part.topology, Regions) for part in self._parts)
        self._homes = Homes(cidrs, ((one.region, one.addresses) for one in self.members)) if regional else None
        ends = (place for place, cell in enumerate(self._cells.cell) if self._cells.roles[cell] is Role.NONE)
        self._ends = frozenset(ends) if regional else frozenset()
        """Nodes that pass nothing on,"""
        self._inside = Counter(self.members[place].region for place in self._ends)
        """and how many there are in each region."""
        self._ways: dict[int, Ways] = {}
        self._views: dict[tuple[int, Reach, int], _View] = {}
        self._plain: dict[tuple[int, Reach], Peer] = {}
        self._leaders: dict[tuple[object, ...], Peer] = {}
        self._groups: dict[tuple[int, tuple[int, ...]], Group] = {}
        self._kept: list[tuple[str, ...]] = []
        self._networks: dict[int, tuple[str, ...]] = {}
        self._endpoints: dict[tuple[int, int], str] = {}

    def peers(self, name: str) -> tuple[Peer, ...]:
        """The peers of the node `name`, by name. Raises KeyError, and Unconnected where the topology can't be kept."""
        place = self._place[name]
        fault = self._fault(self._cells.cell[place], place)
        if fault is not None:
            raise fault
        view = self._view(place)
        at = bisect_left(view.places, place)
        if at < len(view.places) and view.places[at] == place:
            return view.peers[:at] + view.peers[at + 1 :]
        return view.peers

    def failover(self, name: str) -> tuple[Group, ...]:
        """The networks of which the node `name` can choose who passes them on. Raises KeyError."""
        return self._view(self._place[name]).groups

    def forwards(self, name: str) -> bool:
        """Whether the node passes traffic on between others. Raises KeyError."""
        return self.role(name) is not Role.NONE

    def role(self, name: str) -> Role:
        """What the node does for others. Raises KeyError."""
        return self._cells.roles[self._cells.cell[self._place[name]]]

    def behind_nat(self, name: str) -> bool:
        """Whether nobody can begin a tunnel to the node. Raises KeyError."""
        return not self._reach[self._place[name]].answers

    def tunnels(self) -> Iterator[tuple[str, str]]:
        """Every tunnel once, as the names of its ends in order; sorted by the first."""
        for place, member in enumerate(self.members):
            for other in self._around(self._cells.cell[place]):
                if other > place:
                    yield member.name, self.members[other].name

    def path(self, one: str, other: str) -> tuple[str, ...]:
        """The nodes that packets from `one` to `other` pass, both included; empty where there is no way.

        Raises KeyError.
        """
        at, end = self._place[one], self._place[other]
        nodes = [at]
        while at != end:
            cell, target = self._cells.cell[at], self._cells.cell[end]
            if not self._adjacent(cell, target):
                way = next((way for way in self._ways_of(cell).ways if way.behind >> target & 1), None)
                if way is None:
                    return ()
                at = self._cells.members[way.via[0]][0]
            else:
                at = end
            nodes.append(at)
        return tuple(self.members[place].name for place in nodes)

    def faults(self) -> Iterator[Unconnected]:
        """What the topology promises and can't be kept, once for every kind of nodes."""
        for cell, places in enumerate(self._cells.members):
            fault = self._fault(cell, places[0])
            if fault is not None and self._place[fault.nodes[1]] >= places[0]:
                yield fault

    def _adjacent(self, cell: int, other: int) -> bool:
        return bool((self._cells.adjacent[cell] | (self._cells.mutual & 1 << cell)) >> other & 1)

    def _around(self, cell: int) -> list[int]:
        """Every node that nodes of the cell have tunnels to, in order; with the cell's own where these have some."""
        mask = self._cells.adjacent[cell] | (self._cells.mutual & 1 << cell)
        return sorted(place for found in bits(mask) for place in self._cells.members[found])

    def _ways_of(self, cell: int) -> Ways:
        found = self._ways.get(cell)
        if found is None:
            found = self._ways[cell] = ways(self._cells, cell)
        return found

    def _view(self, place: int) -> _View:
        cell = self._cells.cell[place]
        # Where nodes of a cell meet at a neighbour and name each other, everyone leaves himself out.
        named = any(way.behind >> cell & 1 and not way.everything for way in self._ways_of(cell).ways)
        key = (cell, self._reach[place], place if named else -1)
        found = self._views.get(key)
        if found is None:
            found = self._views[key] = self._look(cell, self._reach[place], place)
        return found

    def _look(self, cell: int, viewer: Reach, place: int) -> _View:
        leads: dict[int, list[Way]] = {}
        for way in self._ways_of(cell).ways:
            leads.setdefault(self._cells.members[way.via[0]][0], []).append(way)
        places = self._around(cell)
        peers = [self._peer(other, viewer) for other in places]
        groups = []
        for first, found in leads.items():
            networks = [self._behind(way, place) for way in found]
            if not any(networks):
                continue  # what would lie behind it are other nodes of this cell, and there are none
            own = [self._group(way, of) for way, of in zip(found, networks, strict=True) if of and self._choice(way)]
            alone = not own and found[0].everything
            peers[bisect_left(places, first)] = self._leading(first, viewer, networks, alone=alone)
            groups += own
        return _View(tuple(places), tuple(peers), tuple(groups))

    def _choice(self, way: Way) -> bool:
        return len(way.via) > 1 or len(self._cells.members[way.via[0]]) > 1

    def _group(self, way: Way, networks: tuple[str, ...]) -> Group:
        key = (id(networks), way.via)  # what is here under its id stays alive with the group
        found = self._groups.get(key)
        if found is None:
            via = tuple(self.members[node].name for helper in way.via for node in self._cells.members[helper])
            found = self._groups[key] = Group(networks, via)
        return found

    def _behind(self, way: Way, place: int) -> tuple[str, ...]:
        """The networks that a way takes; without the addresses of the node itself."""
        if way.everything:
            return self._cidrs
        found = self._networks.get(way.behind)
        if found is None:
            found = self._networks[way.behind] = self._gathered(way.behind)
        if way.behind >> self._cells.cell[place] & 1:
            own = set(self._own[place])
            return tuple(text for text in found if text not in own)
        return found

    def _gathered(self, cells: int) -> tuple[str, ...]:
        """The addresses of all nodes of these cells; of whole regions the blocks that are theirs alone.

        Who passes traffic on may be reached otherwise than the rest of his region, and then has the longer prefix.
        """
        nodes = sorted(node for cell in bits(cells) for node in self._cells.members[cell])
        if self._homes is None:
            return tuple(text for node in nodes for text in self._own[node])
        inside: dict[str, int] = {}
        for node in nodes:
            region = self.members[node].region
            inside[region] = inside.get(region, 0) + (node in self._ends)
        found: dict[str, None] = {}
        for node in nodes:
            member, own = self.members[node], self._own[node]
            whole = inside[member.region] == self._inside.get(member.region)
            for address, text in zip(member.addresses, own, strict=True):
                found[(whole and self._homes.network(member.region, address)) or text] = None
        return tuple(found)

    def _peer(self, place: int, viewer: Reach) -> Peer:
        """A peer that is nothing but the other end of a tunnel."""
        key = (place, viewer)
        found = self._plain.get(key)
        if found is None:
            found = self._plain[key] = self._make(place, viewer, self._own[place], "")
        return found

    def _leading(self, place: int, viewer: Reach, networks: Sequence[tuple[str, ...]], *, alone: bool) -> Peer:
        """A peer that networks of others are sent to. Alone: nothing can take them over."""
        key = (place, viewer, alone, *map(id, networks))  # kept alive by `_kept`
        found = self._leaders.get(key)
        if found is None:
            self._kept += networks
            more = tuple(text for of in networks for text in of)
            # Whoever may be replaced keeps its own addresses, so that one sees when it lives again.
            allowed = more if alone and networks[0] is self._cidrs else (*self._own[place], *more)
            leads = LEADS[self._cells.roles[self._cells.cell[place]]]
            found = self._leaders[key] = self._make(place, viewer, allowed, leads)
        return found

    def _make(self, place: int, viewer: Reach, allowed: tuple[str, ...], leads: str) -> Peer:
        member, how = self.members[place], self._reach[place]
        host = self._host(place, viewer.dials & how.answers)
        clauses = [leads] if leads else []
        keepalive = self._keepalive
        if not host:
            clauses.append("waits for it: it can't be reached from here" if how.answers else "behind NAT: waits for it")
        if not can_dial(how, viewer):
            keepalive = min(keepalive or NAT_KEEPALIVE, NAT_KEEPALIVE)
            why = "can't be reached from there" if viewer.answers else "behind NAT"
            clauses.append(f"{why}: keeps the tunnel open")
        where = endpoint(host, member.port) if host else ""
        return Peer(member.name, host, where, allowed, keepalive, "; ".join(clauses))

    def _host(self, place: int, families: int) -> str:
        """Where a node is reached over one of these families; empty when it isn't."""
        member = self.members[place]
        if not families:
            return ""
        found = self._endpoints.get((place, families))
        if found is None:
            found = member.endpoint or preferred(member.underlay, families)
            self._endpoints[place, families] = found
        return found

    def _fault(self, cell: int, place: int) -> Unconnected | None:
        """What is promised to a cell and can't be kept."""
        lost = self._cells.promised[cell] & ~self._ways_of(cell).reached
        if len(self._cells.members[cell]) == 1:
            lost &= ~(1 << cell)
        if not lost:
            return None
        blocked = lost & self._cells.blocked[cell]
        candidates = sorted(
            node for found in bits(blocked or lost) for node in self._cells.members[found] if node != place
        )
        return self._explain(place, candidates[0], blocked=bool(blocked))

    def _explain(self, place: int, other: int, *, blocked: bool) -> Unconnected:
        one, two = self.members[place], self.members[other]
        if blocked and not can_meet(self._reach[place], self._reach[other]):
            hidden = not (self._reach[place].answers or self._reach[other].answers)
            common = self._reach[place].dials & self._reach[other].dials
            return NoRelay(one.name, two.name) if hidden and common else NoCommonFamily(one.name, two.name)
        for part in self._parts:
            if isinstance(part.topology, Regions) and {one.name, two.name} <= part.members:
                for region in (one.region, two.region):
                    if not any(m.region == region and m.name in part.topology.gateways for m in self.members):
                        return NoGateway(one.name, two.name, region)
        return NotConnected(one.name, two.name)
