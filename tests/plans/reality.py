"""A stack whose declarations, state, versions, clock and world can be moved one by one, and what apply makes of it.

Loading, compiling, reading back, planning, signing, checking and comparing are the real ones. In place of the engine
stands a preview that knows its rules, in place of the machines a mapping of what is on them.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import hashlib
import pickle
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from swarmctl.engine.changes import Context, changes, drift, notes, places
from swarmctl.engine.events import Gathered, Moment, Op, State, Step
from swarmctl.engine.outcome import Outcome
from swarmctl.errors import ExitCode, SwarmError
from swarmctl.graph.model import Address, Graph, Ref
from swarmctl.kinds import resource_type
from swarmctl.kinds.base import UNKNOWN, Observed
from swarmctl.operations import apply, plan, saved_plans, strays
from swarmctl.operations import stack as stacks
from swarmctl.operations.load import LoadedStack, load_stack
from swarmctl.operations.running import Stopper
from swarmctl.operations.stack import Stack
from swarmctl.plans import checks
from swarmctl.plans.model import Plan
from swarmctl.provider.adoption import Adoption
from swarmctl.provider.steps import Steps, silent
from swarmctl.state.model import PlanMark, Published

ROOT = Path(__file__).parents[2]
Json = Any
NODES = [f"workers-{number}" for number in range(5)] + ["control-0", "control-1"]


@dataclass
class Thing:
    """One resource, recorded or in the world."""

    type: str
    inputs: dict[str, Json]
    outputs: dict[str, Json]


@dataclass
class _There:
    """The type of a thing that is there: it reads as it is, and is told of in the words of its own type."""

    type: str
    thing: Thing

    def read(self, hosts: Any, inputs: Mapping[str, Json]) -> Observed:
        return Observed(self.thing.inputs, self.thing.outputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(resource_type(self.type), name)


@dataclass
class Engine:
    version: str = "3.259.0"


@dataclass
class Reality:
    """Everything that a plan is made from, and a record of what was done to it."""

    folder: Path
    """The declarations."""
    keys: Path
    recorded: dict[str, Thing] = field(default_factory=dict)
    world: dict[str, Thing] = field(default_factory=dict)
    strays: list[tuple[str, str]] = field(default_factory=list)
    engine: Engine = field(default_factory=Engine)
    generation: int = 7
    marks: tuple[PlanMark, ...] = ()
    done: list[str] = field(default_factory=list)
    """What was changed; looking leaves nothing here."""
    loaded: dict[str, LoadedStack] = field(default_factory=dict)
    """By the text of the declarations."""
    patch: pytest.MonkeyPatch = field(default_factory=pytest.MonkeyPatch)
    """What is set with it while it is `aside` is taken back."""

    # The store.
    def current(self) -> Published | None:
        if not self.generation:
            return None
        resources = [
            {
                "urn": f"urn:pulumi:lab::swarmctl::{thing.type}::{address}",
                "custom": True,
                "type": thing.type,
                "inputs": thing.inputs,
                "outputs": {**thing.inputs, **thing.outputs},
            }
            for address, thing in self.recorded.items()
        ]
        checkpoint = {"version": 3, "checkpoint": {"stack": "lab", "latest": {"resources": resources}}}
        return Published(self.identity, self.generation, 1, "0", checkpoint, None, self.marks)

    load = current

    def damage(self) -> None:
        """It can be read."""

    @property
    def identity(self) -> str:
        return self.read().identity

    @contextmanager
    def lease(self, *args: Any) -> Iterator[Any]:
        yield self

    def check(self) -> None:
        """The lease is ours."""

    def runs(self) -> tuple[()]:
        return ()

    def recover(self, lease: Any) -> list[str]:
        return []

    def signing_key(self) -> Path:
        return self.keys / "signing"

    def hmac(self, value: bytes) -> str:
        return "hmac-sha256:" + hashlib.sha256(b"key" + value).hexdigest()

    # The declarations.
    def text(self) -> str:
        return "\n---\n".join(f"# {file.name}\n{file.read_text()}" for file in sorted(self.folder.glob("*.yaml")))

    def read(self) -> LoadedStack:
        text = self.text()
        if text not in self.loaded:
            self.loaded[text] = load_stack(self.folder)
        return self.loaded[text]

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    # The session.
    def preview(self, graph: Graph, **options: Any) -> Plan:
        gathered = Gathered()
        live = {address: thing for address, thing in self.world.items() if address in self.recorded}
        for address, thing in self.recorded.items():
            new = live.get(address)
            gathered.refreshed[address] = Step(
                Moment.END, Op.REFRESH, address, thing.type, _state(thing), _state(new) if new else None
            )
        fresh: set[str] = set()
        for address in _ordered(graph):
            self._step(graph, address, live, fresh, gathered)
        for address in self.recorded:
            if address in live and Address.parse(address) not in graph.resources:
                thing = live[address]
                gathered.steps[address] = Step(Moment.END, Op.DELETE, address, thing.type, _state(thing), None)
        known = places(graph, {address: thing.inputs for address, thing in self.recorded.items()})
        context = Context(resource_type, graph, known)
        return Plan(self.identity, changes(gathered, context), gathered.same, drift(gathered, context), notes(gathered))

    def _step(
        self, graph: Graph, address: Address, live: Mapping[str, Thing], fresh: set[str], gathered: Gathered
    ) -> None:
        resource, name = graph.resources[address], str(address)
        inputs = _resolved(resource.inputs, live, fresh)
        now = live.get(name)
        op = Op.CREATE
        if now is None and (there := self._there(name, resource.type, inputs)):
            live[name] = self.world[name]
            new = State(inputs, there)
            gathered.steps[name] = Step(Moment.END, op, name, resource.type, None, new)
            return
        if now is not None:
            found = resource_type(resource.type).diff(now.inputs, inputs)
            if not found:
                gathered.kept.add(name)
                return
            op = Op.REPLACE if any(change.replace for change in found) else Op.UPDATE
        if op is not Op.UPDATE:
            fresh.add(name)
        gathered.steps[name] = Step(
            Moment.END, op, name, resource.type, _state(now) if now else None, State(inputs, {})
        )

    def _there(self, address: str, type_: str, inputs: Mapping[str, Json]) -> Mapping[str, Json] | None:
        """What the provider's own look finds of something that no state knows."""
        if address in self.recorded or address not in self.world:
            return None
        look = Adoption(lambda backend, stack: frozenset(NODES)).look
        urn = f"urn:pulumi:lab::swarmctl::{type_}::{address}"
        return asyncio.run(look(Steps(None, silent), None, _There(type_, self.world[address]), urn, inputs))

    def update(self, graph: Graph, lease: Any, **options: Any) -> Outcome:
        self.done.append("update")
        return Outcome((), (), False, 0)

    def clock(self, now: datetime) -> None:
        """What time it is while this is `aside`."""

        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return now

        self.patch.setattr(checks, "datetime", Clock)

    def interrupt(self) -> None:
        """Nothing is running."""

    # What is tested.
    def settle(self) -> None:
        """What is declared is recorded and in the world."""
        graph = self.compiled().graph
        self.recorded = {}
        for address in _ordered(graph):
            resource = graph.resources[address]
            outputs = {name: _output(address, name) for name in resource_type(resource.type).outputs()}
            self.recorded[str(address)] = Thing(
                resource.type, copy.deepcopy(_resolved(resource.inputs, self.recorded, set())), outputs
            )
        self.world = copy.deepcopy(self.recorded)

    def compiled(self) -> Stack:
        return stacks.compile_stack(self.read(), self)  # type: ignore[arg-type]

    def plan(self) -> plan.Planned:
        return plan.plan(self.folder, emit=_ignore, stopper=Stopper())

    def save(self, file: Path) -> None:
        saved_plans.save(file, self.plan())

    def refusal(self, file: Path) -> str:
        """Apply the saved plan: why it was refused, with nothing done, or "" when it was applied."""
        self.done.clear()
        refused = None
        try:
            apply.apply(self.folder, confirm=lambda plan: True, emit=_ignore, stopper=Stopper(), saved=file)
        except SwarmError as error:
            refused = error
        assert self.done == ([] if refused else ["update"])
        if refused is None:
            return ""
        assert refused.exit_code in (ExitCode.PLAN_REFUSED, ExitCode.INVALID_DECLARATION, ExitCode.USAGE)
        return "\n".join([refused.message, *refused.details])

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Whatever is moved within is put back."""
        # Much faster than deepcopy, and it is done hundreds of times.
        kept = pickle.dumps((self.recorded, self.world, self.strays, self.engine, self.generation, self.marks))
        files = {file: file.read_bytes() for file in self.folder.iterdir()}
        try:
            with pytest.MonkeyPatch.context() as self.patch:
                yield
        finally:
            self.recorded, self.world, self.strays, self.engine, self.generation, self.marks = pickle.loads(kept)
            for file in set(self.folder.iterdir()) - set(files):
                file.unlink()
            for file, content in files.items():
                if file.read_bytes() != content:
                    file.write_bytes(content)


def make(folder: Path, monkeypatch: pytest.MonkeyPatch, workers: int = 4) -> Reality:
    """The lab of `stacks/lab`, applied, and then edited: a flow gets a port, and more workers come."""
    shutil.copytree(ROOT / "stacks" / "lab", folder / "lab")
    made = Reality(folder / "lab", folder / "keys")
    monkeypatch.setattr(stacks, "load", lambda folder, emit: (made.read(), made))
    monkeypatch.setattr(stacks, "look_around", lambda store, emit: None)
    monkeypatch.setattr(stacks, "obtain_engine", lambda emit: made.engine)
    monkeypatch.setattr(stacks, "open_session", lambda *args, **more: made)
    monkeypatch.setattr(strays, "found", lambda identity, known: [it for it in made.strays if it[1] not in known])
    monkeypatch.setattr(apply, "_require_meshes", lambda stack, plan: None)
    monkeypatch.setattr(plan.unchanged, "proved", lambda *args, **options: None)
    made.settle()
    made.edit("network.yaml", "ports: [9100]", "ports: [9100, 9200]")
    made.edit("pools.yaml", "count: 3", f"count: {workers}")
    return made


def _ignore(event: Any) -> None:
    """Nobody looks."""


def _state(thing: Thing) -> State:
    return State(thing.inputs, thing.outputs)


def _output(address: Address, name: str) -> str:
    return base64.b64encode(hashlib.sha256(f"{address}.{name}".encode()).digest()).decode()


def _resolved(value: Json, live: Mapping[str, Thing], fresh: set[str]) -> Json:
    if isinstance(value, Ref):
        source = live.get(str(value.address))
        return UNKNOWN if source is None or str(value.address) in fresh else source.outputs[value.property]
    if isinstance(value, Mapping):
        return {key: _resolved(item, live, fresh) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_resolved(item, live, fresh) for item in value]
    return value


def _ordered(graph: Graph) -> Iterator[Address]:
    """Every address after those it needs."""
    seen: set[Address] = set()

    def visit(address: Address) -> Iterator[Address]:
        if address in seen:
            return
        seen.add(address)
        resource = graph.resources[address]
        for needed in (*resource.depends_on, *(ref.address for ref in resource.refs())):
            yield from visit(needed)
        yield address

    for address in graph.resources:
        yield from visit(address)
