"""Nodes that are interchangeable, and which of these sets have tunnels to which. Pure.

A cell is a set of nodes with the same neighbours and the same role: all spokes of a hub, all hubs, the gateways of a
region. Ways are looked for between cells, of which there are few; any node of a cell can stand in for another.
Sets of cells are the bits of an integer. The higher a cell's bit, the rather traffic takes it (`Role`, then by name).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

from swarmctl.mesh.topology import Mark, Part, Role
from swarmctl.mesh.underlay import Reach, can_meet


@dataclass(frozen=True, slots=True)
class Node:
    """What the tunnels of a node depend on."""

    name: str
    reach: Reach
    region: str
    relay: bool


@dataclass(frozen=True, slots=True)
class Cells:
    """All cells of a mesh; nodes are numbered by name, cells by rank, and their sets are bits."""

    members: tuple[tuple[int, ...], ...]
    """The nodes of each cell, in order."""
    cell: tuple[int, ...]
    """The cell of each node."""
    adjacent: tuple[int, ...]
    """The cells that each has tunnels to, without itself."""
    mutual: int
    """The cells whose nodes have tunnels to each other."""
    roles: tuple[Role, ...]
    forwarding: int
    """The cells that pass traffic on."""
    promised: tuple[int, ...]
    """The cells that each must have a way to."""
    blocked: tuple[int, ...]
    """The cells that each should have tunnels to and can't."""


def bits(mask: int) -> Iterator[int]:
    """The cells of a set, the first by rank first."""
    while mask:
        cell = mask.bit_length() - 1
        yield cell
        mask ^= 1 << cell


def build(nodes: Sequence[Node], parts: Sequence[Part]) -> Cells:
    """The cells of a mesh with these nodes, sorted by name."""
    draft = _Draft(nodes, parts)
    draft.connect()
    draft.attach_relays()
    draft.find_links()
    return draft.merged()


class _Draft:
    """Cells by what their nodes have in common, before those that turn out to have the same neighbours are one."""

    def __init__(self, nodes: Sequence[Node], parts: Sequence[Part]) -> None:
        self.nodes = nodes
        self.parts = parts
        regions = {node.name: node.region for node in nodes}
        self.marks = [
            part.topology.marks(
                regions
                if len(part.members) == len(regions)
                else {name: region for name, region in regions.items() if name in part.members}
            )
            for part in parts
        ]
        found: dict[tuple[Reach, bool, tuple[Mark, ...]], list[int]] = {}
        for place, node in enumerate(nodes):
            signature = (node.reach, node.relay, tuple(marks.get(node.name) for marks in self.marks))
            found.setdefault(signature, []).append(place)
        self.members = list(found.values())
        self.signatures = list(found)
        count = len(found)
        self.adjacent = [0] * count  # with itself where its nodes are mutually connected
        self.promised = [0] * count
        self.blocked = [0] * count
        self.roles = [self._role(*signature[1:]) for signature in found]

    def _role(self, relay: bool, marks: tuple[Mark, ...]) -> Role:
        roles = [part.topology.role(mark) for part, mark in zip(self.parts, marks, strict=True) if mark is not None]
        return min([*roles, Role.RELAY if relay else Role.NONE])

    def connect(self) -> None:
        """Tunnels between all that should have them and can."""
        for at, part in enumerate(self.parts):
            cells: dict[Mark, list[int]] = {}
            everyone = 0
            for cell, (_, _, marks) in enumerate(self.signatures):
                if marks[at] is not None:
                    cells.setdefault(marks[at], []).append(cell)
                    everyone |= 1 << cell
            if not cells:
                continue
            for one, other in part.topology.pairs(self.marks[at], cells):
                if not self._tunnel(one, other):
                    self.blocked[one] |= 1 << other
                    self.blocked[other] |= 1 << one
                    self.promised[one] |= 1 << other
                    self.promised[other] |= 1 << one
            if part.topology.complete:
                for cell in bits(everyone):
                    self.promised[cell] |= everyone

    def _tunnel(self, one: int, other: int) -> bool:
        """A tunnel between all nodes of two cells, or of one; False when it isn't possible."""
        if not can_meet(self.signatures[one][0], self.signatures[other][0]):
            return False
        self.adjacent[one] |= 1 << other
        self.adjacent[other] |= 1 << one
        return True

    def attach_relays(self) -> None:
        """Tunnels to relays, and between them, for nodes that no hub or gateway connects with those they should meet.

        In regions these are the relays of the node's own region, where it has some.
        """
        relays = [cell for cell, signature in enumerate(self.signatures) if signature[1]]
        strong = sum(1 << cell for cell, role in enumerate(self.roles) if role <= Role.GATEWAY)
        needy = [
            cell
            for cell in range(len(self.members))
            if any(not self.adjacent[cell] & self.adjacent[other] & strong for other in bits(self.blocked[cell]))
        ]
        if not needy or not relays:
            return
        for one, other in combinations_with_replacement(relays, 2):
            self._tunnel(one, other)
        homes = {relay: self._region(relay) for relay in relays}
        for cell in needy:
            home = self._region(cell)
            near = [relay for relay in relays if home is not None and homes[relay] == home]
            for relay in near or relays:
                if relay != cell:
                    self._tunnel(cell, relay)

    def _region(self, cell: int) -> str | None:
        """The region that a cell keeps to."""
        marks = self.signatures[cell][2]
        found = (part.topology.region(mark) for part, mark in zip(self.parts, marks, strict=True) if mark is not None)
        return next((region for region in found if region is not None), None)

    def find_links(self) -> None:
        """An end of a link passes traffic on only where two of its neighbours have no better way to each other."""
        strong = sum(1 << cell for cell, role in enumerate(self.roles) if role < Role.LINK)
        for cell, role in enumerate(self.roles):
            if role is Role.LINK and not self._between(cell, strong):
                self.roles[cell] = Role.NONE

    def _between(self, cell: int, strong: int) -> bool:
        neighbours = self.adjacent[cell] & ~(1 << cell)
        for one in bits(neighbours):
            own = 1 << one
            apart = neighbours & ~self.adjacent[one]
            if len(self.members[one]) == 1:
                apart &= ~own
            if any(not self.adjacent[one] & self.adjacent[other] & strong for other in bits(apart)):
                return True
        return False

    def merged(self) -> Cells:
        """The cells with those as one that have the same role and the same neighbours."""
        groups = self._twins()
        first = [min(self.members[cell][0] for cell in group) for group in groups]
        roles = [self.roles[group[0]] for group in groups]
        # The first by rank gets the highest bit.
        order = sorted(range(len(groups)), key=lambda at: (roles[at], first[at]), reverse=True)
        groups = [groups[at] for at in order]
        number = {cell: new for new, group in enumerate(groups) for cell in group}
        members = [tuple(sorted(place for cell in group for place in self.members[cell])) for group in groups]
        cell_of = [0] * len(self.nodes)
        for cell, places in enumerate(members):
            for place in places:
                cell_of[place] = cell
        heads = [group[0] for group in groups]
        own = [1 << cell for cell in range(len(groups))]
        renumber = _Renumber(number)
        mutual = sum(
            bit
            for bit, group in zip(own, groups, strict=True)
            if self.adjacent[group[0]] >> group[-1] & 1  # to itself, or to its twin
        )
        return Cells(
            members=tuple(members),
            cell=tuple(cell_of),
            adjacent=tuple(renumber(self.adjacent[head]) & ~bit for head, bit in zip(heads, own, strict=True)),
            mutual=mutual,
            roles=tuple(self.roles[head] for head in heads),
            forwarding=sum(bit for head, bit in zip(heads, own, strict=True) if self.roles[head] is not Role.NONE),
            promised=tuple(self._union(self.promised, group, renumber) for group in groups),
            blocked=tuple(self._union(self.blocked, group, renumber) for group in groups),
        )

    def _twins(self) -> list[list[int]]:
        """Cells by role and neighbours: first those that are neighbours too, then those that are not."""
        groups: list[list[int]] = []
        rest = list(range(len(self.members)))
        for closed in (True, False):
            found: dict[tuple[Role, int], list[int]] = {}
            for cell in rest:
                bit = 1 << cell
                # A cell of one node is neither for nor against tunnels among its nodes. But who passes nothing on
                # may get company that can't meet him.
                alone = len(self.members[cell]) == 1 and self.roles[cell] is not Role.NONE
                fits = alone or bool(self.adjacent[cell] & bit) is closed
                around = self.adjacent[cell] | bit if closed else self.adjacent[cell] & ~bit
                found.setdefault((self.roles[cell], around if fits else ~cell), []).append(cell)
            groups += [group for group in found.values() if len(group) > 1]
            rest = [group[0] for group in found.values() if len(group) == 1]
        return groups + [[cell] for cell in rest]

    @staticmethod
    def _union(masks: Sequence[int], group: Sequence[int], renumber: _Renumber) -> int:
        whole = 0
        for cell in group:
            whole |= masks[cell]
        return renumber(whole)


class _Renumber:
    """Sets of cells with the new numbers of theirs."""

    def __init__(self, number: dict[int, int]) -> None:
        self._number = number
        self._known: dict[int, int] = {}

    def __call__(self, mask: int) -> int:
        found = self._known.get(mask)
        if found is None:
            found = 0
            for cell in bits(mask):
                found |= 1 << self._number[cell]
            self._known[mask] = found
        return found
