"""What every operation on a stack starts from: its declarations, its state, the graph, the engine.

Operations never print: they return values and emit typed events. What needs the engine is imported when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarmctl.operations import snapshots
from swarmctl.plans.events import Event, Note, StepEnded, StepStarted
from swarmctl.plans.model import Plan, Preconditions

if TYPE_CHECKING:
    from swarmctl.backends.base import Fence
    from swarmctl.diagnostics import Diagnostic
    from swarmctl.engine.guarded import Settle
    from swarmctl.engine.install import Engine
    from swarmctl.engine.session import Session
    from swarmctl.graph.model import Graph
    from swarmctl.operations.load import LoadedStack
    from swarmctl.state.lease import Lease, Waiting
    from swarmctl.state.model import Published
    from swarmctl.state.store import Snapshot, Store

Emit = Callable[[Event], None]
EVERY_NODE = ("*",)
"""In place of names of nodes."""
WARNINGS = 3
"""Warnings about declarations that every command tells; `validate` shows all, with how to mend them."""
Confirm = Callable[[Plan], bool]


@dataclass(frozen=True, slots=True)
class Options:
    """How a stack is worked on."""

    refresh: bool = True
    """Whether the world is read back first."""
    targets: tuple[str, ...] = ()
    """Addresses that the run is for, with what they need; none: everything."""
    lock_timeout: float = 0.0
    """Seconds to wait for whoever works on the stack."""
    rotate: Collection[str] = ()
    """Nodes whose keys are rotated whatever their age; `EVERY_NODE` for all."""

    @property
    def partial(self) -> tuple[str, ...]:
        """The targets, in an order of their own."""
        return tuple(sorted(set(self.targets)))


DEFAULT = Options()


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack whose declarations are valid, with its state as it is now."""

    loaded: LoadedStack
    store: Store
    snapshot: Snapshot
    graph: Graph
    digest: str
    """Of the graph."""
    published: Published | None = None
    """With what runs that were cut off have done since; None before the first."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Values of the declared secrets by place, for the provider; see `kinds.secrets`."""
    warnings: tuple[str, ...] = ()
    """What is unwise about the places of secrets, and what the kinds noted of the graph."""
    compiled: Callable[[], Graph] | None = None
    """Compiles the graph anew, from the same declarations, state and facts."""

    def anew(self) -> Stack:
        """With the graph as it is now that other machines count as silent; see `backends.ways.silence`."""
        from swarmctl.graph.canonical import digest

        if self.compiled is None:
            return self
        graph = self.compiled()
        return replace(self, graph=graph, digest=digest(graph))

    @property
    def identity(self) -> str:
        """Whose things these are: the name, and the uid where there is one."""
        return self.loaded.identity

    @property
    def nodes(self) -> set[str]:
        """Names of all machines that are declared."""
        from swarmctl.graph.model import Machine

        return {machine.name for machine in self.graph.exported(Machine)}


def load(folder: Path, emit: Emit | None = None, despite: Collection[str] = ()) -> tuple[LoadedStack, Store]:
    """The declarations and where their state is kept; `emit` is told the first warnings about them. Errors with the
    codes `despite` are among these.

    Raises InvalidDeclaration, NoDocuments, identity.Renamed.
    """
    from swarmctl.kinds.node_pool import expand
    from swarmctl.operations import identity
    from swarmctl.operations.load import load_stack
    from swarmctl.state.store import Store

    loaded = load_stack(folder, despite)
    if emit:
        _tell(loaded.diagnostics, emit)
    store = Store(loaded.identity, loaded.state_url)
    identity.check(loaded, store.folder)
    expand.declare_ways(loaded.inventory, loaded.identity)
    return loaded, store


def _tell(warnings: Sequence[Diagnostic], emit: Emit) -> None:
    for one in warnings[:WARNINGS]:
        place = f"{one.range.file}:{one.range.start.line}:{one.range.start.column}: " if one.range else ""
        emit(Note(f"{place}{one.message} ({one.code.id})", warning=True))
    if warnings:
        more = f"{len(warnings) - WARNINGS} more warnings; " if len(warnings) > WARNINGS else ""
        emit(Note(f"{more}`swarmctl validate` shows what can be done about the declarations", warning=bool(more)))


@contextmanager
def leased(store: Store, options: Options, emit: Emit) -> Iterator[Lease]:
    """The stack is ours alone, and what a run that was cut off did is in the state.

    Waits for whoever works on it as long as the options say. Raises LockHeld, StateUnreadable, StateTooNew, DiskFull.
    """
    with lease_of(store, options.lock_timeout, emit) as lease:
        recover(store, lease, emit)
        yield lease


def lease_of(store: Store, timeout: float, emit: Emit) -> AbstractContextManager[Lease]:
    """The stack's lease, with a token that is greater than any that a machine of the stack has seen, also when the
    store that counts them was lost. Raises LockHeld after `timeout` seconds."""
    return store.lease(timeout, waiting(emit), lambda: greatest_token(store.identity))


def greatest_token(identity: str) -> int:
    """The greatest token that any backend knows of for this stack; 0 for none."""
    from swarmctl import backends

    return max((backends.load(name).greatest_token(identity) for name in backends.names()), default=0)


def waiting(emit: Emit) -> Callable[[Waiting], None]:
    """Tells for whom a run waits, and for how long."""
    return lambda state: emit(Note(state.text))


def recover(store: Store, lease: Lease, emit: Emit) -> None:
    """Bring what a run that was cut off did into the state, and say so; what it had not confirmed is undone first.

    Raises StateUnreadable, StateTooNew.
    """
    from swarmctl.operations import guards

    guards.undo_left(store, lease, emit)
    for note in store.recover(lease):
        emit(Note(note, warning=True))


def look_around(store: Store, emit: Emit) -> None:
    """Say it when the state can't be read and the last good one is looked at, and when somebody is changing the stack:
    what is looked at may be another thing in a moment."""
    from swarmctl.operations import guards
    from swarmctl.state import lease, unlocking
    from swarmctl.state.lease_rules import Life
    from swarmctl.state.lease_words import who

    if (damage := store.damage()) and _has_good(store):
        emit(Note(f"{damage.message}; the last good state is shown. {damage.hint}", warning=True))
    tell_unread(store, emit)
    guards.tell_pending(store, emit)
    for text in unlocking.digests(store):
        emit(Note(text, warning=True))
    found = lease.status(store.folder)
    if found is not None and found.holder is not None and found.life not in (Life.GONE, Life.EXPIRED):
        emit(Note(f"{who(found.holder)} works on this stack: what is shown may soon be otherwise", warning=True))


def tell_unread(store: Store, emit: Emit) -> None:
    """Say it when a run that was cut off left what nobody can read: what is looked at lacks what it did."""
    for path in store.unread():
        text = f"what a run that was cut off did can't be read ({path}); `swarmctl doctor --stack` finds what it made"
        emit(Note(text, warning=True))


def _has_good(store: Store) -> bool:
    """Whether there is a state to look at; where there is none, looking at it says why."""
    from swarmctl.state.checkpoint import StateUnreadable

    try:
        store.current()
    except StateUnreadable:
        return False
    return True


def compile_stack(
    loaded: LoadedStack,
    store: Store,
    *,
    reveal: bool = True,
    rotate: Collection[str] = (),
    emit: Emit | None = None,
    kinds: Collection[str] | None = None,
) -> Stack:
    """Read the state and compile the graph; what is allocated already stays as it is.

    Without `reveal` the declared secrets are not read, and no machine's facts; `rotate` is that of the options. `emit`
    is told how far reading many machines has come; `kinds` are those that are compiled, by default all. Nobody counts
    as silent yet. Raises InvalidDeclaration with secrets
    that can't be read, and UsageError for nodes to rotate that are in no mesh.
    """
    from swarmctl.backends import ways
    from swarmctl.errors import InvalidDeclaration
    from swarmctl.graph.canonical import digest
    from swarmctl.kinds.compile import compile_graph
    from swarmctl.kinds.secrets import Secrets
    from swarmctl.operations.facts_cache import Cache
    from swarmctl.operations.facts_reading import Systems
    from swarmctl.state.checkpoint import EMPTY, Snapshot
    from swarmctl.state.checkpoint import snapshot as read_snapshot

    ways.silence(loaded.identity, ())
    ways.absent(loaded.identity, ())
    published = store.current()
    snapshot = read_snapshot(published.checkpoint) if published else Snapshot(digest=EMPTY)
    snapshots.record_ways(loaded.identity, snapshot)
    secrets, systems = Secrets(loaded.folder, store.hmac), Systems(Cache(loaded.identity), emit)
    read: Any = {"secret": secrets.secret, "system": systems, "anew": systems.anew} if reveal else {}
    compiled = partial(
        compile_graph,
        loaded.inventory,
        loaded.identity,
        snapshots.previous(snapshot),
        snapshots.on_node(snapshot),
        rotate=rotate,
        existing=existing(loaded.identity),
        nodes=snapshots.machines_in(snapshot) if reveal else {},
        kinds=kinds,
        **read,
    )
    graph = compiled()
    _require_members(graph, snapshot, rotate)
    if secrets.problems:
        raise InvalidDeclaration(secrets.problems, loaded.sources)
    warnings = (*secrets.warnings, *graph.notes)
    return Stack(loaded, store, snapshot, graph, digest(graph), published, secrets.values, warnings, compiled)


def _require_members(graph: Graph, snapshot: Snapshot, nodes: Collection[str]) -> None:
    """Raises UsageError for a node that is in no mesh, and where no mesh has been applied that could have a key."""
    import difflib

    from swarmctl.errors import UsageError
    from swarmctl.graph.model import MeshMember

    members = sorted({member.node for member in graph.exported(MeshMember)} if nodes else ())
    for node in nodes:
        if node not in members and node not in EVERY_NODE:
            near = difflib.get_close_matches(node, members, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "`swarmctl status` lists the nodes"
            raise UsageError(f"no node of a mesh is called {node}", hint)
    if nodes and not any(it.type == "swarm:mesh:Interface" for it in snapshot.resources.values()):
        raise UsageError("no mesh of this stack is applied, so there is no key to rotate", "run `swarmctl apply` first")


def warn(stack: Stack, emit: Emit) -> None:
    """Say what is unwise about the places of the stack's secrets, and what the kinds noted."""
    for text in stack.warnings:
        emit(Note(text, warning=True))


def existing(identity: str) -> Callable[[str], Collection[str]]:
    """Names of the machines that a backend has for a stack, by their marks; each is asked once, and when it matters."""
    from functools import cache

    from swarmctl import backends

    return cache(lambda backend: frozenset(backends.load(backend).machines(identity)))


def obtain_engine(emit: Emit) -> Engine:
    """The Pulumi engine: found, or else downloaded or built, which `emit` tells of. Raises EngineMissing."""
    from swarmctl.engine.install import install

    return install(emit)


def only_looking(emit: Emit) -> Emit:
    """`emit` without the steps: those of a preview are no progress, they are the plan."""

    def looking(event: Event) -> None:
        if not isinstance(event, StepStarted | StepEnded):
            emit(event)

    return looking


def open_session(
    store: Store,
    engine: Engine,
    emit: Emit,
    secrets: Mapping[str, str] | None = None,
    settle: Settle | None = None,
) -> Session:
    """The engine, ready to work on one stack; `secrets` are `Stack.secrets`, `settle` decides on guarded changes."""
    from swarmctl.engine.session import Session

    return Session(store, engine, emit, secrets=secrets, settle=settle)


def preconditions(stack: Stack, engine: Engine) -> Preconditions:
    """What a plan of this stack is made from."""
    from swarmctl import __version__
    from swarmctl.kinds import API_VERSION
    from swarmctl.plans.encode import SCHEMA

    graph, secrets = _without_values(stack)
    return Preconditions(
        declarations=stack.loaded.digest,
        graph=graph,
        state=_state_digest(stack),
        versions={
            "swarmctl": __version__,
            "provider": __version__,
            "engine": engine.version,
            "declarations": API_VERSION,
            "plan": SCHEMA,
        },
        secrets=secrets,
    )


def _without_values(stack: Stack) -> tuple[str, Mapping[str, str]]:
    """Digest of the graph whatever the values of its secrets are, and a digest of these by address."""
    from swarmctl.graph.canonical import canonical_bytes, digest
    from swarmctl.plans.values import digests, without_digests

    if not stack.secrets:
        return stack.digest, {}
    found = {address: kept for address, it in stack.graph.resources.items() if (kept := list(digests(it.inputs)))}
    resources = {
        address: replace(it, inputs=without_digests(it.inputs)) if address in found else it
        for address, it in stack.graph.resources.items()
    }
    secrets = {str(address): sha256(canonical_bytes(kept)).hexdigest() for address, kept in found.items()}
    return digest(replace(stack.graph, resources=resources)), secrets


def _state_digest(stack: Stack) -> str:
    """Of all that is recorded of the resources, and of how often the state was written.

    Empty for an empty state: that is the same whether or not it was ever written.
    """
    from swarmctl.graph.canonical import canonical_bytes
    from swarmctl.state.checkpoint import latest

    if stack.published is None or not stack.snapshot.resources:
        return ""
    facts = [stack.published.generation, latest(stack.published.checkpoint).get("resources")]
    return sha256(canonical_bytes(facts)).hexdigest()


def fence_of(identity: str, lease: Lease) -> Fence:
    """The fence of what this very process changes under its lease."""
    from swarmctl.backends.base import Fence

    return Fence(identity, lease.token, lease.holder.owner)
