"""A stack of files: builds its graph, runs the real engine on it, looks at what came of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from swarmctl.engine.install import Engine
from swarmctl.engine.session import Outcome, Session
from swarmctl.graph.model import Address, Graph, Ref, Resource
from swarmctl.plans.events import Event
from swarmctl.state.store import Store
from tests.engine import fake_kind

STACK = "files"


class World:
    """A folder that stands for the world, and a store with what is known of it."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder = folder
        self.engine = engine
        self.kind = fake_kind.File(folder)
        self.events: list[Event] = []

    @property
    def store(self) -> Store:
        return Store(STACK)

    def session(self, emit: Callable[[Event], None] | None = None, store: Store | None = None, **more: Any) -> Session:
        return Session(
            store or self.store,
            self.engine,
            emit or self.events.append,
            provider=(sys.executable, "-I", fake_kind.__file__, str(self.folder)),
            resolve={fake_kind.TOKEN: self.kind}.__getitem__,
            **more,
        )

    def update(
        self, wanted: Graph, emit: Callable[[Event], None] | None = None, *, session: Session | None = None, **more: Any
    ) -> Outcome:
        """One run of its own, with the lease taken for it."""
        store = self.store
        with store.lease() as lease:
            return (session or self.session(emit, store)).update(wanted, lease, **more)

    def destroy(self, *, session: Session | None = None, keeping: tuple[str, ...] = ()) -> Outcome:
        store = self.store
        with store.lease() as lease:
            return (session or self.session(store=store)).destroy(lease, keeping)

    def files(self) -> set[str]:
        return {path.stem for path in self.folder.glob("*.json")}

    def inputs(self, name: str) -> dict[str, Any]:
        return json.loads(self.kind.path(name).read_text())["inputs"]

    def tamper(self, name: str, **values: Any) -> None:
        path = self.kind.path(name)
        stored = json.loads(path.read_text())
        stored["inputs"] |= values
        path.write_text(json.dumps(stored))

    def deletions(self) -> list[str]:
        log = self.folder / "deletions.log"
        return log.read_text().split() if log.exists() else []


def address(name: str) -> Address:
    return Address("test", name)


def token(name: str) -> Ref:
    return Ref(address(name), "token")


def file(name: str, *, after: tuple[str, ...] = (), **inputs: Any) -> Resource:
    return Resource(
        address(name),
        fake_kind.TOKEN,
        {"name": name, **inputs},
        tuple(address(other) for other in after),
        node=inputs.get("node", ""),
        cluster="c" if "node" in inputs else "",
        pool="p" if "node" in inputs else "",
    )


def graph(*files: Resource) -> Graph:
    made = Graph(STACK)
    for resource in files:
        made.add(resource)
    return made
