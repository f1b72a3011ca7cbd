"""A world without engine and machines: what planning and applying are driven with in hermetic tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swarmctl.backends.base import Fence
from swarmctl.errors import LockHeld, SwarmError, WorldUnreadable
from swarmctl.graph.model import Graph
from swarmctl.kinds.base import ChangeKind, Effect, Impact
from swarmctl.plans.events import Event, PhaseStarted, StepEnded, StepStarted
from swarmctl.plans.model import Action, Change, DriftedProperty, Plan, PropertyDiff
from swarmctl.state.model import Holder

IDENTITY = "lab-5b2a9a52"


@dataclass
class Recorded:
    type: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Snapshot:
    resources: dict[str, Recorded]
    digest: str


@dataclass
class Failure:
    address: str
    node: str
    error: str


@dataclass
class Skipped:
    address: str
    node: str
    reason: str


@dataclass
class Outcome:
    changes: tuple[Change, ...]
    failures: tuple[Failure, ...] = ()
    interrupted: bool = False
    same: int = 0
    skipped: tuple[Skipped, ...] = ()
    emptied: tuple[str, ...] = ()


class Lease:
    """It is ours."""

    token = 7
    holder = Holder("here", "boot", "pid:[1]", 1, 1, "me", "swarmctl", 1)

    def check(self) -> None:
        pass


class Inventory(list[Any]):
    """The declarations, as far as operations look at them one by one."""


@dataclass
class Loaded:
    inventory: Inventory = field(default_factory=Inventory)
    name: str = "lab"
    identity: str = IDENTITY
    digest: str = "d0"
    signers: tuple[Any, ...] = ()


@dataclass
class Engine:
    version: str = "3.259.0"


def change(address: str, action: Action, node: str = "") -> Change:
    return Change(
        address,
        "swarm:mesh:Peers",
        action,
        node,
        "core",
        "workers",
        properties=(PropertyDiff("mtu", "update", 1280, 1420),),
    )


class World:
    """Everything the operations ask for, and a record of what they did to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loaded = Loaded()
        self.load_error: SwarmError | None = None
        self.engine = Engine()
        self.graph_digest = "g0"
        self.changes: tuple[Change, ...] = (change("mesh/backbone[workers-0/peers]", Action.UPDATE, "workers-0"),)
        self.same = 3
        self.drift: tuple[DriftedProperty, ...] = ()
        self.declared = ("workers-0",)
        self.state = Snapshot({}, "s0")
        self.failures: tuple[Failure, ...] = ()
        self.error: SwarmError | None = None
        self.silent: dict[str, SwarmError] = {}
        """Why machines can't be read, by node."""
        self.stubborn: dict[str, SwarmError] = {}
        """Why machines can't be removed, by node."""
        self.unswept: SwarmError | None = None
        """Why remains can't be removed."""
        self.kept: frozenset[str] | None = None
        """What was kept when the rest was destroyed."""
        self.machines: list[str] = []
        self.locked = False
        self.done: list[str] = []
        """What was done to the world, in order; looking at it leaves nothing here."""
        self.during: Callable[[], None] = lambda: None
        """Called while the engine works."""
        self.interrupts = 0
        self.no_mesh: SwarmError | None = None
        """Why machines can't have the interface of a mesh."""

    # the store
    def exists(self) -> bool:
        return bool(self.state.resources)

    def runs(self) -> tuple[()]:
        return ()

    def recover(self, lease: Lease) -> list[str]:
        return []

    def do_without_secrets(self, lease: Lease) -> bool:
        return False

    def damage(self) -> None:
        return None

    def forget(self, lease: Lease) -> None:
        shutil.rmtree(self.folder)

    def snapshot(self) -> Snapshot:
        return self.state

    def signing_key(self) -> Path:
        return self.folder.with_name("keys") / "signing"

    @contextmanager
    def lease(self, timeout: float = 0.0, on_wait: Any = None, known: Any = None) -> Iterator[Lease]:
        if self.locked:
            raise LockHeld("`swarmctl apply` (process 7) works on this stack", "Wait until it has ended.")
        self.folder.mkdir(parents=True, exist_ok=True)
        yield Lease()

    # the session
    def preview(self, graph: Graph, *, refresh: bool = True, held: frozenset[str] = frozenset()) -> Plan:
        for item in self.changes:
            self.emit(StepEnded(item.address, item.node, item.action, 0))
        self.during()
        if self.error:
            raise self.error
        return Plan(IDENTITY, self.changes, self.same, self.drift)

    def update(self, graph: Graph, lease: Lease, **how: Any) -> Outcome:
        return self._work("update")

    def destroy(self, lease: Lease, keeping: Collection[str] = ()) -> Outcome:
        if self.silent and not keeping:
            error = WorldUnreadable("1 resource could not be read back; nothing was changed")
            error.nodes = dict(self.silent)
            raise error
        self.kept = frozenset(keeping)
        return self._work("destroy")

    def drift_(self) -> Plan:
        if self.error:
            raise self.error
        return Plan(IDENTITY, (), self.same, self.drift)

    def interrupt(self) -> None:
        self.interrupts += 1

    def _work(self, what: str) -> Outcome:
        self.emit(PhaseStarted("applying", len(self.changes)))
        for item in self.changes:
            self.emit(StepStarted(item.address, item.node, item.action))
            self.emit(StepEnded(item.address, item.node, item.action, 0.2))
        self.during()
        self.done.append(what)
        failed = {failure.address for failure in self.failures}
        done = tuple(item for item in self.changes if item.address not in failed)
        return Outcome(done, self.failures, self.interrupts > 0)

    def emit(self, event: Event) -> None:
        raise AssertionError("replaced when the session is opened")

    # the backend
    def sweep(self, identity: str, fence: Fence) -> list[str]:
        assert identity == fence.stack == IDENTITY
        assert fence.token > 0
        if self.unswept:
            raise self.unswept
        self.done.append("sweep")
        gone, self.machines = self.machines, []
        return gone


class Session:
    """The engine's face of the world."""

    def __init__(self, world: World) -> None:
        self.preview, self.update, self.destroy = world.preview, world.update, world.destroy
        self.drift, self.interrupt = world.drift_, world.interrupt


class Backend:
    """The hardware's face of the world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.here = True
        self.fences = True
        self.sweep = world.sweep

    def machines(self, identity: str, besides: Collection[str] = ()) -> list[str]:
        return [node for node in self._world.machines if node not in besides]

    def require_access(self, identity: str) -> None:
        assert identity == IDENTITY

    def require_mesh(self) -> None:
        if self._world.no_mesh:
            raise self._world.no_mesh

    def host_of(self, identity: str, node: str) -> Mapping[str, Any]:
        return {"backend": "fake", "stack": identity, "node": node}

    def delete_machine(self, inputs: Mapping[str, Any], fence: Fence) -> None:
        assert fence.stack == IDENTITY
        assert fence.token > 0
        node = inputs["node"]
        assert inputs == {"backend": "fake", "node": node, "host": {"backend": "fake", "stack": IDENTITY, "node": node}}
        if node in self._world.stubborn:
            raise self._world.stubborn[node]
        self._world.machines.remove(node)
        self._world.done.append(f"remove {node}")


class Kind:
    """What the kinds say about resources that go."""

    def effects(self, old: Any, new: Any) -> tuple[Effect, ...]:
        return (Effect(ChangeKind.DELETE, f"machine {old['node']}"),)

    def impact(self, old: Any, new: Any) -> Impact:
        return Impact("everything that runs on it")
