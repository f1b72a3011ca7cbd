"""The address plan: unique, inside the network, and stable while nodes come and go."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmctl.mesh.addresses import Exhausted, allocate, capacity

NETWORKS = ["10.88.0.0/24", "10.88.0.0/16", "fd88::/64", "fd88::/120", "192.0.2.0/28"]
names = st.sets(st.integers(0, 40).map(lambda number: f"n-{number}"), max_size=14)


@settings(deadline=None)
@given(st.sampled_from(NETWORKS), st.lists(names, min_size=1, max_size=6))
def test_addresses_are_unique_usable_and_kept_through_any_sequence_of_changes(
    network: str, rounds: list[set[str]]
) -> None:
    net = ip_network(network)
    before: dict[str, str] = {}
    for wanted in rounds:
        plan = allocate(network, wanted, before)
        assert plan.keys() == wanted
        assert len(set(plan.values())) == len(wanted)
        for name, address in plan.items():
            assert ip_address(address) in net
            assert ip_address(address) != net.network_address
            if net.version == 4:
                assert ip_address(address) != net.broadcast_address
            if name in before:
                assert address == before[name]
        before = plan


@settings(deadline=None)
@given(names)
def test_the_plan_does_not_depend_on_the_order_of_names(wanted: set[str]) -> None:
    assert allocate("10.88.0.0/24", sorted(wanted), {}) == allocate("10.88.0.0/24", sorted(wanted, reverse=True), {})


def test_most_nodes_find_their_old_address_even_without_the_old_plan() -> None:
    everyone = [f"workers-{number}" for number in range(100)]
    whole, without = allocate("10.88.0.0/16", everyone, {}), allocate("10.88.0.0/16", everyone[1:], {})
    assert sum(whole[name] == without[name] for name in everyone[1:]) >= 98


@pytest.mark.parametrize(
    "useless", ["10.88.0.0", "10.88.0.255", "10.89.0.1", "fd88::1", "nonsense", ""], ids=lambda text: text or "empty"
)
def test_a_previous_address_that_cannot_be_used_is_replaced(useless: str) -> None:
    address = allocate("10.88.0.0/24", ["a"], {"a": useless})["a"]
    assert address != useless
    assert ip_address(address) in ip_network("10.88.0.0/24")


def test_two_nodes_that_claim_one_address_do_not_both_get_it() -> None:
    plan = allocate("10.88.0.0/24", ["a", "b"], {"a": "10.88.0.7", "b": "10.88.0.7"})
    assert plan["a"] == "10.88.0.7" != plan["b"]


@pytest.mark.parametrize(
    ("network", "size"),
    [
        ("10.0.0.0/30", 2),
        ("10.0.0.0/31", 2),
        ("10.0.0.0/32", 1),
        ("fd00::/126", 3),
        ("fd00::/127", 2),
        ("fd00::/128", 1),
    ],
)
def test_a_network_is_used_to_the_last_address_and_no_further(network: str, size: int) -> None:
    assert capacity(network) == size
    wanted = [f"n-{number}" for number in range(size)]
    assert len(set(allocate(network, wanted, {}).values())) == size
    with pytest.raises(Exhausted, match=f"has {size} usable addresses and {size + 1} nodes"):
        allocate(network, [*wanted, "one-more"], {})
