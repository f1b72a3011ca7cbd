"""Where machines stand: stable, distinct, and decided by names."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmctl.backends.base import PoolRequest
from swarmctl.backends.lab import placement
from swarmctl.backends.lab.placement import LabFull, place
from swarmctl.backends.lab.spec import UNDERLAY, LabHost, LabSpec

NAMES = st.from_regex(r"[a-z][a-z0-9]{0,3}", fullmatch=True)
POOLS = st.dictionaries(NAMES, st.tuples(st.sampled_from(["eu", "us", "ap", ""]), st.integers(0, 12)), max_size=5)


def requests(pools: dict[str, tuple[str, int]]) -> list[PoolRequest]:
    return [PoolRequest(name, "c", region, {}, LabSpec(count=count)) for name, (region, count) in pools.items()]


def state(pools: dict[str, tuple[str, int]], previous: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {found.name: dict(found.inputs) for found in place("s", requests(pools), previous)}


@given(POOLS, POOLS)
@settings(max_examples=60, deadline=None)
def test_a_machine_that_stays_keeps_its_place(before: dict[str, Any], after: dict[str, Any]) -> None:
    first = state(before, {})
    second = state(after, first)
    for name in first.keys() & second.keys():
        if first[name]["region"] == second[name]["region"]:
            assert second[name] == first[name]
    assert state(after, second) == second


@given(POOLS, POOLS)
@settings(max_examples=60, deadline=None)
def test_every_machine_has_an_address_of_its_own_in_its_regions_network(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    found = state(after, state(before, {}))
    interfaces = {name: IPv4Interface(inputs["address"]) for name, inputs in found.items()}
    assert len({interface.ip for interface in interfaces.values()}) == len(found)
    networks: dict[str, IPv4Network] = {}
    for name, inputs in found.items():
        network, gateway = interfaces[name].network, IPv4Address(inputs["gateway"])
        assert network.subnet_of(IPv4Network(UNDERLAY[0]))
        assert gateway in network
        assert interfaces[name].ip not in (gateway, network.network_address, network.broadcast_address)
        assert networks.setdefault(inputs["region"], network) == network
    assert len(set(networks.values())) == len(networks)


def test_the_order_of_pools_does_not_matter() -> None:
    pools = {"a": ("eu", 40), "b": ("us", 40), "c": ("eu", 40)}
    assert state(pools, {}) == state(dict(reversed(pools.items())), {})


def test_a_full_region_uses_every_place_and_then_says_so() -> None:
    found = state({"a": ("eu", 1000), "b": ("eu", placement.MACHINES - 1000)}, {})
    assert len({inputs["address"] for inputs in found.values()}) == placement.MACHINES
    with pytest.raises(LabFull, match="1021 machines in region 'eu'"):
        state({"a": ("eu", 1000), "b": ("eu", placement.MACHINES - 999)}, found)


def test_too_many_regions_are_refused() -> None:
    with pytest.raises(LabFull, match="256 regions"):
        state({f"p{n}": (f"r{n}", 1) for n in range(placement.REGIONS + 1)}, {})


@pytest.mark.parametrize("address", ["", "nonsense", "10.0.0.1/22", "172.20.0.2/24", "172.20.0.0/22", 7, None])
def test_a_place_in_the_state_that_is_none_is_not_kept(address: Any) -> None:
    found = state({"a": ("eu", 1)}, {"a-0": {"region": "eu", "address": address}})
    assert IPv4Interface(found["a-0"]["address"]).network.subnet_of(IPv4Network(UNDERLAY[0]))


def test_two_machines_never_get_one_address_even_when_the_state_says_so() -> None:
    wrong = {"region": "eu", "address": "172.20.0.9/22"}
    found = state({"a": ("eu", 2)}, {"a-0": wrong, "a-1": wrong})
    assert found["a-0"]["address"] != found["a-1"]["address"]


def test_hosts_by_name_have_their_own_labels_and_keys() -> None:
    spec = LabSpec(hosts=[LabHost("gw", {"role": "hub"}), LabHost("db")])
    gateway, database = place("s", [PoolRequest("p", "c", "eu", {"role": "x", "tier": "1"}, spec)], {})
    assert (gateway.name, gateway.key, gateway.labels) == ("gw", "gw", {"role": "hub", "tier": "1"})
    assert database.labels == {"role": "x", "tier": "1"}
    assert gateway.host == {"backend": "lab", "stack": "s", "node": "gw"}
    assert gateway.underlay == (gateway.inputs["address"].partition("/")[0],)


def test_limits_that_are_not_declared_are_not_in_the_inputs() -> None:
    (bare,) = place("s", [PoolRequest("p", "c", "eu", {}, LabSpec(count=1), {"cpus": None, "memory": None})], {})
    assert "resources" not in bare.inputs
    (some,) = place("s", [PoolRequest("p", "c", "eu", {}, LabSpec(count=1), {"cpus": 0.5, "memory": None})], {})
    assert some.inputs["resources"] == {"cpus": 0.5}
