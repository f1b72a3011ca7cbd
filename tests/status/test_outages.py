"""`status` says what is why: outages of nodes that others are reached through, flows that end, its own probes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from swarmctl.kinds.security_policy.spec import instant
from swarmctl.reports.status import render
from swarmctl.reports.status_json import to_json
from tests.status.test_report import TRAFFIC, counting, drawn, see
from tests.status.world import FLOWS, World, declared


def test_probes_are_not_shown_as_traffic_also_where_facts_are_read_again_after_them() -> None:
    world = counting()
    world.raises, world.ages = 50, {"control-0": -1}
    text = drawn(world)
    assert world.asked.count(("control-0", "facts")) > 1, "its tunnels had no session: they are looked at again"
    assert text[text.index("Traffic") :].startswith(TRAFFIC)


def test_a_flow_that_is_about_to_end_is_not_tried_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    ray, *others = FLOWS
    until = instant("2030-01-01T00:00:00Z")
    world = World(declared(flows=[{**ray, "until": "2030-01-01T00:00:00Z"}, *others]))
    for now, said in (
        (until - 30, "it ends at 2030-01-01T00:00:00Z"),
        (until + 30, "it ended at 2030-01-01T00:00:00Z"),
    ):
        monkeypatch.setattr("time.time", lambda now=now: now)
        status = see(world)
        assert not any(flow.probe.flow == "ray-head" for flow in status.flows)
        text = render(status, color=False, width=80)
        assert "  ? baseline/ray-head       not tried\n" in text
        assert f"      {said}, less than 60 s from now, and clocks differ\n" in text
        (told,) = to_json(status)["untried"]
        assert (told["policy"], told["flow"], told["until"]) == ("baseline", "ray-head", "2030-01-01T00:00:00Z")
    monkeypatch.setattr("time.time", lambda: until - 61)
    assert see(world).untried == ()
    assert see(world, probe=False).untried == ()


def cut(**wrong: Any) -> World:
    """Two workers behind one relay, and somebody has taken its interface down."""
    pools = {"control": (1, "eu-central", "head"), "workers": (3, "us-east", "worker")}
    stack = declared(hubs="control", pools=pools)
    members = tuple(replace(it, role="relay" if it.forwards else "") for it in stack.members)
    world = World(replace(stack, members=members), **wrong)
    if wrong:
        addresses = {member.node: member.addresses for member in members}
        pairs = [(a, b) for a in addresses for b in addresses if a != b]
        world.deaf = {(a, address) for a, b in pairs for address in addresses[b]}
    return world


def test_a_relay_that_is_down_is_the_only_node_that_is_not_ready_and_says_whom_it_cuts_off() -> None:
    status = see(cut(down={"control-0"}))
    assert [node.name for node in status.nodes if not node.ready] == ["control-0"]
    text = render(status, color=False, width=120)
    assert text.startswith("lab: 3 of 4 nodes ready; 0 of 12 links reachable;")
    assert "  ✗ control-0  not ready  control  eu-central  10.88.0.1     0 of 3 " in text
    does = "cuts off workers-0 ⇄ workers-1, workers-0 ⇄ workers-2, workers-1 ⇄ workers-2"
    assert f"      interface wg0 is down\n      {does}\n" in text
    assert "  ✗ workers-0 ⇄ workers-1  no answer           -  no way " in text
    assert "through" not in text
    link = next(it for it in to_json(status)["links"] if (it["from"], it["to"]) == ("workers-0", "workers-1"))
    assert (link["via"], link["cutBy"]) == (["control-0"], ["control-0"])
    assert status.exit_code == 1


def test_a_pair_whose_relay_is_up_is_not_explained_by_it() -> None:
    text = drawn(cut(), width=120)
    assert "  ✓ workers-0 ⇄ workers-1  reachable      0.4 ms  through a relay " in text
    alone = cut()
    alone.deaf = {("workers-0", "10.88.0.3"), ("workers-0", "fd88::3")}
    status = see(alone)
    assert [(node.name, node.reasons) for node in status.nodes if not node.ready] == [
        ("workers-0", ("no answer over the mesh from workers-1",))
    ]


def test_where_another_hub_is_up_nobody_is_said_to_be_cut_off() -> None:
    world = World(declared(hubs="control"), down={"control-0"})
    world.deaf = {("workers-0", "10.88.0.4"), ("workers-0", "fd88::4")}
    status = see(world)
    assert {node.name: node.reasons for node in status.nodes if not node.ready} == {
        "control-0": ("interface wg0 is down",),
        "workers-0": ("no answer over the mesh from workers-1",),
    }
