"""The mesh compiler: tunnels have two ends, connect what was declared, and peers are shared and not copied."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmctl.mesh.compiler import Member, Mesh, NoCommonFamily, Peer

CIDRS = ("10.88.0.0/16", "fd88::/64")


@st.composite
def fleets(draw: st.DrawFn) -> list[Member]:
    numbers = draw(st.sets(st.integers(1, 200), min_size=1, max_size=12))
    hubs = draw(st.sets(st.sampled_from(sorted(numbers)), min_size=1))
    return [
        Member(
            name=f"n-{number}",
            addresses=(f"10.88.0.{number}", f"fd88::{number:x}"),
            # Everyone has IPv4, some have IPv6 too: what a node without it must not be offered.
            underlay=(f"fd30::{number:x}", f"172.30.0.{number}") if number % 3 == 0 else (f"172.30.0.{number}",),
            hub=number in hubs,
        )
        for number in sorted(numbers)
    ]


def graph(mesh: Mesh) -> dict[str, dict[str, Peer]]:
    return {member.name: {peer.name: peer for peer in mesh.peers(member.name)} for member in mesh.members}


@settings(deadline=None)
@given(fleets(), st.booleans())
def test_every_tunnel_has_two_ends_and_a_way_between_them(fleet: list[Member], hubs: bool) -> None:
    mesh = Mesh(fleet, cidrs=CIDRS, port=51820, hubs=hubs)
    peers = graph(mesh)
    underlay = {member.name: member.underlay for member in fleet}
    for name, others in peers.items():
        assert name not in others
        for other, peer in others.items():
            assert name in peers[other]
            assert peer.address in underlay[other]
            versions = {ip_address(address).version for address in underlay[name]}
            assert ip_address(peer.address).version in versions
            assert peer.endpoint in (f"{peer.address}:51820", f"[{peer.address}]:51820")


@settings(deadline=None)
@given(fleets())
def test_in_a_full_mesh_everyone_has_everyone_else(fleet: list[Member]) -> None:
    everyone = {member.name: member for member in fleet}
    for name, others in graph(Mesh(fleet, cidrs=CIDRS, port=1, hubs=False)).items():
        assert others.keys() == everyone.keys() - {name}
        for other, peer in others.items():
            v4, v6 = everyone[other].addresses
            assert peer.allowed_ips == (f"{v4}/32", f"{v6}/128")


def route(peers: dict[str, Peer], address: str) -> str | None:
    """Where cryptokey routing sends a packet: to the peer with the longest prefix."""
    fits = [
        (ip_network(prefix).prefixlen, peer.name)
        for peer in peers.values()
        for prefix in peer.allowed_ips
        if ip_address(address) in ip_network(prefix)
    ]
    return max(fits)[1] if fits else None


@settings(max_examples=25, deadline=None)
@given(fleets())
def test_with_hubs_every_packet_arrives_over_at_most_one_hub_and_answers_take_the_same_way(fleet: list[Member]) -> None:
    mesh = Mesh(fleet, cidrs=CIDRS, port=51820, hubs=True)
    peers = graph(mesh)
    hub = {member.name: member.hub for member in fleet}
    for source in fleet:
        assert mesh.forwards(source.name) == source.hub
        expected = {other.name for other in fleet if other is not source and (source.hub or other.hub)}
        assert peers[source.name].keys() == expected
        for target in fleet:
            if source is target:
                continue
            for address in target.addresses:
                first = route(peers[source.name], address)
                if hub[source.name] or hub[target.name]:
                    assert first == target.name
                else:
                    assert first == min(name for name in hub if hub[name])
                    assert route(peers[first], address) == target.name
                # What comes in is accepted from the peer that also gets the answer.
                last = first if first != target.name else source.name
                assert route(peers[target.name], source.addresses[0]) == last


def test_one_prefix_never_leads_to_two_peers() -> None:
    fleet = [Member(f"n-{i}", (f"10.88.0.{i}",), (f"172.30.0.{i}",), hub=i < 4) for i in range(1, 9)]
    for others in graph(Mesh(fleet, cidrs=CIDRS[:1], port=1, hubs=True)).values():
        prefixes = [prefix for peer in others.values() for prefix in peer.allowed_ips]
        assert len(prefixes) == len(set(prefixes))


def test_nodes_without_a_common_address_family_are_refused_by_name() -> None:
    mesh = Mesh(
        [Member("a", ("10.88.0.1",), ("172.30.0.1",)), Member("b", ("10.88.0.2",), ("fd30::2",))],
        cidrs=CIDRS[:1],
        port=51820,
        hubs=False,
    )
    with pytest.raises(NoCommonFamily, match="a and b share no address family"):
        mesh.peers("a")


def test_peers_are_shared_between_nodes() -> None:
    fleet = [Member(f"n-{i}", (f"10.88.0.{i}",), (f"172.30.0.{i}",)) for i in range(1, 101)]
    mesh = Mesh(fleet, cidrs=CIDRS[:1], port=1, hubs=False)
    assert len({id(peer) for member in fleet for peer in mesh.peers(member.name)}) == len(fleet)
