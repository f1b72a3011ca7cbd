"""Rollouts: canaries, then batches, no further when too many nodes fail, and never stuck."""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmctl.graph.model import Address, Graph, Resource, Rollout
from swarmctl.graph.rollout import Gate

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
                elif needs <= set(self.done) and self.gate.ready(address):
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
