"""What `status` makes of a world, healthy or not."""

from __future__ import annotations

from collections import Counter

import pytest

from swarmctl.backends import clocks
from swarmctl.errors import ExitCode
from swarmctl.hosts.probes import Answer
from swarmctl.operations.status import MAX_PINGED, measure, ping_targets
from swarmctl.operations.status_model import Link, Node, Status, drops_by_default
from swarmctl.plans.events import Event, Note
from tests.status.world import NOW, World, declared


def see(world: World, *, probe: bool = True) -> Status:
    return measure(world.stack, probe=probe, open_=world.open, sleep=world.sleep, clock=world.clock)


def node(status: Status, name: str) -> Node:
    return next(node for node in status.nodes if node.name == name)


def link(status: Status, sender: str, target: str) -> Link:
    return next(link for link in status.links if (link.sender, link.target) == (sender, target))


def test_a_healthy_lab_is_ready_reachable_and_as_declared() -> None:
    world = World(declared())
    status = see(world)
    assert [node.name for node in status.nodes] == ["control-0", "control-1", "workers-0", "workers-1", "workers-2"]
    assert all(node.ready for node in status.nodes)
    assert len(status.links) == 20
    assert all(link.reachable and link.handshake_age == 12 and link.rtt == 0.41 for link in status.links)
    assert all(flow.ok for flow in status.flows)
    assert (status.healthy, status.exit_code) == (True, ExitCode.OK)


def test_every_machine_is_asked_once_for_probes_and_once_for_facts() -> None:
    world = World(declared())
    see(world)
    assert sorted(world.asked) == sorted(
        (machine.name, what) for machine in world.stack.machines for what in ("facts", "probe")
    )


def test_without_probing_no_traffic_is_sent_and_nothing_counts_as_measured() -> None:
    world = World(declared())
    status = see(world, probe=False)
    assert {what for _, what in world.asked} == {"facts"}
    assert all(link.reachable is None for link in status.links)
    assert status.flows == ()
    assert status.exit_code is ExitCode.OK


def test_bytes_are_summed_over_the_tunnels_of_a_node() -> None:
    status = see(World(declared()))
    assert (node(status, "control-0").received, node(status, "control-0").sent) == (4 * 3100, 4 * 2900)


def test_ages_are_by_each_nodes_own_clock() -> None:
    status = see(World(declared(), clocks={"workers-1": -86_400}))
    assert {link.handshake_age for link in status.links} == {12}


def test_a_clock_that_is_far_off_is_a_warning_and_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarmctl.backends.clocks.time.time", lambda: float(NOW))
    world, said = World(declared(), clocks={"workers-1": -365 * 86_400, "workers-2": 600}), list[Event]()
    status = measure(world.stack, probe=True, open_=world.open, emit=said.append, sleep=world.sleep, clock=world.clock)
    assert said == [Note(f"workers-1: its clock is 365 days behind; {clocks.MEND}", warning=True)]
    assert status.exit_code is ExitCode.OK


def test_spokes_reach_each_other_through_the_hub_without_a_tunnel() -> None:
    status = see(World(declared(hubs="control")))
    between = link(status, "workers-0", "workers-1")
    assert (between.tunnel, between.reachable, between.handshake_age) == (False, True, None)
    assert all(node.ready for node in status.nodes)
    assert node(status, "workers-0").tunnels == 2


def test_a_missing_machine_is_not_ready_and_not_the_others_fault() -> None:
    status = see(World(declared(), gone={"workers-1"}, ages={"control-0": 500}))
    assert node(status, "workers-1").reasons == ("the machine does not exist",)
    assert [node.name for node in status.nodes if not node.ready] == ["workers-1"]
    assert link(status, "control-0", "workers-1").reachable is False
    assert not any("workers-1" in (flow.probe.sender, flow.probe.target) for flow in status.flows)
    assert (status.gone, status.exit_code) == (False, ExitCode.FAILED)


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ({"down": {"workers-0"}}, "interface wg0 is down"),
        ({"bare": {"workers-0"}}, "no firewall: nothing drops what is not declared"),
        ({"dropped": {("workers-0", "control-1")}}, "no tunnel to control-1"),
        ({"broken": {"workers-0": b"bash: not found"}}, "probes could not be sent: bash or ping does not work there"),
    ],
)
def test_what_is_wrong_with_a_node_is_told(trouble: dict[str, object], reason: str) -> None:
    status = see(World(declared(), **trouble))  # type: ignore[arg-type]
    assert [(node.name, node.reasons) for node in status.nodes if not node.ready] == [("workers-0", (reason,))]
    assert status.exit_code is ExitCode.FAILED


def test_an_old_handshake_is_forgiven_where_an_echo_comes_back() -> None:
    status = see(World(declared(), ages={"workers-0": 181}))
    assert node(status, "workers-0").ready
    assert node(status, "workers-0").handshakes == 0


@pytest.mark.parametrize(("age", "ready"), [(179, True), (180, False), (-1, False)])
def test_without_an_echo_the_handshake_must_be_one_that_wireguard_still_uses(age: int, ready: bool) -> None:
    status = see(World(declared(), ages={"workers-0": age}), probe=False)
    assert node(status, "workers-0").ready is ready


def test_a_silent_tunnel_with_an_old_handshake_names_who_does_not_answer() -> None:
    deaf = {("workers-0", address) for address in ("10.88.0.1", "fd88::1")}
    status = see(World(declared(), ages={"workers-0": 500}, deaf=deaf))
    assert node(status, "workers-0").reasons == ("no handshake within 180 s and no answer: control-0",)


def test_a_link_is_reachable_only_on_every_address() -> None:
    status = see(World(declared(), deaf={("control-0", "fd88::2")}))
    assert link(status, "control-0", "control-1").reachable is False
    assert link(status, "control-1", "control-0").reachable is True
    assert status.exit_code is ExitCode.FAILED


def test_a_node_that_does_not_reach_another_is_not_ready_also_with_a_fresh_handshake() -> None:
    status = see(World(declared(), deaf={("control-0", "fd88::2")}))
    assert [(node.name, node.reasons) for node in status.nodes if not node.ready] == [
        ("control-0", ("no answer over the mesh from control-1",))
    ]


def test_a_node_that_does_not_reach_another_through_the_hub_is_not_ready() -> None:
    status = see(World(declared(hubs="control"), deaf={("workers-0", "10.88.0.4")}))
    assert [node.name for node in status.nodes if not node.ready] == ["workers-0"]
    assert node(status, "workers-0").reasons[0].startswith("no answer over the mesh from workers-")


def test_an_open_port_that_nobody_declared_is_a_violation() -> None:
    status = see(World(declared(), leaks={("workers-0", "10.88.0.1", 9), ("control-0", "192.0.2.5", 6379)}))
    assert {(flow.probe.sender, flow.probe.port.address, flow.observed) for flow in status.violations} == {
        ("workers-0", "10.88.0.1", Answer.OPEN),
        ("control-0", "192.0.2.5", Answer.OPEN),
    }
    assert status.exit_code is ExitCode.FAILED


def test_a_declared_port_that_is_closed_is_a_violation() -> None:
    status = see(World(declared(), blocks={("workers-2", "fd88::1", 6379)}))
    assert [(flow.probe.flow, flow.observed) for flow in status.violations] == [("ray-head", Answer.CLOSED)]


def test_an_answer_that_comes_too_late_is_waited_for_once_more() -> None:
    world = World(declared(), late={("workers-0", 6379), ("workers-1", 7946)})
    assert see(world).healthy
    twice = {name for name, what in world.asked if world.asked.count((name, what)) == 2}
    assert twice == {"workers-0", "workers-1"}


def test_nothing_is_tried_twice_where_the_target_does_not_answer_at_all() -> None:
    world = World(declared(), gone={"control-0"})
    see(world)
    assert max(Counter(world.asked).values()) == 1


def test_a_listener_that_keeps_quiet_makes_udp_unknown_and_is_no_violation() -> None:
    status = see(World(declared(), listens={"workers-1": [7946]}))
    unknown = [flow for flow in status.flows if flow.ok is None]
    assert {flow.probe.target for flow in unknown} == {"workers-1"}
    assert {flow.probe.port.number for flow in unknown} == {7946}
    assert status.exit_code is ExitCode.OK


def test_a_machine_that_does_not_answer_makes_the_world_unreadable() -> None:
    status = see(World(declared(), unreachable={"workers-2"}))
    assert node(status, "workers-2").reasons == ("workers-2 does not answer",)
    assert node(status, "workers-2").exists
    assert status.exit_code is ExitCode.WORLD_UNREADABLE


def test_a_machine_without_room_for_the_probes_has_its_own_error_and_the_others_are_shown() -> None:
    status = see(World(declared(), full={"workers-2"}))
    assert node(status, "workers-2").reasons == ("bash was not begun: no room for its input in /run",)
    assert [each.name for each in status.nodes if each.ready] == ["control-0", "control-1", "workers-0", "workers-1"]
    assert status.exit_code is ExitCode.WORLD_UNREADABLE


def test_never_applied_and_gone_are_told_apart() -> None:
    everyone = {machine.name for machine in declared().machines}
    assert not see(World(declared(applied=False), gone=everyone)).gone
    assert see(World(declared(), gone=everyone)).gone


def test_no_machines_is_no_failure() -> None:
    status = see(World(declared(pools={})))
    assert status.exit_code is ExitCode.OK


def test_in_a_large_mesh_every_node_pings_a_bounded_number_and_is_pinged() -> None:
    stack = declared(pools={"workers": (200, "us", "worker")})
    targets = ping_targets(stack.members)
    assert {len(addresses) for addresses in targets.values()} == {2 * MAX_PINGED}
    assert len({address for addresses in targets.values() for address in addresses}) == 400


def test_a_firewall_that_is_switched_off_is_none() -> None:
    chain = {"chain": {"family": "inet", "table": "swarmctl", "name": "input", "hook": "input", "policy": "drop"}}
    table = {"family": "inet", "name": "swarmctl"}
    assert drops_by_default({"nftables": [{"table": table}, chain]})
    assert not drops_by_default({"nftables": [{"table": {**table, "flags": ["dormant"]}}, chain]})
    other = {**table, "name": "other", "flags": ["dormant"]}
    assert drops_by_default({"nftables": [{"table": other}, {"table": table}, chain]})
