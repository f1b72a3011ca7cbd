"""Nodes of one region have their addresses from blocks of their own, as long as there are any."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmctl.mesh.addresses import allocate
from swarmctl.mesh.blocks import length, suggest
from swarmctl.mesh.compiler import Member, Mesh, Regions
from tests.mesh.crypto_routing import World, lost

CIDRS = ("10.88.0.0/16", "fd88::/64")
FLEETS = st.dictionaries(
    st.integers(1, 300).map(lambda number: f"n-{number}"), st.sampled_from(["eu", "us", "asia"]), max_size=40
)


def plan(
    network: str, regions: dict[str, str], before: dict[str, str], reserved: tuple[str, ...] = ()
) -> dict[str, str]:
    return allocate(network, regions, suggest(network, regions, before, reserved), reserved)


def block(network: str, address: str) -> str:
    return str(ip_network(f"{address}/{length(network)}", strict=False))


@pytest.mark.parametrize(
    ("network", "expected"),
    [("10.88.0.0/16", 24), ("10.0.0.0/8", 16), ("10.88.0.0/24", 30), ("10.88.0.0/31", 31), ("fd88::/64", 72)],
)
def test_a_network_has_256_blocks_of_four_addresses_at_least(network: str, expected: int) -> None:
    assert length(network) == expected


@settings(deadline=None, max_examples=50)
@given(FLEETS, FLEETS, st.sampled_from(CIDRS))
def test_no_block_of_a_region_has_nodes_of_another_whoever_comes_and_goes(
    first: dict[str, str], then: dict[str, str], network: str
) -> None:
    before = plan(network, first, {})
    second = {**then, **{name: region for name, region in first.items() if name in then}}
    after = plan(network, second, before)
    assert all(after[name] == before[name] for name in second if name in before)
    for regions, found in ((first, before), (second, after)):
        assert len(set(found.values())) == len(found) == len(regions)
        owners: dict[str, set[str]] = {}
        for name, address in found.items():
            owners.setdefault(block(network, address), set()).add(regions[name])
        assert all(len(owner) == 1 for owner in owners.values())
        assert len(owners) == len(set(regions.values()))


def test_where_blocks_run_out_nodes_find_a_place_elsewhere() -> None:
    regions = {f"n-{number}": f"r{number % 100}" for number in range(200)}
    found = plan("10.88.0.0/24", regions, {})
    assert len(set(found.values())) == 200


def test_what_is_reserved_or_useless_is_not_kept() -> None:
    reserved = ("10.88.0.0-10.88.255.200",)
    before = {"a": "10.88.0.7", "b": "10.88.255.201", "c": "10.88.255.201", "d": "fd88::7", "gone": "10.88.255.202"}
    found = plan("10.88.0.0/16", dict.fromkeys("abcd", "eu"), before, reserved)
    assert found["b"] == "10.88.255.201"
    assert len(set(found.values())) == 4
    assert all(int(ip_address(address)) > int(ip_address("10.88.255.200")) for address in found.values())


def fleet(count: int, before: dict[str, dict[str, str]]) -> list[Member]:
    """`count` nodes in three regions, of each the first a gateway and every fourth behind NAT."""
    regions = {f"n-{number}": f"r{number % 3}" for number in range(count)}
    for cidr in CIDRS:
        before[cidr] = plan(cidr, regions, before.get(cidr, {}))
    return [
        Member(
            name,
            tuple(before[cidr][name] for cidr in CIDRS),
            (f"172.30.0.{number}",),
            None if number > 5 and number % 4 == 0 else "",
            region=regions[name],
            relay=number in (3, 4, 5),
        )
        for number, name in enumerate(regions)
    ]


def test_gateways_are_told_blocks_and_learn_nothing_of_a_node_in_another_region() -> None:
    before: dict[str, dict[str, str]] = {}
    topology = Regions(frozenset({"n-0", "n-1", "n-2"}))
    meshes = [Mesh(fleet(count, before), cidrs=CIDRS, topology=topology, keepalive=0) for count in (30, 31)]
    last = meshes[1].members[[member.name for member in meshes[1].members].index("n-30")]
    learnt = {peer.name for peer in meshes[1].peers(last.name)}
    for member in meshes[0].members:
        old, new = ({peer.name: peer for peer in mesh.peers(member.name)} for mesh in meshes)
        changed = {name for name in {*old, *new} if old.get(name) != new.get(name)}
        assert changed == ({last.name} if member.name in learnt else set())
    (there,) = (peer for peer in meshes[0].peers("n-0") if peer.name == "n-1")
    assert len(there.allowed_ips) == 4
    assert lost(World(meshes[1]), [member.name for member in meshes[1].members]) == []
