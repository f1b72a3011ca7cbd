"""The topologies: which pairs of nodes should have a tunnel, and who passes traffic on. Pure.

A topology gives every node a *mark*; nodes with the same mark are interchangeable in it. So what is asked for is said
by pairs of marks: a mesh of ten thousand nodes in a hundred regions has two hundred of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, unique
from hashlib import blake2b
from itertools import combinations_with_replacement, product
from typing import ClassVar

Mark = Hashable
Marks = Mapping[str, Mark]
"""By node name; a node that isn't there has no part in the topology."""
Cells = Mapping[Mark, Sequence[int]]
"""Which sets of nodes have a mark."""


@unique
class Role(IntEnum):
    """Who passes traffic on, and whom traffic takes rather than the next: the lower number."""

    HUB = 0
    GATEWAY = 1
    RELAY = 2
    LINK = 3
    """An end of an explicit link that others lie behind."""
    NONE = 4


@dataclass(frozen=True, slots=True)
class Full:
    """Every node has a tunnel to every other."""

    complete: ClassVar[bool] = True
    """Whether the topology promises every pair of its nodes a way to each other."""

    def marks(self, regions: Mapping[str, str]) -> Marks:
        """The nodes' marks; `regions`: the region of each node, by name."""
        return dict.fromkeys(regions, "")

    def pairs(self, marks: Marks, cells: Cells) -> Iterator[tuple[int, int]]:
        """The sets of nodes between which every pair should have a tunnel; a set may be paired with itself."""
        yield from _among(cells[""])

    def role(self, mark: Mark) -> Role:
        """What a node with this mark does for others."""
        return Role.NONE

    def region(self, mark: Mark) -> str | None:
        """The region that a node with this mark keeps to, if it does."""
        return None


@dataclass(frozen=True, slots=True)
class Hubs:
    """Hubs have tunnels to every node; the others reach each other through the first hub that is alive, by name."""

    hubs: frozenset[str]
    complete: ClassVar[bool] = True

    def marks(self, regions: Mapping[str, str]) -> Marks:
        return {name: name in self.hubs for name in regions}

    def pairs(self, marks: Marks, cells: Cells) -> Iterator[tuple[int, int]]:
        hubs = cells.get(True, ())
        yield from _among(hubs)
        yield from product(hubs, cells.get(False, ()))

    def role(self, mark: Mark) -> Role:
        return Role.HUB if mark is True else Role.NONE

    def region(self, mark: Mark) -> str | None:
        return None


@dataclass(frozen=True, slots=True)
class Regions:
    """A full mesh in every region; its gateways have tunnels to the gateways of the other regions.

    Several gateways of a region stand in for each other, in the order of their names.
    """

    gateways: frozenset[str]
    complete: ClassVar[bool] = True

    def marks(self, regions: Mapping[str, str]) -> Marks:
        return {name: (region, name in self.gateways) for name, region in regions.items()}

    def pairs(self, marks: Marks, cells: Cells) -> Iterator[tuple[int, int]]:
        inside: dict[str, list[int]] = {}
        gateways: set[int] = set()
        for mark, marked in cells.items():
            region, gateway = _regional(mark)
            inside.setdefault(region, []).extend(marked)
            if gateway:
                gateways.update(marked)
        for found in inside.values():
            yield from _among(sorted(set(found)))
        yield from _among(sorted(gateways))

    def role(self, mark: Mark) -> Role:
        return Role.GATEWAY if _regional(mark)[1] else Role.NONE

    def region(self, mark: Mark) -> str | None:
        return _regional(mark)[0]


@dataclass(frozen=True, slots=True)
class Links:
    """Explicit links. Nodes that have no link between them reach each other over others, by the shortest way."""

    links: frozenset[tuple[str, str]]
    """Pairs of node names, in either order."""
    complete: ClassVar[bool] = False

    def marks(self, regions: Mapping[str, str]) -> Marks:
        # Nodes with the same neighbours are interchangeable. Sets of neighbours are told apart by the sum of their
        # members' hashes: as good as the sets themselves, and of one size.
        hashes = {name: int.from_bytes(blake2b(name.encode(), digest_size=16).digest(), "big") for name in regions}
        sums: dict[str, int] = {}
        for one, other in self._inside(hashes):
            sums[one] = sums.get(one, 0) + hashes[other]
            sums[other] = sums.get(other, 0) + hashes[one]
        # Linked to each other and to the same others: the sums are equal once everyone counts himself.
        closed: dict[int, int] = {}
        for name, found in sums.items():
            closed[found + hashes[name]] = closed.get(found + hashes[name], 0) + 1
        return {
            name: ("linked", found + hashes[name]) if closed[found + hashes[name]] > 1 else ("apart", found)
            for name, found in sums.items()
        }

    def pairs(self, marks: Marks, cells: Cells) -> Iterator[tuple[int, int]]:
        for one, other in {(marks[one], marks[other]) for one, other in self._inside(marks)}:
            if one == other:
                yield from _among(cells[one])
            else:
                yield from product(cells[one], cells[other])

    def role(self, mark: Mark) -> Role:
        return Role.LINK

    def region(self, mark: Mark) -> str | None:
        return None

    def _inside(self, names: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        """Every link once, without those to nodes that aren't there."""
        for one, other in self.links:
            known = one in names and other in names and one != other
            if known and (one < other or (other, one) not in self.links):
                yield one, other


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a combination: a topology over some of the nodes."""

    members: frozenset[str]
    topology: Full | Hubs | Regions | Links


@dataclass(frozen=True, slots=True)
class Combine:
    """All tunnels of all parts. Hubs, gateways and ends of links pass on for nodes of other parts too."""

    parts: tuple[Part, ...]


Topology = Full | Hubs | Regions | Links | Combine


def parts(topology: Topology, names: Iterable[str]) -> tuple[Part, ...]:
    """The topology as parts; one that is no combination is one part with all nodes."""
    if isinstance(topology, Combine):
        return topology.parts
    return (Part(frozenset(names), topology),)


def _among(cells: Sequence[int]) -> Iterator[tuple[int, int]]:
    return combinations_with_replacement(cells, 2)


def _regional(mark: Mark) -> tuple[str, bool]:
    assert isinstance(mark, tuple)
    region, gateway = mark
    return region, gateway
