"""Machines that can't be asked are left alone with all that needs them, and the run goes on with the others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from swarmctl import backends
from swarmctl.backends import ways
from swarmctl.backends.base import HostUnreachable, NewMachines
from swarmctl.errors import SwarmError, WorldUnreadable
from swarmctl.graph.model import Address, Graph, Machine, Ref, Resource, Timeouts
from swarmctl.hosts.first_look import Seen
from swarmctl.operations import silent
from swarmctl.operations.stack import Stack
from swarmctl.plans.events import Event, Note
from swarmctl.plans.model import Plan

STACK = "metal-1"


def host(node: str, backend: str = "ssh") -> dict[str, str]:
    return {"backend": backend, "stack": STACK, "node": node}


def recorded(name: str, node: str, type_: str = "test:Thing", backend: str = "ssh") -> Any:
    return SimpleNamespace(type=type_, inputs={"node": node, "backend": backend, "host": host(node, backend)})


def thing(name: str, node: str, *needs: str) -> Resource:
    refs = {f"of{place}": Ref(Address.parse(need), "key") for place, need in enumerate(needs)}
    return Resource(Address.parse(name), "test:Thing", {"node": node, "host": host(node), **refs}, node=node)


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """n1 and n2 are recorded, n2 is silent; what is new needs one or the other."""
    graph = Graph(STACK)
    for resource in (
        thing("mesh/old[n1]", "n1", "mesh/old[n2]"),
        thing("mesh/old[n2]", "n2"),
        thing("mesh/new[n1]", "n1"),
        thing("mesh/new[n2]", "n2"),
        thing("mesh/peers[n1]", "n1", "mesh/new[n2]"),
        thing("mesh/more[n1]", "n1", "mesh/peers[n1]"),
    ):
        graph.add(resource)
    whole = {node: {"host": host(node)} for node in ("n1", "n2")}
    graph.add(Resource(Address.parse("mesh/old[rotation]"), "test:Thing", {"nodes": whole}))
    resources = {
        "nodepool/metal[n1]": recorded("", "n1", silent.MACHINE),
        "nodepool/metal[n2]": recorded("", "n2", silent.MACHINE),
        "nodepool/lab[l1]": recorded("", "l1", silent.MACHINE, "lab"),
        "mesh/old[n1]": recorded("", "n1"),
        "mesh/old[n2]": recorded("", "n2"),
    }

    def asked(identity: str, nodes: Collection[str]) -> Mapping[str, SwarmError]:
        assert (identity, sorted(nodes)) == (STACK, ["n1", "n2"])
        return {"n2": HostUnreachable("n2 does not answer", "see whether it is up")}

    monkeypatch.setattr(backends, "load", lambda name: SimpleNamespace(silent=asked))
    snapshot = SimpleNamespace(resources=resources)
    made = SimpleNamespace(identity=STACK, graph=graph, snapshot=snapshot, nodes={"n1", "n2"})
    made.anew = lambda: made
    yield cast(Stack, made)
    ways.silence(STACK, ())
    ways.absent(STACK, ())


def test_what_lies_on_a_silent_machine_or_waits_for_it_is_held(stack: Stack) -> None:
    told: list[Event] = []
    seen: list[frozenset[str]] = []

    def look(stack: Stack, held: frozenset[str]) -> Plan:
        seen.append(held)
        if len(seen) == 1:
            raise WorldUnreadable("1 resource could not be read back")
        return Plan(STACK, (), 1)

    plan, _, held, left = silent.leaving_out(stack, frozenset({"mesh/other"}), look, told.append)
    assert plan == Plan(STACK, (), 1, left_alone=("n2",))
    assert seen == [frozenset({"mesh/other"}), held]
    on_n2 = {"nodepool/metal[n2]", "mesh/old[n2]", "mesh/new[n2]", "mesh/old[rotation]"}
    assert held == {"mesh/other", *on_n2, "mesh/peers[n1]", "mesh/more[n1]"}
    assert told == [Note("n2 is left alone: n2 does not answer", warning=True)]
    assert ways.on_silent({"host": host("n2")})
    assert not ways.on_silent({"host": host("n1")})
    with pytest.raises(WorldUnreadable, match="one machine could not be read, and is left alone") as raised:
        silent.judge(left)
    assert raised.value.details == ("n2 does not answer", "    help: see whether it is up")


def test_the_plan_without_a_silent_machine_is_of_a_graph_that_knows_it_is_silent(stack: Stack) -> None:
    other = cast(Stack, SimpleNamespace(identity=STACK, graph=stack.graph, snapshot=stack.snapshot))
    known: list[bool] = []

    def anew() -> Stack:
        known.append(ways.on_silent({"host": host("n2")}))
        return other

    cast(Any, stack).anew = anew
    seen: list[Stack] = []

    def look(stack: Stack, held: frozenset[str]) -> Plan:
        seen.append(stack)
        if len(seen) == 1:
            raise WorldUnreadable("1 resource could not be read back")
        return Plan(STACK, (), 1)

    _, now, _, _ = silent.leaving_out(stack, frozenset(), look, lambda event: None)
    assert (seen, now, known) == ([stack, other], other, [True])


def test_those_that_the_engine_could_not_read_are_not_asked_again(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "load", lambda name: SimpleNamespace())

    def look(stack: Stack, held: frozenset[str]) -> Plan:
        if held:
            return Plan(STACK, (), 1)
        error = WorldUnreadable("1 resource could not be read back")
        error.nodes = {"n1": SwarmError("its facts make no sense", "look there"), "l1": SwarmError("broken")}
        raise error

    _, _, held, left = silent.leaving_out(stack, frozenset(), look, lambda event: None)
    assert {"nodepool/metal[n1]", "mesh/old[n1]"} <= held
    assert not [name for name in held if "[l1]" in name], "a machine that is part of the run is not elsewhere"
    with pytest.raises(WorldUnreadable) as raised:
        silent.judge(left)
    assert raised.value.details == ("n1: its facts make no sense", "    help: look there")


def test_where_all_can_be_read_nobody_is_asked_and_nothing_held(stack: Stack) -> None:
    ways.silence(STACK, [host("n1")])
    plan, now, held, left = silent.leaving_out(
        stack, frozenset(), lambda stack, held: Plan(STACK, (), 1), lambda event: None
    )
    assert now is stack
    assert (plan, held, left) == (Plan(STACK, (), 1), frozenset(), {})
    assert not ways.on_silent({"host": host("n1")})
    silent.judge(left)


def test_what_is_unreadable_for_another_reason_is_still_told(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "load", lambda name: SimpleNamespace(silent=lambda identity, nodes: {}))

    def look(stack: Stack, held: frozenset[str]) -> Plan:
        raise WorldUnreadable("1 resource could not be read back")

    with pytest.raises(WorldUnreadable, match="1 resource could not be read back"):
        silent.leaving_out(stack, frozenset(), look, lambda event: None)


def new_machines(stack: Stack, *names: str) -> None:
    for name in names:
        address = Address.parse(f"nodepool/metal[{name}]")
        stack.graph.add(Resource(address, silent.MACHINE, {"node": name, "host": host(name)}, node=name))
        stack.graph.export(Machine(name, address, "metal", "core", "eu", {}, (), host(name), Timeouts()))


def test_new_machines_that_would_not_be_taken_over_are_left_out_from_the_beginning(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_machines(stack, "n2", "n3", "n4", "n5", "n6")
    asked: list[str] = []

    def look_at_new(machines: Collection[Mapping[str, Any]], told: Mapping[str, Seen]) -> NewMachines:
        asked.extend(it["node"] for it in machines)
        assert told == {"n6": Seen(clock=5)}
        return NewMachines({"n3": SwarmError("n3: its clock is wrong", "set it")}, frozenset({"n6"}))

    backend = SimpleNamespace(look_at_new=look_at_new, silent=stack_silent, replaces=lambda: {"knownBy": "…"})
    monkeypatch.setattr(backends, "load", lambda name: backend)
    told: list[Event] = []
    seen: list[bool] = []

    def look(stack: Stack, held: frozenset[str]) -> Plan:
        assert [ways.is_blank(host(node)) for node in ("n4", "n6")] == [False, True]
        seen.append(ways.on_silent({"host": host("n3")}))
        if len(seen) == 1:
            raise WorldUnreadable("1 resource could not be read back")
        return Plan(STACK, (), 1)

    held = frozenset({"nodepool/metal[n5]"})
    plan, _, _, left = silent.leaving_out(
        stack, held, look, told.append, lambda machine: Seen(clock=5) if machine.name == "n6" else None
    )
    assert asked == ["n3", "n4", "n6"], "not what is recorded, or not meant"
    assert not ways.is_blank(host("n6")), "afterwards it may be this stack's"
    assert (seen, plan.left_alone, sorted(left)) == ([True, True], ("n2", "n3"), ["n2", "n3"])
    assert [str(it) for it in told if "n3" in str(it)] == [
        str(Note("n3 is left alone: its clock is wrong", warning=True))
    ]


def left_out(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, ours: frozenset[str] = frozenset()
) -> tuple[list[str], Stack, frozenset[str]]:
    """Who was asked, with which stack it was looked, and what was held, where n2 and n3 can't be taken over."""
    asked: list[str] = []
    looked: list[Stack] = []

    def look_at_new(machines: Collection[Mapping[str, Any]], told: Mapping[str, Seen]) -> NewMachines:
        asked.extend(it["node"] for it in machines)
        refused = {node: SwarmError(f"{node}: its disk is full", "make room") for node in asked}
        return NewMachines(refused, frozenset(), ours)

    backend = SimpleNamespace(look_at_new=look_at_new, silent=stack_silent, replaces=lambda: {"knownBy": "…"})
    monkeypatch.setattr(backends, "load", lambda name: backend)

    def look(now: Stack, held: frozenset[str]) -> Plan:
        looked.append(now)
        return Plan(STACK, (), 1)

    _, _, held, left = silent.leaving_out(stack, frozenset(), look, lambda event: None)
    assert sorted(left) == asked
    return asked, looked[0], held


def test_a_machine_in_the_place_of_another_is_looked_at_before_that_one_is_emptied(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_machines(stack, "n1", "n2")
    address = Address.parse("nodepool/metal[n2]")
    cast(Any, stack).graph.resources[address].inputs["knownBy"] = "SHA256:another"
    asked, _, held = left_out(stack, monkeypatch)
    assert asked == ["n2"]
    assert {"nodepool/metal[n2]", "mesh/old[n2]", "mesh/new[n2]"} <= held
    assert not ways.is_absent(host("n2")), "the others have it as it was"


def test_a_new_machine_is_not_there_for_the_others_but_one_that_was_ours_is(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_machines(stack, "n3", "n4")
    left_out(stack, monkeypatch, frozenset({"n4"}))
    assert [ways.is_absent(host(node)) for node in ("n3", "n4")] == [True, False]
    assert [ways.is_silent(host(node)) for node in ("n3", "n4")] == [True, True]


def test_where_there_is_no_stack_without_it_what_needs_a_new_machine_waits(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_machines(stack, "n3")
    stack.graph.add(thing("mesh/hub[n3]", "n3"))
    stack.graph.add(thing("mesh/spoke[n1]", "n1", "mesh/hub[n3]"))

    def anew() -> Stack:
        raise SwarmError("n1 and n2 have no way to each other", "declare a hub")

    cast(Any, stack).anew = anew
    _, looked, held = left_out(stack, monkeypatch)
    assert looked is stack
    assert {"mesh/hub[n3]", "mesh/spoke[n1]"} <= held
    assert "mesh/new[n1]" not in held


def stack_silent(identity: str, nodes: Collection[str]) -> Mapping[str, SwarmError]:
    return {"n2": HostUnreachable("n2 does not answer", "see whether it is up")}


def test_where_no_machine_can_be_taken_over_there_is_nothing_to_plan(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_machines(stack, "n3")
    cast(Any, stack).snapshot = SimpleNamespace(resources={})
    monkeypatch.setattr(
        backends,
        "load",
        lambda name: SimpleNamespace(
            look_at_new=lambda machines, told: NewMachines({"n3": SwarmError("n3 is down", "mend it")})
        ),
    )
    cast(Any, stack).nodes = {"n3"}

    def look(stack: Stack, held: frozenset[str]) -> Plan:
        raise AssertionError("there is nothing to look at")

    only = ("nodepool/metal",)
    plan, _, _, left = silent.leaving_out(stack, frozenset(), look, lambda event: None, partial=only)
    assert plan == Plan(STACK, (), 0, partial=only, left_alone=("n3",))
    with pytest.raises(WorldUnreadable) as raised:
        silent.judge(left)
    assert raised.value.details == ("n3 is down", "    help: mend it")


def test_who_goes_by_what_is_recorded_asks_no_new_machine_either(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    new_machines(stack, "n3")
    monkeypatch.setattr(backends, "load", lambda name: SimpleNamespace())
    plan = Plan(STACK, (), 1)
    found = silent.leaving_out(stack, frozenset(), lambda stack, held: plan, lambda event: None, ask=False)
    assert found == (plan, stack, frozenset(), {})


def test_machines_that_are_declared_lost_are_not_asked(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(identity: str, nodes: Collection[str]) -> Mapping[str, SwarmError]:
        assert sorted(nodes) == ["n1"]
        return {}

    monkeypatch.setattr(backends, "load", lambda name: SimpleNamespace(silent=asked))
    ways.declare(STACK, (), [host("n2")])
    try:
        error = WorldUnreadable("1 resource could not be read back")
        assert silent.find(STACK, stack.snapshot, error, lambda event: None) == {}
        error.nodes = {"n2": SwarmError("n2 does not answer")}
        assert silent.find(STACK, stack.snapshot, error, lambda event: None) == {}
    finally:
        ways.declare(STACK, ())
