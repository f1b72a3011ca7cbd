"""From declarations to the graph: machines, interfaces, peers and firewalls of a stack."""

from __future__ import annotations

from typing import Any

import pytest

from swarmctl.graph.canonical import digest
from swarmctl.graph.model import Address, Graph, Machine, MeshMember, Ref
from swarmctl.kinds import resource_type
from swarmctl.kinds.base import UNKNOWN, Impact
from swarmctl.kinds.node_pool.resources import MACHINE
from tests.mesh.builder import FakeBackend, compiled, fake_backend, lab
from tests.mesh.fakes import FakeHosts, facts

__all__ = ["fake_backend"]

pytestmark = pytest.mark.usefixtures("fake_backend")


def inputs(graph: Graph, address: str) -> Any:
    return graph.resources[Address.parse(address)].inputs


def test_every_machine_gets_an_interface_peers_and_a_firewall() -> None:
    graph = compiled(lab())
    nodes = ["control-0", "control-1", "workers-0", "workers-1", "workers-2"]
    expected = {f"nodepool/{node.replace('-', '[')}]" for node in nodes}
    expected |= {f"mesh/backbone[{node}]" for node in nodes}
    expected |= {f"mesh/backbone[{node}/peers]" for node in nodes}
    expected |= {f"securitypolicy/baseline[{node}]" for node in nodes}
    assert {str(address) for address in graph.resources} == expected | {"mesh/backbone[rotation]"}
    for resource in graph.resources.values():
        if not resource.node:
            continue
        assert resource.inputs["node"] == resource.node
        assert resource.inputs["host"]["node"] == resource.node
        assert resource.cluster == "core"
        assert resource.origin is not None
        for needed in (*resource.depends_on, *(ref.address for ref in resource.refs())):
            assert needed in graph.resources


def test_defaults_of_the_stack_fill_in_what_a_pool_leaves_out() -> None:
    machines = {machine.name: machine for machine in compiled(lab()).exported(Machine)}
    assert machines["workers-0"].cluster == "core"
    assert machines["workers-0"].region == "us"
    assert machines["workers-0"].labels == {"team": "one", "role": "worker"}


def test_peers_refer_to_keys_and_depend_on_their_own_interface() -> None:
    graph = compiled(lab())
    resource = graph.resources[Address.parse("mesh/backbone[workers-0/peers]")]
    assert resource.depends_on == (Address.parse("mesh/backbone[workers-0]"),)
    peers = resource.inputs["peers"]
    assert set(peers) == {"control-0", "control-1", "workers-1", "workers-2"}
    interface = inputs(graph, "mesh/backbone[control-0]")
    assert peers["control-0"] == {
        "publicKey": Ref(Address.parse("mesh/backbone[control-0]"), "publicKey"),
        "endpoint": "172.30.0.1:51820",
        "allowedIps": [
            interface["addresses"][0].replace("/16", "/32"),
            interface["addresses"][1].replace("/64", "/128"),
        ],
        "persistentKeepalive": 25,
    }


def test_flows_open_ports_for_the_nodes_they_name_only() -> None:
    graph = compiled(lab())
    addresses = {member.node: member.addresses for member in graph.exported(MeshMember)}
    head, worker = (inputs(graph, f"securitypolicy/baseline[{node}]") for node in ("control-0", "workers-0"))
    for node, (v4, v6) in addresses.items():
        assert (v4 in head["sets"]["flow-ray-head"]["ip"]) == node.startswith("workers")
        assert (v6 in head["sets"]["flow-ray-head"]["ip6"]) == node.startswith("workers")
    assert "@flow-ray-head.ip6 tcp dport 10001-10010" in head["rules"]["flow:ray-head:10001-10010:ip6"]
    assert not any(name.startswith("flow:ray-head") for name in worker["rules"])
    assert "flow-ray-head" not in worker["sets"]
    assert "udp dport 7946" in worker["rules"]["flow:gossip:7946:ip"]
    assert "172.30.0.1" in worker["sets"]["peers"]["ip"]


def test_rules_name_both_interfaces_and_both_ports() -> None:
    rules = inputs(compiled(lab()), "securitypolicy/baseline[workers-0]")["rules"]
    assert rules["wireguard:ip"].endswith("udp dport { 51820, 51821 } accept")
    for name, text in rules.items():
        assert "wg0" not in text or '"wg0", "wg0-n" }' in text, name


def test_a_flow_from_every_node_stays_as_it_is_when_nodes_come() -> None:
    everyone = [{"name": "all", "ports": [80], "until": "2026-12-01T00:00:00Z"}]
    few, many = (compiled(lab(workers=count, flows=everyone)) for count in (2, 4))
    before, after = (inputs(graph, "securitypolicy/baseline[control-0]") for graph in (few, many))
    assert "ip saddr 10.88.0.0/16 tcp dport 80 meta time < 1796083200 " in before["rules"]["flow:all:80:ip"]
    assert before["rules"] == after["rules"]
    assert before["sets"].keys() == after["sets"].keys() == {"peers"}


def test_nodes_with_the_same_part_share_rules_and_the_sources_of_flows() -> None:
    graph = compiled(lab(workers=4))
    one, other = (inputs(graph, f"securitypolicy/baseline[workers-{number}]") for number in (1, 3))
    assert one["rules"] is other["rules"]
    assert one["sets"]["flow-gossip"] is other["sets"]["flow-gossip"]
    assert one["sets"]["peers"] != other["sets"]["peers"]


def test_with_hubs_spokes_open_wireguard_to_hubs_only() -> None:
    graph = compiled(lab(mesh={"topology": {"hubs": {"select": {"role": "head"}}}}))
    assert set(inputs(graph, "mesh/backbone[workers-0/peers]")["peers"]) == {"control-0", "control-1"}
    through = inputs(graph, "mesh/backbone[workers-0/peers]")["peers"]["control-0"]["allowedIps"]
    own = inputs(graph, "mesh/backbone[control-0]")["addresses"]
    # Its own addresses stay with it when another hub takes over the networks.
    assert through == [own[0].replace("/16", "/32"), own[1].replace("/64", "/128"), "10.88.0.0/16", "fd88:5b2a::/64"]
    assert inputs(graph, "mesh/backbone[control-0]")["forwarding"] is True
    assert "through:ip" in inputs(graph, "securitypolicy/baseline[control-0]")["rules"]
    spoke = inputs(graph, "securitypolicy/baseline[workers-0]")
    assert not any(name.startswith("through") for name in spoke["rules"])
    assert "172.30.0.4" not in spoke["sets"]["peers"]["ip"]  # another spoke


def test_growing_a_pool_moves_nobody_and_touches_only_what_must_learn_of_it() -> None:
    before = compiled(lab())
    after = compiled(lab(workers=4), before)
    for address, resource in before.resources.items():
        if resource.type in ("swarm:nodepool:Machine", "swarm:mesh:Interface"):
            assert after.resources[address].inputs == resource.inputs
    peers = inputs(after, "mesh/backbone[control-0/peers]")["peers"]
    assert set(peers) - set(inputs(before, "mesh/backbone[control-0/peers]")["peers"]) == {"workers-3"}


def test_the_graph_and_its_digest_are_the_same_every_time() -> None:
    first, second = compiled(lab()), compiled(lab())
    assert digest(first) == digest(second)
    assert digest(compiled(lab(), first)) == digest(first)
    assert digest(compiled(lab(workers=4))) != digest(first)


def test_mappings_of_peers_are_shared_between_nodes() -> None:
    graph = compiled(lab())
    one, other = (inputs(graph, f"mesh/backbone[{node}/peers]")["peers"] for node in ("workers-0", "workers-1"))
    assert one["control-0"] is other["control-0"]


def test_what_stands_on_a_machine_is_made_anew_with_it(fake_backend: FakeBackend) -> None:
    graph = compiled(lab())
    machine = Ref(Address.parse("nodepool/workers[0]"), "identity")
    kinds = {"mesh/backbone[workers-0]", "mesh/backbone[workers-0/peers]", "securitypolicy/baseline[workers-0]"}
    for address in kinds:
        resource = graph.resources[Address.parse(address)]
        assert resource.inputs["machine"] == machine
        known = {**resource.inputs, "machine": "one"}
        (change,) = resource_type(resource.type).diff(known, {**known, "machine": UNKNOWN})
        assert change.replace
        assert change.reason in ("it goes away with its machine", "they go away with their machine")
    old = inputs(graph, "nodepool/workers[0]")
    hosts = FakeHosts(facts())
    same = MACHINE.create(hosts, old)["identity"]
    assert MACHINE.update(hosts, old, {**old, "memory": "1Gi"})["identity"] == same
    assert MACHINE.create(hosts, {**old, "region": "eu"})["identity"] != same
    seen = MACHINE.read(hosts, old)
    assert seen is not None
    assert seen.outputs == {"identity": same}


def test_a_machine_in_another_region_is_another_machine(fake_backend: FakeBackend) -> None:
    old = inputs(compiled(lab()), "nodepool/workers[0]")
    new = {**old, "region": "eu"}
    (change,) = MACHINE.diff(old, new)
    assert (change.replace, change.reason) == (True, "the region decides the subnet")
    assert MACHINE.impact(old, new) == Impact("workers-0 goes away with everything on it")
    assert MACHINE.impact(old, None) == Impact("workers-0 goes away with everything on it")
    assert MACHINE.impact(None, new) == Impact()
    assert [effect.text for effect in MACHINE.effects(None, old)] == ["machine workers-0 (lab) in us"]
    assert [effect.text for effect in MACHINE.effects(old, new)] == [
        "machine workers-0 (lab) in us",
        "machine workers-0 (lab) in eu",
    ]
    more = MACHINE.effects({**old, "mtu": 1500}, {**old, "mtu": 1400})
    assert [effect.text for effect in more] == ["machine workers-0: mtu 1500 → 1400"]
