"""Rollouts: canaries, then batches, no further when too many nodes fail, and never stuck."""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmctl.graph.model import Address, Graph, Resource, Rollout
from swarmctl.graph.rollout import Gate, in_turn, in_words

TYPES = ("machine", "interface", "peers", "firewall")


def fleet(pools: Mapping[str, int], rollouts: Mapping[str, Rollout]) -> Graph:
    """Machines with interfaces, peers that need the interfaces of all others, and firewalls."""
    graph = Graph("s", rollouts=dict(rollouts))
    nodes = [(pool, f"{pool}-{ordinal}") for pool, count in pools.items() for ordinal in range(count)]
    for pool, node in nodes:
        needs: Mapping[str, list[Address]] = {
            "machine": [],
            "interface": [at("machine", node)],
            "peers": [at("interface", other) for _, other in nodes],
            "firewall": [at("machine", node)],
        }
        for kind in TYPES:
            graph.add(Resource(at(kind, node), kind, {}, depends_on=tuple(needs[kind]), node=node, pool=pool))
    return graph


def at(kind: str, node: str) -> Address:
    return Address(kind, "x", node)


class Run:
    """What a program does that asks the gate, with steps that end in the order that `rng` says."""

    def __init__(self, graph: Graph, gate: Gate, rng: random.Random, failing: Collection[Address] = ()) -> None:
        self.graph, self.gate, self.rng, self.failing = graph, gate, rng, failing
        self.begun: list[Address] = []
        self.order: list[tuple[str, Address]] = []
        self.done: list[Address] = []
        self.skipped: set[Address] = set()
        self.bad: set[Address] = set()
        self.parked: set[Address] = set()
        """What the gate held up although all that it needs was there."""
        self.opened: set[Address] = set()
        """What `ended` said may begin now."""

    def run(self) -> None:
        while True:
            self._begin()
            running = [one for one in self.begun if one not in self.done]
            if not running:
                return
            one = self.rng.choice(running)
            self.done.append(one)
            self.order.append(("ended", one))
            if one in self.failing:
                self.bad.add(one)
            self.opened.update(self.gate.ended(one, one in self.failing))

    def _begin(self) -> None:
        again = True
        while again:
            again = False
            for address, resource in self.graph.resources.items():
                if address in self.begun or address in self.skipped or address in self.gate.stopped():
                    continue
                needs = resource.needs()
                if any(need in self.bad or need in self.gate.stopped() for need in needs):
                    self.skipped.add(address)
                    self.bad.add(address)
                    self.opened.update(self.gate.ended(address))
                    again = True
                elif needs <= set(self.done) and not self.gate.ready(address):
                    self.parked.add(address)
                elif needs <= set(self.done):
                    assert address not in self.parked or address in self.opened, "nobody would look at it again"
                    self.gate.begun(address)
                    self.begun.append(address)
                    self.order.append(("begun", address))

    def settled(self) -> set[Address]:
        return {*self.done, *self.skipped, *self.gate.stopped()}


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Graph, set[Address], set[Address], int]:
    """Any graph: resources need earlier ones, on whatever node and of whatever type."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    pools = {name: rng.randint(1, 5) for name in ("a", "b", "c")[: rng.randint(1, 3)]}
    nodes = [(pool, f"{pool}-{ordinal}") for pool, count in pools.items() for ordinal in range(count)] + [("", "")]
    graph = Graph("s")
    for number in range(rng.randint(1, 30)):
        pool, node = rng.choice(nodes)
        earlier = list(graph.resources)
        needs = rng.sample(earlier, min(len(earlier), rng.choice((0, 0, 1, 2, 4))))
        address = Address("t", f"r{number}")
        graph.add(Resource(address, rng.choice(TYPES), {}, depends_on=tuple(needs), node=node, pool=pool))
    graph.rollouts = {
        pool: Rollout(rng.randint(0, 2), rng.randint(0, 3), rng.randint(0, 2)) for pool in pools if rng.random() < 0.8
    }
    everything = sorted(graph.resources, key=str)
    only = {one for one in everything if rng.random() < 0.8}
    failing = {one for one in everything if rng.random() < rng.choice((0, 0.1, 0.5))}
    return graph, only, failing, rng.randint(0, 2**32)


@settings(deadline=None, max_examples=200)
@given(graphs())
def test_whatever_ends_first_everything_is_begun_or_stopped_at_the_end(
    world: tuple[Graph, set[Address], set[Address], int],
) -> None:
    graph, only, failing, seed = world
    run = Run(graph, Gate(graph, only), random.Random(seed), failing)
    run.run()
    assert run.settled() == set(graph.resources)
    assert set(run.gate.stopped()) <= only
    assert not set(run.gate.stopped()) & set(run.begun)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 7), st.integers(0, 3), st.integers(0, 3), st.integers(0, 2**32), st.sets(st.integers(0, 50)))
def test_in_every_type_a_batch_begins_when_the_one_before_has_ended(
    count: int, canary: int, batch: int, seed: int, unchanged: set[int]
) -> None:
    graph = fleet({"gpu": count, "cpu": 2}, {"gpu": Rollout(canary, batch, 0)})
    only = {address for number, address in enumerate(graph.resources) if number not in unchanged}
    gate = Gate(graph, only)
    run = Run(graph, gate, random.Random(seed))
    run.run()

    nodes = sorted({graph.resources[one].node for one in only if graph.resources[one].pool == "gpu"})
    size = batch or max(len(nodes), 1)
    number = {node: 0 if at < canary else 1 + (at - canary) // size for at, node in enumerate(nodes)}
    when = {entry: moment for moment, entry in enumerate(run.order)}
    for one in only:
        for other in only:
            mine, its = graph.resources[one], graph.resources[other]
            if mine.type == its.type and mine.pool == its.pool == "gpu" and number[mine.node] < number[its.node]:
                assert when["ended", one] < when["begun", other]


def test_a_node_is_whole_before_the_next_one_begins_where_nothing_needs_another_node() -> None:
    graph = fleet({"gpu": 3}, {"gpu": Rollout(canary=1, batch=1)})
    gate = Gate(graph, {one for one in graph.resources if one.kind != "peers"})
    assert [one.key for one in graph.resources if one.kind != "peers" and gate.ready(one)] == ["gpu-0"] * 3
    for kind in ("machine", "interface"):
        assert gate.ended(at(kind, "gpu-0")) == []
    assert {one.key for one in gate.ended(at("firewall", "gpu-0"))} == {"gpu-1"}


def test_nodes_go_in_the_order_people_count() -> None:
    graph = fleet({"gpu": 11}, {"gpu": Rollout(canary=3)})
    gate = Gate(graph)
    assert sorted(one.key for one in graph.resources if one.kind == "machine" and gate.ready(one)) == [
        "gpu-0",
        "gpu-1",
        "gpu-2",
    ]


def test_what_does_not_change_holds_nothing_up() -> None:
    graph = fleet({"gpu": 3}, {"gpu": Rollout(canary=1, batch=1)})
    gate = Gate(graph, {at("firewall", "gpu-2"), at("firewall", "gpu-1")})
    assert gate.ready(at("firewall", "gpu-1"))
    assert not gate.ready(at("firewall", "gpu-2"))
    assert gate.ready(at("firewall", "gpu-0")), "it does not change"
    assert gate.ended(at("firewall", "gpu-1")) == [at("firewall", "gpu-2")]


def test_too_many_failed_nodes_stop_what_has_not_begun_in_their_pool_only() -> None:
    graph = fleet({"gpu": 4, "cpu": 1}, {"gpu": Rollout(canary=0, batch=2, max_failures=1)})
    gate = Gate(graph)
    for node in ("gpu-0", "gpu-1"):
        gate.begun(at("machine", node))
    gate.ended(at("machine", "gpu-1"), failed=True)
    gate.ended(at("interface", "gpu-1"), failed=True)
    assert not gate.stopped(), "two failures of one node are one failed node"

    gate.begun(at("firewall", "gpu-0"))
    assert gate.ended(at("machine", "gpu-0"), failed=True) == []
    stopped = gate.stopped()
    assert at("firewall", "gpu-0") not in stopped
    assert {one.key for one in stopped} == {"gpu-0", "gpu-1", "gpu-2", "gpu-3"}
    assert set(stopped.values()) == {
        "the rollout of the NodePool gpu was stopped: gpu-0, gpu-1 failed, and only 1 node may fail (maxFailures)"
    }
    assert not gate.ready(at("machine", "gpu-2"))
    assert gate.ready(at("machine", "cpu-0"))


def test_without_a_rollout_nothing_waits_and_nothing_stops() -> None:
    graph = fleet({"gpu": 3}, {})
    gate = Gate(graph)
    assert all(map(gate.ready, graph.resources))
    assert gate.ended(at("machine", "gpu-0"), failed=True) == []
    assert not gate.stopped()


@pytest.mark.parametrize("batch", [1, 0])
def test_ten_thousand_resources_take_no_time_to_speak_of(batch: int) -> None:
    graph = Graph("s", rollouts={"p": Rollout(canary=1, batch=batch)})
    for number in range(10_000):
        graph.add(Resource(Address("t", "r", str(number)), "t", {}, node=f"p-{number}", pool="p"))
    begin = time.process_time()
    gate = Gate(graph)
    for address in graph.resources:
        gate.ready(address)
        gate.begun(address)
        gate.ended(address)
    assert time.process_time() - begin < 2


@st.composite
def drivers(draw: st.DrawFn) -> tuple[Graph, set[Address], set[Address], int]:
    """Any graph in which some resources go one pool at a time, none of which needs one of a later pool."""
    graph, only, failing, seed = draw(graphs())
    rng = random.Random(seed)
    before: dict[Address, set[str]] = {}
    """Pools whose turn must have come, by what needs that."""
    for address, resource in list(graph.resources.items()):
        needed = {pool for need in resource.needs() for pool in before[need]}
        turn = bool(resource.pool) and rng.random() < 0.4 and all(pool <= resource.pool for pool in needed)
        before[address] = needed | ({resource.pool} if turn else set())
        graph.resources[address] = replace(resource, one_pool_at_a_time=turn)
    return graph, only, failing, seed


@settings(deadline=None, max_examples=300)
@given(drivers())
def test_what_needs_its_machine_for_itself_goes_one_pool_at_a_time_and_never_gets_stuck(
    world: tuple[Graph, set[Address], set[Address], int],
) -> None:
    graph, only, failing, seed = world
    run = Run(graph, Gate(graph, only), random.Random(seed), failing)
    run.run()
    assert run.settled() == set(graph.resources)
    assert set(run.gate.stopped()) <= only
    assert not set(run.gate.stopped()) & set(run.begun)

    when = {entry: moment for moment, entry in enumerate(run.order)}
    turns = {one for one in only if graph.resources[one].one_pool_at_a_time}
    for one in turns & set(run.begun):
        for other in turns & set(run.begun):
            if graph.resources[one].pool < graph.resources[other].pool:
                assert when["ended", one] < when["begun", other]
    broken = {
        graph.resources[one].pool
        for one in turns & set(run.done) & failing
        if graph.resources[one].pool not in graph.rollouts
    }
    if broken:
        assert not {one for one in turns & set(run.begun) if graph.resources[one].pool > min(broken)}


def with_drivers(graph: Graph) -> Graph:
    """A driver for every node that needs its machine."""
    for one in [one for one in graph.resources.values() if one.type == "machine"]:
        address = at("driver", one.node)
        resource = Resource(address, "driver", {}, (one.address,), one.node, pool=one.pool, one_pool_at_a_time=True)
        graph.add(resource)
    return graph


def test_drivers_of_the_next_pool_begin_when_those_of_the_one_before_have_ended() -> None:
    graph = with_drivers(fleet({"b": 2, "a": 2, "c": 1}, {"b": Rollout(canary=1)}))
    run = Run(graph, Gate(graph), random.Random(1))
    run.run()
    begun = [one.key for what, one in run.order if one.kind == "driver" and what == "begun"]
    assert begun[:2] == ["a-0", "a-1"]
    assert begun[2:] == ["b-0", "b-1", "c-0"]
    assert run.order.index(("begun", at("firewall", "c-0"))) < run.order.index(("begun", at("driver", "b-0")))


def test_with_drivers_of_several_pools_a_rollout_keeps_to_its_batches() -> None:
    graph = with_drivers(fleet({"a": 3, "b": 3}, {"a": Rollout(canary=1, batch=1), "b": Rollout(canary=1, batch=1)}))
    run = Run(graph, Gate(graph), random.Random(2))
    run.run()
    for kind in (*TYPES, "driver"):
        for pool in "ab":
            order = [one.key for what, one in run.order if what == "begun" and one.kind == kind and one.key[0] == pool]
            assert order == [f"{pool}-0", f"{pool}-1", f"{pool}-2"]


@pytest.mark.parametrize(
    ("rollouts", "why"),
    [
        ({}, "in the NodePool a a-0 failed"),
        (
            {"a": Rollout(canary=1)},
            "the rollout of the NodePool a was stopped: a-0 failed, and no node may fail (maxFailures)",
        ),
    ],
)
def test_a_pool_with_failures_stops_the_drivers_of_the_pools_after_it_and_nothing_else(
    rollouts: Mapping[str, Rollout], why: str
) -> None:
    graph = with_drivers(fleet({"a": 2, "b": 1, "c": 1}, rollouts))
    run = Run(graph, Gate(graph), random.Random(3), {at("driver", "a-0")})
    run.run()
    stopped = run.gate.stopped()
    later = {one: reason for one, reason in stopped.items() if one.key[0] in "bc"}
    assert set(later) == {at("driver", "b-0"), at("driver", "c-0")}
    because = f"is not begun, since drivers change one pool at a time, and {why}"
    assert later[at("driver", "b-0")] == f"the NodePool b {because}"
    assert at("firewall", "b-0") in run.done
    assert (at("driver", "a-1") in run.done) is (not rollouts), "without a rollout a failure stops no other of its pool"


@pytest.mark.parametrize("seed", range(8))
def test_two_drivers_of_one_machine_that_come_one_after_the_other_leave_the_batches_as_they_are(seed: int) -> None:
    graph = with_drivers(fleet({"a": 3, "b": 3}, {"a": Rollout(canary=1, batch=1), "b": Rollout(canary=1, batch=1)}))
    for one in [one for one in graph.resources.values() if one.type == "driver"]:
        graph.add(replace(one, address=at("driver", f"{one.node}/second"), depends_on=(one.address,)))
    only = {one for one in graph.resources if one.kind in ("driver", "peers")} | {at("interface", "a-0")}
    run = Run(graph, Gate(graph, only), random.Random(seed))
    run.run()
    when = {entry: moment for moment, entry in enumerate(run.order)}
    for kind in (*TYPES, "driver"):
        for pool in "ab":
            for before, after in (("0", "1"), ("1", "2")):
                first, then = at(kind, f"{pool}-{before}"), at(kind, f"{pool}-{after}")
                assert not {first, then} <= only or when["ended", first] < when["begun", then]
    begun = [one.key for what, one in run.order if what == "begun" and one.kind == "driver"]
    assert all(key.startswith("a") for key in begun[:6]), "all drivers of one pool, then those of the other"


def test_as_many_failures_as_a_rollout_allows_let_the_next_pool_begin() -> None:
    graph = with_drivers(fleet({"a": 2, "b": 1}, {"a": Rollout(max_failures=1)}))
    run = Run(graph, Gate(graph), random.Random(4), {at("driver", "a-0")})
    run.run()
    assert not run.gate.stopped()
    assert at("driver", "b-0") in run.done


def test_drivers_of_one_pool_need_no_gate_and_what_does_not_change_is_no_turn() -> None:
    graph = with_drivers(fleet({"a": 2, "b": 1}, {}))
    assert Gate.of(fleet({"a": 2}, {})) is None
    gate = Gate(graph, {at("driver", "b-0"), at("firewall", "a-0")})
    assert gate.ready(at("driver", "b-0"))
    assert in_turn(graph, {at("driver", "b-0"), at("driver", "a-1")}) == {
        "a": [at("driver", "a-1")],
        "b": [at("driver", "b-0")],
    }
    assert not in_turn(graph, {at("driver", "b-0")})


def test_drivers_that_need_each_other_across_pools_are_refused() -> None:
    graph = with_drivers(fleet({"a": 1, "b": 1}, {}))
    first = graph.resources[at("driver", "a-0")]
    graph.resources[first.address] = replace(first, depends_on=(at("driver", "b-0"),))
    with pytest.raises(ValueError, match=r"cycle|needs itself"):
        Gate(graph)


@pytest.mark.parametrize(
    ("rollout", "nodes", "told"),
    [
        (Rollout(1, 1), 4, "4 nodes: 1 first, then 1 at a time; stopped when any of them fails"),
        (Rollout(2, 500, 3), 1200, "1,200 nodes: 2 first, then 500 at a time; stopped when more than 3 of them fail"),
        (Rollout(1, 10), 4, "4 nodes: 1 first, then 3 at a time; stopped when any of them fails"),
        (Rollout(1), 4, "4 nodes: 1 first, then all at once; stopped when any of them fails"),
        (Rollout(0, 2), 4, "4 nodes: 2 at a time; stopped when any of them fails"),
        (Rollout(5, 2), 4, "4 nodes: all at once; stopped when any of them fails"),
        (Rollout(1, 1), 1, "1 node"),
    ],
)
def test_how_a_pool_is_gone_through_in_words(rollout: Rollout, nodes: int, told: str) -> None:
    assert in_words(rollout, nodes) == told
