"""The ways between cells: for each, which cells lie behind which neighbour. Pure.

Of the shortest ways between two nodes one is taken: that over the cell with the highest rank, then over the next.
Which one is best doesn't depend on the end that one looks from, and every piece of a best way is one itself. So what
every node decides for itself adds up to one way, and answers come back the same: WireGuard drops what comes from
another peer than its answer would go to.
"""

from __future__ import annotations

from dataclasses import dataclass

from swarmctl.mesh.cells import Cells, bits
from swarmctl.mesh.topology import Role


@dataclass(frozen=True, slots=True)
class Way:
    """Cells without a tunnel of their own, and who passes on to them."""

    behind: int
    """The cells it leads to."""
    via: tuple[int, ...]
    """The cells that pass on, the first one first; the next stands in when all nodes of the one before are dead."""
    everything: bool = False
    """Whether it takes all addresses of the mesh that no other way or tunnel takes."""


@dataclass(frozen=True, slots=True)
class Ways:
    """All ways from one cell."""

    ways: tuple[Way, ...]
    reached: int
    """Every cell that there is a tunnel or a way to; itself only where its own nodes have one to each other."""


def ways(cells: Cells, cell: int) -> Ways:
    """Every way from `cell` to what it has no tunnel to."""
    own = 1 << cell
    direct = cells.adjacent[cell]
    helpers = direct & cells.forwarding
    reached = direct | (own & cells.mutual)
    found: dict[tuple[int, ...], int] = {}
    if not cells.mutual & own and helpers:
        # Its own nodes meet at a neighbour. Also where it has but one: another may come, and should change nothing.
        found[_standbys(cells, helpers)] = own
        reached |= own
    unseen = (1 << len(cells.members)) - 1 & ~(direct | own)
    layer = [(1 << helper, helper, helper) for helper in bits(helpers)]
    known: dict[int, tuple[int, ...]] = {}
    near = True
    while layer and unseen:
        following = []
        # Highest first: the first to reach a cell is its best way.
        for between, last, first in sorted(layer, reverse=True):
            new = cells.adjacent[last] & unseen
            if not new:
                continue
            unseen ^= new
            reached |= new
            if near and helpers != 1 << first:
                for target in bits(new):
                    common = helpers & cells.adjacent[target]
                    if common not in known:
                        known[common] = _standbys(cells, common)
                    found[known[common]] = found.get(known[common], 0) | 1 << target
            else:
                found[(first,)] = found.get((first,), 0) | new
            following += [(between | 1 << next_, next_, first) for next_ in bits(new & cells.forwarding)]
        layer, near = following, False
    return Ways(_settled(cells, cell, helpers, found), reached)


def _standbys(cells: Cells, helpers: int) -> tuple[int, ...]:
    """Cells that all lead to one two steps away, by rank: if the first dies both ends take the same next one.

    Ends of links stand in for each other, but not for what was declared to pass traffic on.
    """
    first, *rest = bits(helpers)
    weak = cells.roles[first] is Role.LINK
    return (first, *(cell for cell in rest if weak or cells.roles[cell] is not Role.LINK))


def _settled(cells: Cells, cell: int, helpers: int, found: dict[tuple[int, ...], int]) -> tuple[Way, ...]:
    """The ways, as few as possible, with the one that takes everything in front.

    For a node that passes nothing on, a way that is the beginning of another is one with it: where they differ, all
    that it leads over is dead. Between nodes that do, such packets could go in circles.
    """
    strong = next(bits(helpers), None)
    if strong is not None and cells.roles[strong] <= Role.GATEWAY and not any(via[0] == strong for via in found):
        found[(strong,)] = 0  # nothing lies behind it yet, and what comes to lie there should change nothing
    merged: dict[tuple[int, ...], int] = {}
    whole: dict[tuple[int, ...], tuple[int, ...]] = {}
    for via in sorted(found, key=lambda via: (len(via), via), reverse=True):
        longer = whole.get(via, via)
        if longer is via and cells.roles[cell] is Role.NONE:
            whole.update((via[:end], via) for end in range(1, len(via)) if via[:end] not in whole)
        merged[longer] = merged.get(longer, 0) | found[via]
    first, *others = sorted(merged, key=lambda via: (via[0], len(via), via), reverse=True) or [()]
    if not first:
        return ()
    # Only towards a stronger role: so no two nodes send each other what nobody has.
    everything = cells.roles[first[0]] < cells.roles[cell]
    made = [Way(merged[via], via) for via in others]
    return (Way(merged[first], first, everything), *made) if everything or merged[first] else tuple(made)
