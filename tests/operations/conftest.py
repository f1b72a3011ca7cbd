"""The fixtures of hermetic operations; see `world.py`."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swarmctl import backends
from swarmctl.graph.model import Address, Graph, Machine
from swarmctl.operations import destroy
from swarmctl.operations import stack as stacks
from swarmctl.plans.model import Preconditions
from tests.operations.world import IDENTITY, Backend, Engine, Kind, Recorded, Session, Snapshot, World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A stack with one change pending, to be run with `swarmctl.cli.run`."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for name in ("CI", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    world = World(tmp_path / "store")
    monkeypatch.chdir(tmp_path)

    def load(folder: Path, emit: Any = None, despite: Any = ()) -> tuple[Any, Any]:
        if world.load_error:
            raise world.load_error
        return world.loaded, world

    def compile_stack(loaded: Any, store: Any, *, rotate: Any = (), emit: Any = None) -> stacks.Stack:
        graph = Graph(IDENTITY)
        for node in world.declared:
            address = Address("nodepool", "workers", node.rpartition("-")[2])
            graph.export(Machine(node, address, "workers", "core", "us-east", {}, (), {"backend": "fake"}))
        return stacks.Stack(loaded, store, store.snapshot(), graph, world.graph_digest)

    def open_session(store: Any, engine: Any, emit: Any, secrets: Any = None, settle: Any = None) -> Any:
        world.emit = emit  # type: ignore[method-assign]
        return Session(world)

    def preconditions(stack: stacks.Stack, engine: Engine) -> Preconditions:
        versions = {"swarmctl": "0.1.0", "pulumi": engine.version}
        return Preconditions(stack.loaded.digest, world.graph_digest, stack.snapshot.digest, versions)

    monkeypatch.setattr(stacks, "load", load)
    monkeypatch.setattr(stacks, "look_around", lambda store, emit: None)
    monkeypatch.setattr(stacks, "compile_stack", compile_stack)
    monkeypatch.setattr(stacks, "obtain_engine", lambda emit: world.engine)
    monkeypatch.setattr(stacks, "open_session", open_session)
    monkeypatch.setattr(stacks, "preconditions", preconditions)
    monkeypatch.setattr(destroy, "resource_type", lambda token: Kind())
    monkeypatch.setattr(backends, "names", lambda: ["fake"])
    monkeypatch.setattr(backends, "load", lambda name: Backend(world))
    return world


@pytest.fixture
def applied(world: World) -> World:
    """The same stack, applied: its state holds one machine, and its folder is there."""
    world.folder.mkdir()
    world.state = Snapshot({"nodepool/workers[0]": Recorded("swarm:nodepool:Machine", {"node": "workers-0"})}, "s1")
    world.machines = ["workers-0"]
    return world


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Pretend that somebody sits at a terminal and types this."""

    def typed(text: str) -> None:
        stream = io.StringIO(text)
        stream.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stdin", stream)

    return typed
