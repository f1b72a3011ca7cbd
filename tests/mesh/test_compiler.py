"""The mesh compiler: tunnels have two ends, packets and answers take the same way, and peers are shared."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from itertools import combinations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from swarmctl.kinds.mesh.resolve import is_address
from swarmctl.mesh.compiler import (
    Full,
    Hubs,
    Links,
    Member,
    Mesh,
    NoCommonFamily,
    NoGateway,
    NoRelay,
    NotConnected,
    Peer,
    Regions,
    Unconnected,
)
from tests.mesh.crypto_routing import World, lost
from tests.mesh.fleets import CIDRS, Topology, fleets, member, some, whole

Case = tuple[list[Member], Topology]


def compiled(fleet: list[Member], topology: Topology, keepalive: int = 0) -> Mesh:
    return Mesh(fleet, cidrs=CIDRS, topology=topology, keepalive=keepalive)


def graph(mesh: Mesh) -> dict[str, dict[str, Peer]]:
    return {one.name: {peer.name: peer for peer in mesh.peers(one.name)} for one in mesh.members}


def sound(case: Case) -> Mesh:
    """The mesh, where what is asked for can be had."""
    mesh = compiled(*case)
    assume(not list(mesh.faults()))
    return mesh


@settings(deadline=None, max_examples=50)
@given(whole())
def test_every_tunnel_has_two_ends_and_one_that_can_begin(case: Case) -> None:
    mesh = sound(case)
    peers = graph(mesh)
    ends = {(one, other) for one, others in peers.items() for other in others}
    assert ends == {pair for one, other in mesh.tunnels() for pair in ((one, other), (other, one))}
    assert len(list(mesh.tunnels())) * 2 == len(ends)
    assert not any(one == other for one, other in ends)
    underlay = {one.name: one.underlay for one in mesh.members}
    # An address as a node's endpoint is somebody's word that it has that family.
    own = {one.name: (*one.underlay, *filter(is_address, [one.endpoint or ""])) for one in mesh.members}
    for one, other in ends:
        there, back = peers[one][other], peers[other][one]
        assert there.endpoint or back.endpoint
        if not back.endpoint:  # it must begin, and keep the way open
            assert there.keepalive == 25
        if there.address in underlay[other]:
            assert {ip_address(there.address).version} <= {ip_address(text).version for text in own[one]}
        assert bool(there.address) == bool(there.endpoint)


@settings(deadline=None, max_examples=50)
@given(whole())
def test_no_allowed_ip_of_a_node_belongs_to_two_peers_and_none_to_itself(case: Case) -> None:
    mesh = sound(case)
    for one in mesh.members:
        found = [network for peer in mesh.peers(one.name) for network in peer.allowed_ips]
        assert len(found) == len(set(found))
        assert not any(
            ip_network(network).num_addresses == 1 and network.split("/")[0] in one.addresses for network in found
        )


@settings(deadline=None, max_examples=100)
@given(whole())
def test_packets_and_answers_take_the_same_way_wherever_there_is_one(case: Case) -> None:
    mesh = sound(case)
    world = World(mesh)
    for one, other in combinations(sorted(world.addresses), 2):
        way = mesh.path(one, other)
        assert mesh.path(other, one) == way[::-1]
        for family in (0, 1):
            assert world.send(one, other, family) == way
            assert world.send(other, one, family) == way[::-1]


@settings(deadline=None, max_examples=50)
@given(whole())
def test_what_the_topology_promises_is_kept_or_refused_by_name(case: Case) -> None:
    fleet, topology = case
    mesh = compiled(fleet, topology)
    faults = list(mesh.faults())
    for fault in faults:
        assert not mesh.path(*fault.nodes[:2])
        assert fault.hint
        with pytest.raises(Unconnected):
            mesh.peers(fault.nodes[0])
    if not faults and isinstance(topology, Full | Hubs | Regions):
        assert lost(World(mesh), [one.name for one in fleet]) == []
    if not faults and isinstance(topology, Links):
        assert all(mesh.path(*link) for link in topology.links)


@settings(deadline=None, max_examples=50)
@given(fleets(odd=False))
def test_in_a_full_mesh_everyone_has_everyone_else(fleet: list[Member]) -> None:
    everyone = {one.name: one for one in fleet}
    for name, others in graph(compiled(fleet, Full())).items():
        assert others.keys() == everyone.keys() - {name}
        for other, peer in others.items():
            v4, v6 = everyone[other].addresses
            assert peer.allowed_ips == (f"{v4}/32", f"{v6}/128")


@settings(deadline=None, max_examples=50)
@given(fleets(odd=False), st.data())
def test_with_hubs_spokes_have_tunnels_to_hubs_only(fleet: list[Member], data: st.DataObject) -> None:
    names = [one.name for one in fleet]
    hubs = data.draw(some(names))
    mesh = compiled(fleet, Hubs(hubs))
    for name, others in graph(mesh).items():
        assert others.keys() == (set(names) if name in hubs else hubs) - {name}
    for one, other in combinations(sorted(set(names) - hubs), 2):
        assert mesh.path(one, other) == (one, min(hubs), other)


@settings(deadline=None, max_examples=50)
@given(fleets(odd=False), st.data())
def test_between_regions_only_gateways_have_tunnels(fleet: list[Member], data: st.DataObject) -> None:
    gateways = data.draw(some([one.name for one in fleet]))
    region = {one.name: one.region for one in fleet}
    assume(len(set(region.values())) == 1 or {region[one] for one in gateways} == set(region.values()))
    mesh = compiled(fleet, Regions(gateways))
    for name, others in graph(mesh).items():
        own = {other for other in region if region[other] == region[name]}
        assert others.keys() == (own | gateways if name in gateways else own) - {name}
    for one, other in combinations(sorted(region), 2):
        first = {
            where: min(gate for gate in gateways if region[gate] == where) for where in set(region.values()) if gateways
        }
        if region[one] == region[other]:
            assert mesh.path(one, other) == (one, other)
        else:
            ends = [name if name in gateways else first[region[name]] for name in (one, other)]
            assert mesh.path(one, other) == tuple(dict.fromkeys([one, *ends, other]))


def test_nodes_without_a_common_address_family_are_refused_by_name() -> None:
    mesh = compiled([member(1), member(2, underlay=("fd30::2",))], Full())
    with pytest.raises(NoCommonFamily, match="n-1 and n-2 share no address family"):
        mesh.peers("n-1")


def test_a_declared_endpoint_is_used_by_whom_may_have_its_family() -> None:
    def seen(*fleet: Member) -> dict[str, dict[str, str]]:
        peers = graph(compiled(list(fleet), Full()))
        return {one: {other: peer.endpoint for other, peer in found.items()} for one, found in peers.items()}

    six = member(1, endpoint="2001:db8::1")
    # Both are said to have it.
    assert seen(six, member(2, endpoint="2001:db8::2")) == {
        "n-1": {"n-2": "[2001:db8::2]:51820"},
        "n-2": {"n-1": "[2001:db8::1]:51820"},
    }
    # Nobody knows what the other one has.
    assert seen(six, member(2, underlay=(), endpoint=None))["n-2"] == {"n-1": "[2001:db8::1]:51820"}
    # It has IPv4 alone: it is met from the other end.
    assert seen(six, member(2)) == {"n-1": {"n-2": "172.30.0.2:51820"}, "n-2": {"n-1": ""}}
    with pytest.raises(NoCommonFamily, match="n-1 and n-2 share no address family"):
        seen(six, member(2, endpoint=None))


def test_two_nodes_behind_nat_need_a_relay() -> None:
    hidden = [member(1, endpoint=None), member(2, endpoint=None), member(3)]
    with pytest.raises(NoRelay, match="neither n-2 nor n-1"):
        compiled(hidden, Full()).peers("n-2")
    mesh = compiled([*hidden, member(4, relay=True)], Full())
    peers = {peer.name: peer for peer in mesh.peers("n-1")}
    assert peers.keys() == {"n-3", "n-4"}
    assert peers["n-4"].allowed_ips == CIDRS
    assert peers["n-4"].why.startswith("relay: ")
    assert (peers["n-3"].keepalive, peers["n-3"].why) == (25, "behind NAT: keeps the tunnel open")
    assert [(peer.endpoint, peer.why) for peer in mesh.peers("n-3")][:2] == [("", "behind NAT: waits for it")] * 2


def test_a_region_without_a_gateway_is_refused_by_name() -> None:
    fleet = [member(1, region="eu"), member(2, region="eu"), member(4, region="us")]
    with pytest.raises(NoGateway, match="the region 'us' has no gateway"):
        compiled(fleet, Regions(frozenset({"n-1"}))).peers("n-2")


def test_hubs_of_another_part_do_not_hide_that_there_are_none() -> None:
    with pytest.raises(NotConnected):
        compiled([member(1), member(2)], Hubs(frozenset())).peers("n-1")


def test_keepalive_is_declared_for_all_and_short_enough_behind_nat() -> None:
    fleet = [member(1, endpoint=None), member(2)]
    for declared, (hidden, open_) in {0: (25, 0), 10: (10, 10), 60: (25, 60)}.items():
        mesh = compiled(fleet, Full(), declared)
        assert mesh.peers("n-1")[0].keepalive == hidden
        assert mesh.peers("n-2")[0].keepalive == open_


def test_endpoints_are_names_or_addresses_with_the_port_that_others_use() -> None:
    fleet = [member(1), member(2, endpoint="vpn.example.net", port=4500), member(4, endpoint="2001:db8::4")]
    assert compiled(fleet, Full()).peers("n-1")[0].endpoint == "vpn.example.net:4500"
    with pytest.raises(KeyError):
        compiled(fleet, Full()).peers("n-9")
    # n-1 has no IPv6: n-4 begins.
    assert [peer.endpoint for peer in compiled(fleet, Full()).peers("n-1")] == ["vpn.example.net:4500", ""]
    (first, *_) = compiled(fleet, Full()).peers("n-4")
    assert (first.endpoint, first.keepalive) == ("172.30.0.1:51820", 25)


def test_links_lead_over_others_by_the_shortest_way_and_the_first_by_name() -> None:
    fleet = [member(number) for number in (1, 2, 4, 5, 7)]
    links = frozenset({("n-1", "n-2"), ("n-5", "n-1"), ("n-2", "n-4"), ("n-4", "n-5"), ("n-4", "n-7")})
    mesh = compiled(fleet, Links(links))
    assert mesh.path("n-1", "n-7") == ("n-1", "n-2", "n-4", "n-7")
    assert [group.via for group in mesh.failover("n-1")] == [("n-2", "n-5")]
    assert not mesh.forwards("n-7")
    assert mesh.forwards("n-4")


def test_peers_are_shared_between_nodes() -> None:
    fleet = [Member(f"n-{i}", (f"10.88.0.{i}",), (f"172.30.0.{i}",)) for i in range(1, 101)]
    mesh = Mesh(fleet, cidrs=CIDRS[:1], topology=Full(), keepalive=0)
    assert len({id(peer) for one in fleet for peer in mesh.peers(one.name)}) == len(fleet)
