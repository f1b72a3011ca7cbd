"""Whether there is nothing to do, proved without the engine: each thing that has to hold, taken away by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from swarmctl import __version__, backends, kinds
from swarmctl.backends import clocks
from swarmctl.backends.base import HostGone, HostUnreachable
from swarmctl.diagnostics import Diagnostic
from swarmctl.errors import SwarmError
from swarmctl.graph.model import Address, Graph, Machine, Resource, Unfit
from swarmctl.kinds.base import ChangeKind, Observed, PropertyChange
from swarmctl.kinds.node_pool.accelerators.codes import CARDS
from swarmctl.operations import unchanged
from swarmctl.operations.stack import Options, Stack
from swarmctl.plans.events import Event, Note, PhaseStarted
from swarmctl.plans.model import Plan
from swarmctl.state.checkpoint import Recorded, Snapshot
from swarmctl.state.model import Applied, Published

STACK = "core-abc"
THING = "swarm:test:Thing"
APPLIED = Applied("digest", complete=True, versions={"swarmctl": __version__})
A, B = "test/things[n-0/a]", "test/things[n-0/b]"


@dataclass
class World:
    """What is recorded, and what is there: both by address."""

    applied: Applied | None = APPLIED
    recorded: dict[str, Recorded] = field(default_factory=dict)
    there: dict[str, Observed | SwarmError | None] = field(default_factory=dict)
    machines: list[str] = field(default_factory=lambda: ["n-0"])
    """That carry the stack's mark."""
    read: list[str] = field(default_factory=list)
    """Addresses that were read back, `machines` for the marks."""
    said: list[Event] = field(default_factory=list)

    def thing(self, address: str) -> None:
        """Declared, recorded and there, all alike."""
        inputs, outputs = {"address": address, "size": 1}, {"key": "k"}
        self.recorded[address] = Recorded(THING, inputs, outputs)
        self.there[address] = Observed(inputs, outputs)

    unfit: list[Unfit] = field(default_factory=list)
    """What is left alone."""

    def proved(
        self, options: Options | None = None, held: Collection[str] = (), *, published: bool = True
    ) -> Plan | None:
        graph = Graph(STACK)
        graph.export(Machine("n-0", Address("nodepool", "n", "0"), "n", "core", "eu", {}, (), {"backend": "fake"}))
        for name in ("a", "b"):
            graph.add(Resource(Address("test", "things", f"n-0/{name}"), THING, {}, node="n-0"))
        for one in self.unfit:
            graph.export(one)
        state = Published(STACK, 3, 7, __version__, {}, self.applied) if published else None
        loaded, store = SimpleNamespace(identity=STACK), SimpleNamespace()
        stack = Stack(cast(Any, loaded), cast(Any, store), Snapshot(self.recorded, "s"), graph, "digest", state)
        return unchanged.proved(stack, self.said.append, options or Options(), held)


class Thing:
    """The resource type of all of them."""

    def __init__(self, world: World) -> None:
        self._world = world

    def read(self, hosts: object, inputs: Mapping[str, Any]) -> Observed | None:
        self._world.read.append(inputs["address"])
        found = self._world.there[inputs["address"]]
        if isinstance(found, SwarmError):
            raise found
        return found

    def diff(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[PropertyChange]:
        return [PropertyChange((key,), ChangeKind.UPDATE) for key in new if old.get(key) != new[key]]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Nothing has to be done in it."""
    world = World()
    world.thing(A)
    world.thing(B)

    def marked(identity: str, besides: Collection[str] = ()) -> list[str]:
        assert identity == STACK
        world.read.append("machines")
        return [node for node in world.machines if node not in besides]

    monkeypatch.setattr(backends, "names", lambda: ["fake"])
    monkeypatch.setattr(backends, "load", lambda name: SimpleNamespace(machines=marked))
    monkeypatch.setattr(kinds, "resource_type", lambda token: Thing(world))
    return world


def test_what_was_applied_to_its_end_and_is_as_it_was_left_needs_nothing(world: World) -> None:
    assert world.proved() == Plan(STACK, (), 2, world_read=True)
    assert sorted(world.read) == ["machines", A, B]
    assert PhaseStarted("reading the world", 2) in world.said


def test_what_is_left_alone_is_noted_where_no_engine_plans(world: World) -> None:
    world.unfit = [Unfit("n-0", Address.parse(A), Diagnostic(CARDS, "n-0: no card", None, help="look"))]
    plan = world.proved()
    assert plan is not None
    assert plan.notes == (f"n-0: no card ({CARDS.id})",), "a saved plan has nothing else that tells it"
    plan = world.proved(Options(targets=(B,)), held={A})
    assert plan is not None
    assert plan.notes == ()


def test_clocks_that_are_far_off_are_told_where_no_engine_tells_them(world: World) -> None:
    clocks.take()
    read = world.there

    class Seeing(dict[str, Any]):
        def __getitem__(self, address: str) -> Any:
            clocks.see("n-0", time.time() - 365 * 86400)
            return read[address]

    world.there = Seeing(read)
    assert world.proved() is not None
    assert world.said[-1] == Note(f"n-0: its clock is 365 days behind; {clocks.MEND}", warning=True)
    world.said.clear()
    read[A] = None
    assert world.proved() is None
    assert not any(isinstance(it, Note) for it in world.said), "the engine reads it again"
    assert clocks.take() == []


def test_a_stack_that_was_never_applied_has_everything_to_do(world: World) -> None:
    assert world.proved(published=False) is None


def forgotten(world: World) -> None:
    del world.recorded[B]


def known_and_not_declared(world: World) -> None:
    world.thing("test/things[n-0/c]")


@pytest.mark.parametrize(
    "applied",
    [
        None,
        replace(APPLIED, complete=False),
        replace(APPLIED, graph="another"),
        replace(APPLIED, versions={"swarmctl": "0.0.1"}),
        replace(APPLIED, versions={}),
    ],
    ids=["it is not known what was applied", "cut off", "another graph", "another version", "no version"],
)
@pytest.mark.parametrize("refresh", [True, False])
def test_what_was_applied_otherwise_is_the_engines_to_compare(
    world: World, applied: Applied | None, refresh: bool
) -> None:
    world.applied = applied
    assert world.proved(Options(refresh=refresh)) is None
    assert world.read == [], "there is no need to look at anything"


@pytest.mark.parametrize("moved", [forgotten, known_and_not_declared])
@pytest.mark.parametrize("refresh", [True, False])
def test_what_is_recorded_must_be_all_that_is_declared_and_no_more(
    world: World, moved: Callable[[World], None], refresh: bool
) -> None:
    moved(world)
    assert world.proved(Options(refresh=refresh)) is None


@pytest.mark.parametrize("address", [A, B])
@pytest.mark.parametrize(
    "found",
    [
        lambda it: replace(it, inputs={**it.inputs, "size": 2}),
        lambda it: replace(it, outputs={"key": "another"}),
        lambda it: replace(it, outputs={}),
        lambda it: None,
        lambda it: HostGone("n-0 is gone"),
        lambda it: HostUnreachable("n-0 does not answer"),
        lambda it: SwarmError("n-0 can't be read"),
    ],
    ids=["an input", "an output", "no output", "gone", "machine gone", "no answer", "can't be read"],
)
def test_one_thing_that_is_not_as_it_was_left_is_enough(
    world: World, address: str, found: Callable[[Observed], Observed | SwarmError | None]
) -> None:
    there = world.there[address]
    assert isinstance(there, Observed)
    world.there[address] = found(there)
    assert world.proved() is None
    assert world.proved(held={address}) == Plan(STACK, (), 1, world_read=True), "what is held does not count"


def test_what_an_input_that_nobody_declared_says_is_left_to_the_kind(world: World) -> None:
    """A kind's own comparison decides, and in the direction of a refresh: as found, to as it was applied."""
    there = world.there[A]
    assert isinstance(there, Observed)
    world.there[A] = replace(there, inputs={**there.inputs, "uptime": 5})
    assert world.proved() is not None


def test_a_machine_that_nobody_declares_has_to_go(world: World) -> None:
    world.machines.append("n-7")
    assert world.proved() is None
    targets = ("nodepool/n[0]",)
    assert world.proved(Options(targets=targets)) == Plan(STACK, (), 2, partial=targets, world_read=True), (
        "and is none of a run's that is for something else"
    )


def test_without_a_refresh_nothing_is_read(world: World) -> None:
    world.there = {A: None, B: HostGone("n-0 is gone")}
    world.machines.append("n-7")
    assert world.proved(Options(refresh=False)) == Plan(STACK, (), 2, world_read=False)
    assert world.read == []
    assert world.said == []


def test_an_error_of_our_own_is_not_taken_for_a_world_that_moved(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Thing, "diff", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        world.proved()
