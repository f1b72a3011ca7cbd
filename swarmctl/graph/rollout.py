"""Changes spread over a pool's nodes in steps: canaries first, then batches, and no further when too many fail. Pure.

What is ordered are *nodes*: everything of a node's that changes belongs to the batch of the node, and a batch begins
when all of the batch before has ended. One thing breaks that order: what needs something of another node (the peers
of a tunnel need the other end's key) may not hold that node up. Such types come in a later *stage*, which goes through
the batches on its own.

Why that can't get stuck: along a dependency the stage never falls, and it rises when the dependency leads to another
node. So within one stage dependencies stay on one node, hence in one batch, and waiting for an earlier batch never
leads back.

What its machine can't work beside (`Resource.one_pool_at_a_time`) goes through the pools one after the other, in the
natural order of their names, with or without a rollout: the next pool's begins when all of the one before has ended,
and not at all when too many nodes failed there. In stages that is one more dependency that leads to other nodes, so
it can't get stuck either, and all else in those pools goes on side by side.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from swarmctl.graph.model import Address, Graph, Rollout
from swarmctl.graph.names import natural

_SHOWN = 5
"""Failed nodes that a reason names; the rest are counted."""


class Gate:
    """Says what may begin, as what began comes to an end.

    Only creations and updates are asked for: deletions are never held back. Resources of pools without a rollout, and
    those that don't change, may always begin and hold nothing up.
    """

    def __init__(self, graph: Graph, only: Collection[Address] | None = None) -> None:
        """`only` are the addresses that will really change; None: all of them.

        Raises ValueError when resources need each other in a circle.
        """
        self._graph = graph
        self._queues: dict[Address, _Queue] = {}
        self._pools: dict[str, _Pool] = {}
        self._stopped: dict[Address, str] = {}
        changing = graph.resources.keys() if only is None else graph.resources.keys() & only
        order = in_turn(graph, changing)
        self._turns = _Turns({pool: set(members) for pool, members in order.items()})
        if not graph.rollouts and not order:
            return
        stages = _stages(graph, changing, order)
        for name in [*order, *(name for name in graph.rollouts if name not in order)]:
            rollout = graph.rollouts.get(name)
            members = [address for address in changing if graph.resources[address].pool == name]
            if rollout is None:
                self._pools[name] = _Pool(name, None, dict.fromkeys(order[name]))
                continue
            pool = self._pools[name] = _Pool(name, rollout, waiting=dict.fromkeys(members))
            batch_of = _batches({graph.resources[address].node for address in members}, rollout)
            for address in sorted(members, key=str):
                queue = pool.stages.setdefault(stages[address], _Queue())
                queue.put(address, batch_of[graph.resources[address].node])
                self._queues[address] = queue

    @classmethod
    def of(cls, graph: Graph, only: Collection[Address] | None = None) -> Gate | None:
        """The same; None where nothing has to wait."""
        turns = any(resource.one_pool_at_a_time for resource in graph.resources.values())
        return cls(graph, only) if graph.rollouts or turns else None

    def ready(self, address: Address) -> bool:
        """Whether the rollout lets it begin; what it needs is not looked at."""
        if address in self._stopped:
            return False
        queue = self._queues.get(address)
        return (queue is None or queue.is_open(address)) and self._turns.is_open(address)

    def begun(self, address: Address) -> None:
        """It was begun: a stop does not concern it any more."""
        if pool := self._pool(address):
            pool.waiting.pop(address, None)

    def ended(self, address: Address, failed: bool = False) -> list[Address]:
        """It came to an end; what may begin now and could not before.

        `failed` means that its own step failed. What was skipped because of something it needs has ended without
        having failed: otherwise one failure on a node would count on every other.
        """
        pool = self._pool(address)
        if pool is None:
            return []
        self.begun(address)
        opened: list[Address] = []
        if failed and (pool.rollout or self._turns.has(address)):
            pool.failed.add(self._graph.resources[address].node)
            if pool.is_over:
                opened += self._stop(pool)
        opened += self._leave(address)
        return [one for one in dict.fromkeys(opened) if self.ready(one)]

    def stopped(self) -> Mapping[Address, str]:
        """What will not begin in this run, and why: a clause. Grows with `ended`."""
        return self._stopped

    def _stop(self, pool: _Pool) -> list[Address]:
        """Too many of its nodes have failed: neither the rest of it nor, where machines go out of service, the pools
        after it begin. Returns what need not wait for those any more."""
        halted = dict.fromkeys(pool.waiting if pool.rollout is not None else (), pool.reason())
        for name, members in self._turns.after(pool.name):
            why = f"the NodePool {name} is not begun, since drivers change one pool at a time, and {pool.reason()}"
            halted |= dict.fromkeys((one for one in members if one in self._pools[name].waiting), why)
        self._stopped.update(halted)
        for address in halted:
            self.begun(address)
        return [one for address in halted for one in self._leave(address)]

    def _leave(self, address: Address) -> list[Address]:
        """Nothing waits for it any more; what may begin because of that, as far as it alone is concerned."""
        queue = self._queues.get(address)
        return [*(queue.leave(address) if queue else []), *self._turns.leave(address)]

    def _pool(self, address: Address) -> _Pool | None:
        resource = self._graph.resources.get(address)
        return self._pools.get(resource.pool) if resource else None


@dataclass(slots=True)
class _Queue:
    """The batches of one stage of one pool; the lowest with anything left in it is open, and those below."""

    place: dict[Address, int] = field(default_factory=dict)
    batches: list[set[Address]] = field(default_factory=list)
    open: int = 0

    def put(self, address: Address, batch: int) -> None:
        """Only before the first `leave`."""
        while len(self.batches) <= batch:
            self.batches.append(set())
        self.batches[batch].add(address)
        self.place[address] = batch
        self.open = batch if len(self.place) == 1 else min(self.open, batch)

    def is_open(self, address: Address) -> bool:
        return self.place[address] <= self.open

    def leave(self, address: Address) -> list[Address]:
        """Take it out; what is open because of that."""
        self.batches[self.place[address]].discard(address)
        before = self.open
        while self.open < len(self.batches) - 1 and not self.batches[self.open]:
            self.open += 1
        return sorted(self.batches[self.open], key=str) if self.open > before else []


@dataclass(slots=True)
class _Turns:
    """What goes through the pools one after the other; the pools before the open one have ended."""

    pools: dict[str, set[Address]]
    """What has not ended, by pool, in their order."""
    place: dict[Address, int] = field(default_factory=dict)
    open: int = 0

    def __post_init__(self) -> None:
        self.place = {one: number for number, members in enumerate(self.pools.values()) for one in members}

    def has(self, address: Address) -> bool:
        return address in self.place

    def is_open(self, address: Address) -> bool:
        return self.place.get(address, 0) <= self.open

    def after(self, pool: str) -> list[tuple[str, list[Address]]]:
        """The pools that come later, with what is left there; none where this one's turn is over, or it has none."""
        names = list(self.pools)
        later = names[names.index(pool) + 1 :] if pool in names[self.open :] else []
        return [(name, sorted(self.pools[name], key=str)) for name in later]

    def leave(self, address: Address) -> list[Address]:
        """It has ended; what may begin because of that."""
        if address not in self.place:
            return []
        pools = list(self.pools.values())
        pools[self.place[address]].discard(address)
        before = self.open
        while self.open < len(pools) - 1 and not pools[self.open]:
            self.open += 1
        return sorted(pools[self.open], key=str) if self.open > before else []


@dataclass(slots=True)
class _Pool:
    name: str
    rollout: Rollout | None
    """None: it is only one of those that are gone through one after the other."""
    waiting: dict[Address, None]
    """What has not begun."""
    stages: dict[int, _Queue] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    """Nodes."""

    @property
    def is_over(self) -> bool:
        return len(self.failed) > (self.rollout.max_failures if self.rollout else 0)

    def reason(self) -> str:
        """Why nothing more begins: a clause."""
        nodes = sorted(self.failed, key=natural)
        shown = ", ".join(nodes[:_SHOWN]) + (f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else "")
        if self.rollout is None:
            return f"in the NodePool {self.name} {shown} failed"
        allowed = self.rollout.max_failures
        rule = "no node may fail" if not allowed else f"only {allowed} node{'s' if allowed > 1 else ''} may fail"
        return f"the rollout of the NodePool {self.name} was stopped: {shown} failed, and {rule} (maxFailures)"


def _batches(nodes: Iterable[str], rollout: Rollout) -> dict[str, int]:
    """The number of every node's batch; the canaries are in batch 0."""
    ordered = sorted(nodes, key=natural)
    after = ordered[rollout.canary :]
    size = rollout.batch or len(after)
    return dict.fromkeys(ordered[: rollout.canary], 0) | {node: 1 + at // size for at, node in enumerate(after)}


def in_words(rollout: Rollout, nodes: int) -> str:
    """How that many nodes are gone through: `4 nodes: 1 first, then 1 at a time; stopped when any of them fails`."""
    if nodes == 1:
        return "1 node"
    first = min(rollout.canary, nodes)
    left = nodes - first
    rest = f"{min(rollout.batch, left)} at a time" if rollout.batch and left else "all at once"
    how = f"{first} first, then {rest}" if first and left else rest
    stop = f"more than {rollout.max_failures} of them fail" if rollout.max_failures else "any of them fails"
    return f"{nodes:,} nodes: {how}; stopped when {stop}"


def in_turn(graph: Graph, changing: Collection[Address]) -> Mapping[str, Sequence[Address]]:
    """What of `changing` goes through the pools one after the other, by pool and in that order; empty where that is
    one pool alone."""
    found: dict[str, list[Address]] = {}
    for address in changing:
        resource = graph.resources[address]
        if resource.one_pool_at_a_time:
            found.setdefault(resource.pool, []).append(address)
    return {pool: found[pool] for pool in sorted(found, key=natural)} if len(found) > 1 else {}


def _stages(
    graph: Graph, changing: Collection[Address], order: Mapping[str, Sequence[Address]]
) -> Mapping[Address, int]:
    """The stage of every resource that changes, or needs one that does.

    All of one type are in one stage, so that the order of batches holds in every type; each has one of its own only
    where a type needs itself, however indirectly.
    """
    resources = graph.resources
    needs = {
        address: [need for need in resource.needs() if need in resources] for address, resource in resources.items()
    }
    turn = {address: number for number, members in enumerate(order.values()) for address in members}
    types = {address: resource.type for address, resource in resources.items()}
    # By pool where pools come one after the other: else the type would need itself.
    units = types | {address: f"{types[address]}@{number}" for address, number in turn.items()}
    try:
        return _ranked(graph, changing, needs, units, turn)
    except CycleError:
        return _ranked(graph, changing, needs, {address: str(address) for address in resources}, turn)


def _ranked(
    graph: Graph,
    changing: Collection[Address],
    needs: Mapping[Address, Collection[Address]],
    unit: Mapping[Address, str],
    turn: Mapping[Address, int],
) -> Mapping[Address, int]:
    """Stages by unit. Raises CycleError when units need each other."""
    members: dict[str, list[Address]] = {}
    edges: dict[str, set[str]] = {}
    for address, needed in needs.items():
        members.setdefault(unit[address], []).append(address)
        apart = [need for need in needed if not _together(graph, unit, address, need)]
        edges.setdefault(unit[address], set()).update(unit[need] for need in apart)
    if circles := [name for name, needed in edges.items() if name in needed]:
        raise CycleError("needs itself", circles)
    # The end of a turn stands between those that are before it and those that wait for it.
    for address, number in turn.items():
        edges[unit[address]].add(_end(number - 1))
        edges.setdefault(_end(number), set()).add(unit[address])
    ends: dict[str, int] = {}
    found: dict[Address, int] = {}
    for name in TopologicalSorter(edges).static_order():
        waiting: set[Address] = set()
        stage = 0
        for address in _first_needed(members.get(name, ()), needs):
            node = graph.resources[address].node
            held = [found[need] + (graph.resources[need].node != node) for need in needs[address] if need in found]
            if address in turn:
                held.append(ends.get(_end(turn[address] - 1), 0))
            stage = max(stage, *held, 0)
            if held or address in changing or not waiting.isdisjoint(needs[address]):
                waiting.add(address)
        found.update(dict.fromkeys(waiting, stage))
        for end in {_end(turn[address]) for address in waiting if address in turn}:
            ends[end] = max(ends.get(end, 0), stage + 1)
    return found


def _together(graph: Graph, unit: Mapping[Address, str], one: Address, other: Address) -> bool:
    """Whether that one needs the other holds up nobody else: of one type and on one node, they are in one batch."""
    node = graph.resources[one].node
    return unit[one] == unit[other] and one != other and bool(node) and node == graph.resources[other].node


def _first_needed(members: Collection[Address], needs: Mapping[Address, Collection[Address]]) -> Iterable[Address]:
    """Members of one unit, those first that others of them need. Raises CycleError when they need each other."""
    if len(members) < 2:
        return members
    inside = set(members)
    if all(inside.isdisjoint(needs[one]) for one in members):
        return members
    return TopologicalSorter({one: inside.intersection(needs[one]) for one in members}).static_order()


def _end(turn: int) -> str:
    return f"@{turn}"
