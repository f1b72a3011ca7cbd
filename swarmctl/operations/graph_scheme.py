"""A crowded mesh in few words: full meshes and stars of groups, and what is left between two groups. Pure.

Drawn line by line, ten pools of a full mesh would be forty-five lines between them. Here they are one knot with ten
ends. What is found is exact: a group belongs to a knot only when every one of its nodes has a tunnel to every other
node of the knot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from swarmctl.operations.graph import Group, Picture, Use

WORTH = 4
"""Groups from which a full mesh of them has fewer ends than lines."""

Pair = tuple[Group, Group]


@dataclass(frozen=True, slots=True)
class Count:
    """Tunnels of a bundle."""

    tunnels: int = 0
    through: int = 0
    """Of these, those that also carry what goes to others."""
    standby: int = 0
    """Those that stand by for that."""

    @property
    def use(self) -> Use:
        """What the bundle is drawn as."""
        return Use.THROUGH if self.through else Use.STANDBY if self.standby else Use.DIRECT

    def __add__(self, other: Count) -> Count:
        return Count(self.tunnels + other.tunnels, self.through + other.through, self.standby + other.standby)


@dataclass(frozen=True, slots=True)
class Knot:
    """Groups in which every node has a tunnel to every other; with `others`: to every node of these, and only there."""

    members: tuple[Group, ...]
    others: tuple[Group, ...]
    nodes: int
    """In `members`."""
    count: Count

    @property
    def groups(self) -> tuple[Group, ...]:
        """Everyone who has an end here."""
        return (*self.members, *self.others)


@dataclass(slots=True)
class Scheme:
    """How the tunnels of a picture are drawn in bundles; each of them is in exactly one place."""

    inside: dict[Group, Count]
    """Among the nodes of one group."""
    regions: dict[str, Count] = field(default_factory=dict)
    """Regions whose nodes all have tunnels to each other: what runs between its groups and inside of them."""
    knots: list[Knot] = field(default_factory=list)
    lines: dict[Pair, Count] = field(default_factory=dict)
    """Between two groups."""


def bundles(picture: Picture) -> dict[Pair, Count]:
    """How many tunnels run between two groups (or inside of one), in the order of the groups."""
    where, order = picture.where, {group: place for place, group in enumerate(picture.groups)}
    counts: dict[Use, Counter[Pair]] = {use: Counter() for use in Use}
    for tunnel in picture.tunnels:
        a, b = where[tunnel.a], where[tunnel.b]
        counts[tunnel.use][(a, b) if order[a] <= order[b] else (b, a)] += 1
    pairs = {pair for counted in counts.values() for pair in counted}
    return {
        pair: Count(
            sum(counted[pair] for counted in counts.values()), counts[Use.THROUGH][pair], counts[Use.STANDBY][pair]
        )
        for pair in sorted(pairs, key=lambda pair: (order[pair[0]], order[pair[1]]))
    }


def scheme(picture: Picture) -> Scheme:
    """The picture's tunnels in bundles."""
    return _Finder(picture).found


class _Finder:
    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.order = {group: place for place, group in enumerate(picture.groups)}
        self.sizes = {group: len(nodes) for group, nodes in picture.groups.items()}
        counts = bundles(picture)
        self.left = {pair: count for pair, count in counts.items() if pair[0] != pair[1]}
        self.inside = {pair[0]: count for pair, count in counts.items() if pair[0] == pair[1]}
        self.found = Scheme(self.inside)
        self.complete = self._complete()
        self.around = {
            group: frozenset(other for other in self.order if other != group and self._linked(group, other))
            for group in self.order
        }
        if picture.crowded:
            self._everywhere()
            self._whole_regions()
            self._stars()
            self._cliques()
        self.found.lines = self.left

    def _complete(self) -> set[Pair]:
        """The groups between which, or in which, no tunnel is missing. Several meshes may have the same one."""
        where = self.picture.where
        distinct = {(tunnel.a, tunnel.b) for tunnel in self.picture.tunnels}
        counts = Counter(self._pair(where[a], where[b]) for a, b in distinct)
        wanted = {(group, group): size * (size - 1) // 2 for group, size in self.sizes.items()}
        wanted |= {(one, other): self.sizes[one] * self.sizes[other] for one, other in combinations(self.order, 2)}
        return {pair for pair, count in wanted.items() if counts[pair] == count}

    def _pair(self, one: Group, other: Group) -> Pair:
        return (one, other) if self.order[one] <= self.order[other] else (other, one)

    def _linked(self, one: Group, other: Group) -> bool:
        return self._pair(one, other) in self.complete

    def _full(self, groups: Collection[Group]) -> bool:
        return all(self._linked(one, other) for one in groups for other in groups)

    def _everywhere(self) -> None:
        """Groups of several regions in a full mesh that nothing tells apart."""
        for groups in self._alike(roles=False):
            if len(groups) >= WORTH - 1 and len({group.region for group in groups}) > 1 and self._full(groups):
                self._knot(groups, ())

    def _whole_regions(self) -> None:
        for region, groups in self.picture.regions.items():
            pairs = [self._pair(*pair) for pair in combinations(groups, 2)]
            if len(groups) > 1 and self._full(groups) and all(pair in self.left for pair in pairs):
                between = sum((self.left.pop(pair) for pair in pairs), Count())
                self.found.regions[region] = sum((self.inside.get(group, Count()) for group in groups), between)

    def _stars(self) -> None:
        """Groups that all have the same others around them, such as hubs."""
        for one, other in combinations(self._alike(), 2):
            pairs = [self._pair(a, b) for a in one for b in other]
            if min(len(one), len(other)) > 1 and len(pairs) > WORTH and all(self._open(pair) for pair in pairs):
                passing = sum(bool(group.role) for group in one) >= sum(bool(group.role) for group in other)
                self._knot(one if passing else other, other if passing else one)

    def _cliques(self) -> None:
        """Other full meshes, such as that of the gateways of all regions; the greatest first."""
        while True:
            best: list[Group] = []
            for start in self.order:
                clique = [start] if self._linked(start, start) else []
                for group in self.order:
                    fits = clique and group != start and self._linked(group, group)
                    if fits and all(self._open(self._pair(group, member)) for member in clique):
                        clique.append(group)
                best = max(best, clique, key=len)
            if len(best) < WORTH:
                return
            self._knot(sorted(best, key=self.order.__getitem__), ())

    def _open(self, pair: Pair) -> bool:
        """Whether nothing is missing between the two, and they are not drawn elsewhere."""
        return pair in self.complete and pair in self.left

    def _knot(self, members: Sequence[Group], others: Sequence[Group]) -> None:
        pairs: Iterable[Pair] = ((a, b) for a in members for b in others) if others else combinations(members, 2)
        count = sum((self.left.pop(self._pair(*pair)) for pair in pairs), Count())
        if not others:
            count = sum((self.inside.get(group, Count()) for group in members), count)
        self.found.knots.append(Knot(tuple(members), tuple(others), sum(self.sizes[group] for group in members), count))

    def _alike(self, *, roles: bool = True) -> list[list[Group]]:
        """Groups with the same others around them and the same among themselves, together; `roles`: of one role."""
        loose = {group for pair in self.left if pair not in self.complete for group in pair}
        closed = {group: self.around[group] | {group} for group in self.order}
        known = Counter(closed[group] for group in self.order if self._linked(group, group))
        found: dict[tuple[object, ...], list[Group]] = {}
        for group in self.order:
            mutual = self._linked(group, group) and known[closed[group]] > 1
            around = closed[group] if mutual else self.around[group]
            # What has single tunnels to others is like nobody else.
            alone = group if group in loose else None
            found.setdefault((mutual, around, group.role if roles else "", alone), []).append(group)
        return list(found.values())
