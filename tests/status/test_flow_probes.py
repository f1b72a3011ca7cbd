"""Which ports are tried: every flow, every pair, nothing that would be a false alarm, never too many."""

from __future__ import annotations

from collections import Counter
from typing import Any

from swarmctl.hosts.probes import Answer
from swarmctl.kinds.security_policy.spec import instant
from swarmctl.operations.flow_probes import MARGIN, MAX_PER_NODE, FlowProbe, Over, choose, rules
from swarmctl.operations.nodes import Declared
from tests.status.world import declared


def chosen(stack: Declared) -> list[FlowProbe]:
    return choose(stack.inventory, stack.machines, stack.members)


def test_every_flow_is_tried_open_at_the_ends_of_its_ranges_over_both_families() -> None:
    ray = [probe for probe in chosen(declared()) if probe.flow == "ray-head"]
    assert {probe.port.number for probe in ray} == {6379, 10001, 10010}
    assert {(probe.sender, probe.target) for probe in ray} == {
        (f"workers-{worker}", f"control-{head}") for worker in range(3) for head in range(2)
    }
    assert {":" in probe.port.address for probe in ray} == {True, False}
    assert all(probe.expected is Answer.OPEN and probe.over is Over.MESH for probe in ray)


def test_every_pair_gets_a_port_that_must_stay_closed_on_the_mesh_and_outside_of_it() -> None:
    stack = declared()
    closed = [probe for probe in chosen(stack) if probe.flow is None]
    pairs = {(one.name, other.name) for one in stack.machines for other in stack.machines if one != other}
    for over in Over:
        assert {(probe.sender, probe.target) for probe in closed if probe.over is over} == pairs
    assert all(probe.expected is Answer.CLOSED for probe in closed)


def test_nothing_that_a_flow_allows_is_expected_closed_on_the_mesh() -> None:
    stack = declared()
    declared_rules = rules(stack.inventory, stack.machines)
    closed = [probe for probe in chosen(stack) if probe.flow is None and probe.over is Over.MESH]
    assert {probe.port.number for probe in closed} > {9}, "a declared port for pairs it isn't declared for, too"
    for probe in closed:
        assert not any(
            rule.allows(probe.sender, probe.target, probe.port.protocol, probe.port.number) for rule in declared_rules
        )


def test_a_declared_port_is_tried_outside_of_the_mesh_but_not_the_tunnels_own() -> None:
    flows: list[dict[str, Any]] = [
        {"name": "tunnel", "ports": [51820], "protocol": "udp"},
        {"name": "metrics", "ports": [9100]},
    ]
    outside = [probe for probe in chosen(declared(flows=flows)) if probe.over is Over.UNDERLAY]
    assert {(probe.port.protocol, probe.port.number) for probe in outside} == {("tcp", 9100), ("tcp", 9)}
    assert all(probe.port.address.startswith("192.0.2.") for probe in outside)


def test_the_control_port_gives_way_to_a_declared_one() -> None:
    flows = [{"name": "everything-small", "ports": ["1-16"]}]
    assert {
        probe.port.number for probe in chosen(declared(flows=flows)) if probe.flow is None and probe.over is Over.MESH
    } == {17}


def test_without_flows_everything_is_expected_closed() -> None:
    probes = chosen(declared(flows=[]))
    assert probes
    assert {probe.expected for probe in probes} == {Answer.CLOSED}


def test_a_large_stack_stays_bounded_and_everyone_is_sender_and_target() -> None:
    pools = {"control": (20, "eu", "head"), "workers": (180, "us", "worker")}
    probes = chosen(declared(pools=pools))
    assert max(Counter(probe.sender for probe in probes).values()) <= MAX_PER_NODE
    assert len({probe.sender for probe in probes}) == 200
    assert len({probe.target for probe in probes}) == 200


def test_what_a_flow_allowed_must_be_closed_once_it_has_ended() -> None:
    flow = {"name": "debug", "from": {"role": "head"}, "to": {"role": "worker"}, "ports": [22]}
    stack = declared(flows=[{**flow, "until": "2026-12-01T00:00:00Z"}])
    end = instant("2026-12-01T00:00:00Z")

    def expected(now: float) -> set[Answer]:
        probes = choose(stack.inventory, stack.machines, stack.members, now=now)
        roles = {machine.name: machine.labels["role"] for machine in stack.machines}
        return {
            probe.expected
            for probe in probes
            if probe.port.number == 22
            and probe.over is Over.MESH
            and (roles[probe.sender], roles[probe.target]) == ("head", "worker")
        }

    assert expected(end - MARGIN) == {Answer.OPEN}
    assert expected(end - MARGIN + 1) == expected(end + MARGIN - 1) == set()
    assert expected(end + MARGIN) == {Answer.CLOSED}


def test_the_choice_is_the_same_every_time() -> None:
    assert chosen(declared()) == chosen(declared())
