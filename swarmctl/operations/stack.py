"""What every operation on a stack starts from: its declarations, its state, the graph, the engine.

Operations never print: they return values and emit typed events. What needs the engine is imported when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from swarmctl.plans.events import Event, Note, StepEnded, StepStarted
from swarmctl.plans.model import Action, Change, HostEffect, Plan, Preconditions

if TYPE_CHECKING:
    from swarmctl.engine.install import Engine
    from swarmctl.engine.session import Session
    from swarmctl.graph.model import Address, Graph, Json
    from swarmctl.operations.load import LoadedStack
    from swarmctl.state.store import Snapshot, Store

Emit = Callable[[Event], None]
MACHINE = "swarm:nodepool:Machine"
"""Type of the resources that are machines."""
NO_TYPE = ""
"""Type of what is no resource of the engine's."""
Confirm = Callable[[Plan], bool]


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack whose declarations are valid, with its state as it is now."""

    loaded: LoadedStack
    store: Store
    snapshot: Snapshot
    graph: Graph
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Values of the declared secrets by place, for the provider; see `kinds.secrets`."""

    @property
    def identity(self) -> str:
        """Whose things these are: the name, and the uid where there is one."""
        return self.loaded.identity

    @property
    def nodes(self) -> set[str]:
        """Names of all machines that are declared."""
        from swarmctl.graph.model import Machine

        return {machine.name for machine in self.graph.exported(Machine)}


def load(folder: Path, emit: Emit | None = None) -> tuple[LoadedStack, Store]:
    """The declarations and where their state is kept; `emit` is told how many warnings they have.

    Raises InvalidDeclaration, NoDocuments, identity.Renamed.
    """
    from swarmctl.operations import identity
    from swarmctl.operations.load import load_stack
    from swarmctl.state.store import Store

    loaded = load_stack(folder)
    if emit and (count := len(loaded.diagnostics)):
        what = "a warning" if count == 1 else f"{count} warnings"
        emit(Note(f"the declarations have {what}; see `swarmctl validate`", warning=True))
    store = Store(loaded.identity, loaded.state_url)
    identity.check(loaded, store.folder)
    return loaded, store


def warn_of_damage(store: Store, emit: Emit) -> None:
    """Say it when the state can't be read and the one before it is looked at. Raises StateUnreadable."""
    if damage := store.damage():
        emit(Note(f"{damage}; the state before it is used. `swarmctl apply` puts it right", warning=True))


def repair(store: Store, emit: Emit) -> None:
    """Put right what a run that was cut off left of the state, and say so; call it with the lock held.

    Raises StateUnreadable.
    """
    for note in store.repair():
        emit(Note(note, warning=True))


def compile_stack(loaded: LoadedStack, store: Store, *, reveal: bool = True) -> Stack:
    """Read the state and compile the graph; what is allocated already stays as it is.

    Without `reveal` the declared secrets are not read. Raises InvalidDeclaration with those that can't be.
    """
    from swarmctl.errors import InvalidDeclaration
    from swarmctl.kinds.compile import compile_graph
    from swarmctl.kinds.secrets import Secrets

    snapshot = store.snapshot()
    secrets = Secrets(loaded.folder, store.hmac)
    read = {"secret": secrets.secret} if reveal else {}
    graph = compile_graph(loaded.inventory, loaded.identity, previous(snapshot), on_node(snapshot), **read)
    if secrets.problems:
        raise InvalidDeclaration(secrets.problems, loaded.sources)
    return Stack(loaded, store, snapshot, graph, secrets.values)


def previous(snapshot: Snapshot) -> Callable[[Address], Mapping[str, Json] | None]:
    """Inputs by address as they were last applied."""

    def look_up(address: Address) -> Mapping[str, Json] | None:
        recorded = snapshot.resources.get(str(address))
        return recorded.inputs if recorded else None

    return look_up


def on_node(snapshot: Snapshot) -> Callable[[str, str], Mapping[str, Json] | None]:
    """Inputs by type and node as they were last applied."""
    found = {(it.type, str(it.inputs["node"])): it.inputs for it in snapshot.resources.values() if "node" in it.inputs}
    return lambda type_, node: found.get((type_, node))


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


def open_session(store: Store, engine: Engine, emit: Emit, secrets: Mapping[str, str] | None = None) -> Session:
    """The engine, ready to work on one stack; `secrets` are `Stack.secrets`."""
    from swarmctl.engine.session import Session

    return Session(store, engine, emit, secrets=secrets)


def preconditions(stack: Stack, engine: Engine) -> Preconditions:
    """What a plan of this stack is made from."""
    from swarmctl import __version__
    from swarmctl.graph.canonical import digest

    return Preconditions(
        declarations=stack.loaded.digest,
        graph=digest(stack.graph),
        # An empty state is the same whether or not its folder was made already.
        state=stack.snapshot.digest if stack.snapshot.resources else "",
        versions={"swarmctl": __version__, "pulumi": engine.version},
    )


def strays(identity: str, known: set[str]) -> list[tuple[str, str]]:
    """Machines that carry the stack's mark and are not among the `known` nodes, left by a crash: (backend, node)."""
    from swarmctl import backends

    return [
        (name, node)
        for name in backends.names()
        for node in sorted(backends.load(name).machines(identity))
        if node not in known
    ]


def remove_stray(identity: str, backend: str, node: str) -> None:
    """Remove a machine of which nothing is known but the mark it carries."""
    from swarmctl import backends

    host = {"backend": backend, "stack": identity, "node": node}
    backends.load(backend).delete_machine({"backend": backend, "node": node, "host": host})


def stray_change(backend: str, node: str) -> Change:
    """The removal of a machine that nobody knows, as a line of the plan."""
    text = f"the whole machine ({backend}): nothing declares it, a run that was cut off left it"
    effects, impact = (HostEffect("delete", text),), f"{node} goes away with everything on it"
    return Change(f"{backend}/{node}", NO_TYPE, Action.DELETE, node=node, effects=effects, impact=impact)


def nodes_in(snapshot: Snapshot) -> set[str]:
    """Names of all machines that the state knows."""
    return {str(recorded.inputs["node"]) for recorded in snapshot.resources.values() if recorded.inputs.get("node")}
