"""Changes spread over a pool's nodes in steps: canaries first, then batches, and no further when too many fail. Pure.

What is ordered are *nodes*: everything of a node's that changes belongs to the batch of the node, and a batch begins
when all of the batch before has ended. One thing breaks that order: what needs something of another node (the peers
of a tunnel need the other end's key) may not hold that node up. Such types come in a later *stage*, which goes through
the batches on its own.

Why that can't get stuck: along a dependency the stage never falls, and it rises when the dependency leads to another
node. So within one stage dependencies stay on one node, hence in one batch, and waiting for an earlier batch never
leads back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
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
        if not graph.rollouts:
            return
        changing = graph.resources.keys() if only is None else graph.resources.keys() & only
        stages = _stages(graph, changing)
        for name, rollout in graph.rollouts.items():
            members = [address for address in changing if graph.resources[address].pool == name]
            pool = self._pools[name] = _Pool(name, rollout, waiting=dict.fromkeys(members))
            batch_of = _batches({graph.resources[address].node for address in members}, rollout)
            for address in sorted(members, key=str):
                queue = pool.stages.setdefault(stages[address], _Queue())
                queue.put(address, batch_of[graph.resources[address].node])
                self._queues[address] = queue

    def ready(self, address: Address) -> bool:
        """Whether the rollout lets it begin; what it needs is not looked at."""
        if address in self._stopped:
            return False
        queue = self._queues.get(address)
        return queue is None or queue.is_open(address)

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
        if failed:
            pool.failed.add(self._graph.resources[address].node)
            if len(pool.failed) > pool.rollout.max_failures:
                self._stopped.update(dict.fromkeys(pool.waiting, pool.reason()))
                pool.waiting.clear()
        queue = self._queues.get(address)
        opened = queue.leave(address) if queue else []
        return [one for one in opened if one not in self._stopped]

    def stopped(self) -> Mapping[Address, str]:
        """What will not begin in this run, and why: a clause. Grows with `ended`."""
        return self._stopped

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
class _Pool:
    name: str
    rollout: Rollout
    waiting: dict[Address, None]
    """What has not begun."""
    stages: dict[int, _Queue] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    """Nodes."""

    def reason(self) -> str:
        nodes = sorted(self.failed, key=natural)
        shown = ", ".join(nodes[:_SHOWN]) + (f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else "")
        allowed = self.rollout.max_failures
        rule = "no node may fail" if not allowed else f"only {allowed} node{'s' if allowed > 1 else ''} may fail"
        return f"the rollout of the NodePool {self.name} was stopped: {shown} failed, and {rule} (maxFailures)"


def _batches(nodes: Iterable[str], rollout: Rollout) -> dict[str, int]:
    """The number of every node's batch; the canaries are in batch 0."""
    ordered = sorted(nodes, key=natural)
    after = ordered[rollout.canary :]
    size = rollout.batch or len(after)
    return dict.fromkeys(ordered[: rollout.canary], 0) | {node: 1 + at // size for at, node in enumerate(after)}


def _stages(graph: Graph, changing: Collection[Address]) -> Mapping[Address, int]:
    """The stage of every resource that changes, or needs one that does.

    All of one type are in one stage, so that the order of batches holds in every type; each has one of its own only
    where a type needs itself, however indirectly.
    """
    resources = graph.resources
    needs = {
        address: [need for need in resource.needs() if need in resources] for address, resource in resources.items()
    }
    try:
        return _ranked(graph, changing, needs, {address: resource.type for address, resource in resources.items()})
    except CycleError:
        return _ranked(graph, changing, needs, {address: str(address) for address in resources})


def _ranked(
    graph: Graph,
    changing: Collection[Address],
    needs: Mapping[Address, Collection[Address]],
    unit: Mapping[Address, str],
) -> Mapping[Address, int]:
    """Stages by unit. Raises CycleError when units need each other."""
    members: dict[str, list[Address]] = {}
    edges: dict[str, set[str]] = {}
    for address, needed in needs.items():
        members.setdefault(unit[address], []).append(address)
        edges.setdefault(unit[address], set()).update(unit[need] for need in needed)
    if circles := [name for name, needed in edges.items() if name in needed]:
        raise CycleError("needs itself", circles)
    found: dict[Address, int] = {}
    for name in TopologicalSorter(edges).static_order():
        waiting = []
        stage = 0
        for address in members[name]:
            node = graph.resources[address].node
            held = [found[need] + (graph.resources[need].node != node) for need in needs[address] if need in found]
            stage = max(stage, *held, 0)
            if held or address in changing:
                waiting.append(address)
        found.update(dict.fromkeys(waiting, stage))
    return found
