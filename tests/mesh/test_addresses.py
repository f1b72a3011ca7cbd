"""The address plan: unique, inside the network, and stable while nodes come and go."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmctl.mesh.addresses import Exhausted, allocate
from swarmctl.mesh.spans import Span, capacity

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


spans = st.integers(0, 255).flatmap(
    lambda low: st.integers(low, 255).map(
        lambda high: f"10.88.0.{low}-10.88.0.{high}" if low < high else f"10.88.0.{low}"
    )
)


@settings(deadline=None)
@given(st.lists(st.tuples(names, st.lists(spans, max_size=3)), min_size=1, max_size=6))
def test_reserved_addresses_are_never_given_out_and_all_others_are_kept(
    rounds: list[tuple[set[str], list[str]]],
) -> None:
    before: dict[str, str] = {}
    for wanted, reserved in rounds:
        room = capacity("10.88.0.0/24", reserved)
        usable = {str(host) for host in ip_network("10.88.0.0/24").hosts()}
        usable -= {address for address in usable if any(address in Span(text) for text in reserved)}
        assert room == len(usable)
        if room < len(wanted):
            with pytest.raises(Exhausted):
                allocate("10.88.0.0/24", wanted, before, reserved)
            continue
        plan = allocate("10.88.0.0/24", wanted, before, reserved)
        assert len(set(plan.values())) == len(wanted)
        assert set(plan.values()) <= usable
        for name in wanted & before.keys():
            assert (plan[name] == before[name]) == (before[name] in usable)
        before = plan


def test_nodes_spread_over_what_reserved_ranges_leave_as_fast_as_over_a_whole_network() -> None:
    wanted = [f"n-{number}" for number in range(4000)]
    plan = allocate("10.0.0.0/8", wanted, {}, ["10.0.0.0-10.255.239.255"])
    assert all(address in Span("10.255.240.0/20") for address in plan.values())
    assert len(set(plan.values())) == 4000


@pytest.mark.parametrize(
    "text", ["10.88.0.1/24", "10.0.0.9-10.0.0.1", "10.0.0.1-fd88::1", "10.0.0.1-", "-", "", "a-b", "10.0.0.1-20"]
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Span(text)


def test_ranges_compare_by_their_addresses() -> None:
    net, part, other = Span("fd88::/64"), Span("fd88::1-fd88::9"), Span("10.0.0.0/8")
    assert (part.within(net), net.within(part), net.overlaps(part)) == (True, False, True)
    assert not other.overlaps(net)
    assert not other.within(net)
    assert "fd88::a" not in part
    assert Span("fd88::7").text in part


def test_a_fixed_address_goes_to_its_node_whoever_had_it() -> None:
    before = {"a": "10.88.0.1", "b": "10.88.0.2", "c": "10.88.0.3"}
    plan = allocate("10.88.0.0/24", ["a", "b", "c"], before, fixed={"b": "10.88.0.1", "gone": "10.88.0.3"})
    assert plan["b"] == "10.88.0.1"
    assert plan["c"] == "10.88.0.3"
    assert plan["a"] not in ("10.88.0.1", "10.88.0.3")
