"""`swarmctl doctor --stack`: what belongs to the stack and no state knows, and what a state knows that is not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swarmctl.backends.base import Fence
from swarmctl.errors import Declined, PlanRefused
from swarmctl.operations import guards, remains, snapshots
from swarmctl.operations import stack as stacks
from swarmctl.operations.remains import Adoption, Finding, Standing, World
from swarmctl.operations.stack import Emit
from swarmctl.plans.events import Note

if TYPE_CHECKING:
    from swarmctl.graph.model import Graph
    from swarmctl.operations.load import LoadedStack
    from swarmctl.provider.hosts import Connections
    from swarmctl.state.lease import Lease
    from swarmctl.state.store import Snapshot, Store

ConfirmRemoval = Callable[[Sequence[Finding], str], bool]


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found, and what was done about it."""

    stack: str
    """Name, for people."""
    findings: tuple[Finding, ...]
    adopted: frozenset[str] = frozenset()
    """Addresses that are recorded now."""
    removed: tuple[Finding, ...] = ()

    @property
    def well(self) -> bool:
        """Whether world and state fit each other, as far as can be told."""
        return all(it.address in self.adopted or it in self.removed for it in self.findings)


def examine(folder: Path, emit: Emit) -> Examination:
    """Compare world and state of the stack in `folder`. Changes nothing and needs neither engine nor lease.

    Works without a state and with one that nobody can read. Raises NoDocuments, InvalidDeclaration, StateTooNew.
    """
    loaded, store = stacks.load(folder, emit)
    guards.tell_pending(store, emit)
    graph, snapshot = _compiled(loaded, store, emit)
    return Examination(loaded.name, tuple(remains.examine(graph, snapshot, _world(graph, snapshot))))


def adopt(folder: Path, emit: Emit, *, lock_timeout: float = 0.0) -> Examination:
    """Record what is declared, exists and is not in the state, as it was read back; nothing in the world is changed.

    From then on plan, drift and destroy know it; where it is not as declared, the next apply changes it in place.
    Raises LockHeld, Fenced, ForeignStack, StateUnreadable and what `examine` raises.
    """
    loaded, store = stacks.load(folder, emit)
    with stacks.leased(store, stacks.Options(lock_timeout=lock_timeout), emit) as lease:
        stack = stacks.compile_stack(loaded, store)
        world = _world(stack.graph, stack.snapshot, stacks.fence_of(loaded.identity, lease))
        findings = tuple(remains.examine(stack.graph, stack.snapshot, world))
        found = remains.adopted(findings)
        if found:
            _record(store, lease, stack.graph, found)
    return Examination(loaded.name, findings, adopted=frozenset(found))


def remove(folder: Path, emit: Emit, *, confirm: ConfirmRemoval, lock_timeout: float = 0.0) -> Examination:
    """Remove what exists and is not in the state, declared or not; what the state knows is left alone.

    `confirm` gets what would go and the stack's name, and is not called when that is nothing. Raises Declined,
    PlanRefused for what is declared as protected, LockHeld, Fenced, ForeignStack and what `examine` raises.
    """
    loaded, store = stacks.load(folder, emit)
    with stacks.leased(store, stacks.Options(lock_timeout=lock_timeout), emit) as lease:
        graph, snapshot = _compiled(loaded, store, emit)
        fence = stacks.fence_of(loaded.identity, lease)
        findings = tuple(remains.examine(graph, snapshot, _world(graph, snapshot, fence)))
        going = remains.removable(findings)
        _require_unprotected(graph, going)
        if going and not confirm(going, loaded.name):
            raise Declined("nothing was removed")
        for one in going:
            lease.check()
            if one.removal is not None:
                one.removal(fence)
    return Examination(loaded.name, findings, removed=_with_machines(findings, going))


def _compiled(loaded: LoadedStack, store: Store, emit: Emit) -> tuple[Graph, Snapshot]:
    """The graph and what is recorded; without the state where nobody can read that."""
    from swarmctl.kinds.compile import compile_graph
    from swarmctl.state.checkpoint import EMPTY, Snapshot, StateUnreadable

    try:
        snapshot = store.snapshot()
    except StateUnreadable as error:
        emit(Note(f"{error.message}; what is there is looked for without it", warning=True))
        snapshot = Snapshot(digest=EMPTY)
    graph = compile_graph(
        loaded.inventory,
        loaded.identity,
        snapshots.previous(snapshot),
        snapshots.on_node(snapshot),
        existing=stacks.existing(loaded.identity),
    )
    return graph, snapshot


def _world(graph: Graph, snapshot: Snapshot, fence: Fence | None = None) -> World:
    """The real one; every host of it is being read already."""
    from swarmctl.provider.hosts import Connections

    connections: Connections = Connections(fence=fence)
    world = World.real(connections)
    connections.foresee(
        backend.host_of(graph.stack, node)
        for backend in world.backends.values()
        for node in sorted(backend.machines(graph.stack))
    )
    return world


def _record(store: Store, lease: Lease, graph: Graph, found: Mapping[str, Adoption]) -> None:
    """Publish the state with `found` in it, as a run that had made them would have left it."""
    from swarmctl.engine.header import resources
    from swarmctl.graph.canonical import digest
    from swarmctl.state import replay
    from swarmctl.state.journal import CREATE, Intent, Record, Result
    from swarmctl.state.model import Applied, RunHeader

    before = store.load()
    generation = before.generation if before else 0
    header = RunHeader(
        stack=store.identity,
        token=lease.token,
        generation=generation,
        operation="update",
        owner=lease.holder.owner,
        graph=digest(graph),
        resources=resources(graph, {}),
    )
    records: list[Record] = []
    for n, (address, one) in enumerate(found.items(), start=1):
        records.append(Intent(n, CREATE, replay.urn(store.identity, one.type, address), one.inputs))
        records.append(Result(n, outputs=one.outputs))
    checkpoint = replay.replay(before.checkpoint if before else None, header, records)
    applied = Applied(header.graph, complete=False)
    store.publish(lease, generation, checkpoint, applied=applied, plans=before.plans if before else ())


def _require_unprotected(graph: Graph, going: Sequence[Finding]) -> None:
    nodes = {it.node for it in going if it.backend and it.node}
    addresses = {it.address for it in going}
    protected = [
        str(it.address)
        for it in graph.resources.values()
        if it.protect and (str(it.address) in addresses or it.node in nodes)
    ]
    if protected:
        raise PlanRefused(
            "what is declared as protected is not removed; nothing was touched",
            "take it over with `swarmctl doctor --stack --adopt`, or take `protect: true` away",
            details=protected,
        )


def _with_machines(findings: Sequence[Finding], going: Sequence[Finding]) -> tuple[Finding, ...]:
    """What went, with what was on machines that went."""
    nodes = {it.node for it in going if it.backend and it.node}
    return tuple(
        it for it in findings if it in going or (it.standing is not Standing.MISSING and it.node and it.node in nodes)
    )
