"""From declared meshes to the graph: topologies by label, endpoints, relays, reserved ranges, and the MTU."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from swarmctl.declarations.declaration import Inventory
from swarmctl.graph.canonical import digest
from swarmctl.graph.model import Address, Graph, MeshMember
from swarmctl.kinds import resource_type
from swarmctl.mesh.faults import NoRelay
from swarmctl.mesh.spans import Span
from tests.mesh.builder import compiled, declare, fake_backend

__all__ = ["fake_backend"]

pytestmark = pytest.mark.usefixtures("fake_backend")

POOLS: Mapping[str, Mapping[str, Any]] = {
    "gates": {"labels": {"role": "gateway", "site": "a"}, "region": "eu", "count": 2},
    "eu": {"labels": {"role": "worker", "site": "a"}, "region": "eu", "count": 2},
    "gates-us": {"labels": {"role": "gateway", "site": "b"}, "region": "us", "count": 1},
    "us": {"labels": {"role": "worker", "site": "b"}, "region": "us", "count": 2},
}
GATEWAY = {"role": "gateway"}


def fleet(mesh: Mapping[str, Any], pools: Mapping[str, Mapping[str, Any]] = POOLS, **more: Any) -> Inventory:
    """A stack with these pools; `more`: what a pool's backend takes beside its count, by pool."""
    found = [
        declare("Stack", "s", {"defaults": {"cluster": "core"}}),
        declare("Cluster", "core", {"mesh": "m", "securityPolicy": "p"}),
        declare("SecurityPolicy", "p", {}),
        declare("Mesh", "m", {"cidrs": ["10.88.0.0/16", "fd88::/64"], **mesh}),
    ]
    for name, pool in pools.items():
        backend = {"count": pool["count"], **more.get(name, {})}
        found.append(declare("NodePool", name, {"region": pool["region"], "lab": backend}, pool["labels"]))
    return Inventory(found)


def inputs(graph: Graph, key: str) -> Any:
    return graph.resources[Address("mesh", "m", key)].inputs


def tunnels(graph: Graph) -> set[tuple[str, str]]:
    """Every tunnel once; fails where only one end knows of it."""
    both = {(member.node, peer) for member in graph.exported(MeshMember) for peer in member.peers}
    assert {(peer, node) for node, peer in both} == both
    return {(one, other) for one, other in both if one < other}


def pairs(*groups: str) -> set[tuple[str, str]]:
    """`a b, c` → a and b with each other; `a b | c` → a and b with c."""
    found = set()
    for group in groups:
        one, _, other = group.partition("|")
        found |= {(min(a, b), max(a, b)) for a in one.split() for b in (other or one).split() if a != b}
    return found


@pytest.mark.parametrize(
    ("topology", "expected"),
    [
        ({"full": {}}, pairs("gates-0 gates-1 eu-0 eu-1 gates-us-0 us-0 us-1")),
        (
            {"hubs": {"select": GATEWAY}},
            pairs("gates-0 gates-1 gates-us-0", "gates-0 gates-1 gates-us-0 | eu-0 eu-1 us-0 us-1"),
        ),
        (
            {"regions": {"gateways": GATEWAY}},
            pairs("gates-0 gates-1 eu-0 eu-1", "gates-us-0 us-0 us-1", "gates-0 gates-1 gates-us-0"),
        ),
        (
            {
                "links": [
                    {"between": [{"node": "gates-0"}, {"pool": "eu"}]},
                    {"between": [{"select": {"site": "b"}}, {"node": "us-0"}]},
                    {"between": [{"node": "eu-0"}, {"node": "us-0"}]},
                ]
            },
            pairs("gates-0 | eu-0 eu-1", "us-0 | gates-us-0 us-1", "eu-0 us-0"),
        ),
        (
            {
                "combine": [
                    {"select": {"site": "a"}, "full": {}},
                    {"select": {"site": "b"}, "hubs": {"select": GATEWAY}},
                    {"links": [{"between": [{"node": "eu-0"}, {"node": "us-1"}]}]},
                ]
            },
            pairs("gates-0 gates-1 eu-0 eu-1", "gates-us-0 | us-0 us-1", "eu-0 us-1"),
        ),
    ],
    ids=["full", "hubs", "regions", "links", "combine"],
)
def test_tunnels_are_those_that_the_topology_declares_by_label_pool_and_name(
    topology: Mapping[str, Any], expected: set[tuple[str, str]]
) -> None:
    graph = compiled(fleet({"topology": topology}))
    assert tunnels(graph) == expected
    for member in graph.exported(MeshMember):
        assert member.forwards is inputs(graph, member.node)["forwarding"]
        assert set(inputs(graph, f"{member.node}/peers")["peers"]) == set(member.peers)


def test_who_passes_traffic_on_is_told() -> None:
    for topology, forwarding in (
        ({"full": {}}, set()),
        ({"hubs": {"select": GATEWAY}}, {"gates-0", "gates-1", "gates-us-0"}),
        ({"regions": {"gateways": GATEWAY}}, {"gates-0", "gates-1", "gates-us-0"}),
    ):
        graph = compiled(fleet({"topology": topology}))
        assert {member.node for member in graph.exported(MeshMember) if member.forwards} == forwarding


def test_nodes_behind_nat_get_keepalive_and_a_relay_and_plan_says_why() -> None:
    graph = compiled(fleet({"relays": GATEWAY}, eu={"nat": True}, us={"nat": True}))
    assert ("eu-0", "eu-1") not in tunnels(graph)
    own = inputs(graph, "eu-0/peers")["peers"]
    assert {peer["persistentKeepalive"] for peer in own.values()} == {25}
    assert all(peer["endpoint"] for peer in own.values())
    seen = inputs(graph, "gates-0/peers")["peers"]["eu-0"]
    assert seen["endpoint"] == ""
    assert "behind NAT" in seen["why"]
    assert any("relay" in peer.get("why", "") for peer in own.values())
    assert "why" not in inputs(graph, "gates-0/peers")["peers"]["gates-1"]
    peers = resource_type("swarm:mesh:Peers")
    assert "behind NAT" in " ".join(one.text for one in peers.effects(None, inputs(graph, "gates-0/peers")))
    anywhere = {member.node: member.anywhere for member in graph.exported(MeshMember)}
    assert anywhere["gates-0"]
    assert not anywhere["eu-0"]  # it only meets nodes at their own addresses


def test_two_nodes_behind_nat_without_a_relay_are_an_error_also_when_only_the_machines_tell() -> None:
    with pytest.raises(NoRelay, match="eu-0"):
        compiled(fleet({}, eu={"nat": True}))


def test_a_declared_endpoint_comes_before_what_the_backend_says() -> None:
    endpoints = [
        {"node": "eu-0", "host": "VPN.Example.net", "port": 51999},
        {"node": "us-0", "host": "2001:DB8::7"},
        {"node": "us-1", "host": "none"},
    ]
    graph = compiled(fleet({"endpoints": endpoints}, eu={"nat": True, "count": 1}))
    seen = inputs(graph, "gates-0/peers")["peers"]
    assert seen["eu-0"]["endpoint"] == "vpn.example.net:51999"
    assert seen["us-0"]["endpoint"] == "[2001:db8::7]:51820"
    assert seen["us-1"]["endpoint"] == ""
    assert seen["gates-1"]["endpoint"] == "172.30.0.2:51820"
    assert all(member.anywhere for member in graph.exported(MeshMember))


@pytest.mark.parametrize(
    ("mesh", "backends", "mtu", "reason"),
    [
        ({}, {}, 1440, "1500 of the underlay less 60 for WireGuard over IPv4"),
        ({}, {pool: {"mtu": 9000} for pool in POOLS}, 8940, "9000 of the underlay less 60 for WireGuard over IPv4"),
        (
            {},
            {"us": {"mtu": 1450}},
            1390,
            "1450 of the underlay of us-0, the least, less 60 for WireGuard over IPv4",
        ),
        (
            {"endpoints": [{"node": "us-0", "host": "2001:db8::7"}]},
            {},
            1420,
            "1500 of the underlay less 80 for WireGuard over IPv6",
        ),
        (
            {"endpoints": [{"node": "us-0", "host": "vpn.example.net"}]},
            {},
            1420,
            "1500 of the underlay less 80 for WireGuard over IPv6, where a DNS name may lead",
        ),
        ({"mtu": 1400}, {}, 1400, None),
    ],
    ids=["Ethernet", "jumbo", "VXLAN", "IPv6", "a name may be IPv6", "declared"],
)
def test_the_mtu_follows_from_the_underlay_with_the_reason(
    mesh: Mapping[str, Any], backends: Mapping[str, Any], mtu: int, reason: str | None
) -> None:
    graph = compiled(fleet(mesh, **backends))
    for member in graph.exported(MeshMember):
        found = inputs(graph, member.node)
        assert found["mtu"] == mtu
        assert found.get("notes", {}).get("mtu") == reason


def test_only_the_mtu_changes_with_the_underlay_and_never_its_reason() -> None:
    before = inputs(compiled(fleet({"mtu": 1440})), "eu-0")
    after = inputs(compiled(fleet({})), "eu-0")
    assert before != after
    assert resource_type("swarm:mesh:Interface").diff(before, after) == []


def test_an_address_that_is_reserved_now_moves_and_plan_says_so_while_all_others_stay() -> None:
    first = compiled(fleet({}))
    held = inputs(first, "eu-0")["addresses"][0].partition("/")[0]
    reserved = [f"{held}-{held}", "10.88.0.0/24"]
    second = compiled(fleet({"reserved": reserved}), first)
    for member in second.exported(MeshMember):
        before, after = inputs(first, member.node), inputs(second, member.node)
        assert not any(member.addresses[0] in Span(text) for text in reserved)
        if member.node != "eu-0":
            assert before["addresses"] == after["addresses"]
    before, after = inputs(first, "eu-0"), inputs(second, "eu-0")
    assert before["addresses"][0] != after["addresses"][0]
    assert before["addresses"][1] == after["addresses"][1]
    texts = [effect.text for effect in resource_type("swarm:mesh:Interface").effects(before, after)]
    assert f"-{held}/16 ({held}-{held} is reserved)" in texts[0]
    assert digest(compiled(fleet({"reserved": reserved}), second)) == digest(second)


def test_addresses_stay_while_machines_come_and_go() -> None:
    graph = compiled(fleet({"topology": {"regions": {"gateways": GATEWAY}}}))
    known = {member.node: member.addresses for member in graph.exported(MeshMember)}
    for counts in ((1, 9), (7, 0), (3, 3), (0, 5), (9, 9)):
        pools = {**POOLS, "eu": {**POOLS["eu"], "count": counts[0]}, "us": {**POOLS["us"], "count": counts[1]}}
        graph = compiled(fleet({"topology": {"regions": {"gateways": GATEWAY}}}, pools), graph)
        now = {member.node: member.addresses for member in graph.exported(MeshMember)}
        assert all(now[node] == known[node] for node in now.keys() & known.keys())
        assert len({address for addresses in now.values() for address in addresses}) == 2 * len(now)
        known = now


def test_a_region_lies_around_the_addresses_that_are_declared_in_it() -> None:
    """Others of its region get theirs beside it, so that gateways send them all by one prefix."""
    fixed = {"addresses": [{"node": "us-0", "addresses": ["10.88.77.5"]}]}
    graph = compiled(fleet({"topology": {"regions": {"gateways": GATEWAY}}, **fixed}))
    addresses = {member.node: ip_address(member.addresses[0]) for member in graph.exported(MeshMember)}
    assert str(addresses["us-0"]) == "10.88.77.5"
    block = ip_network("10.88.77.0/24")
    assert {node for node, address in addresses.items() if address in block} == {"us-0", "us-1", "gates-us-0"}
