"""Networks that went to another peer: whatever was moved reads as declared, and setting what is declared leaves it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swarmctl.mesh.failover import as_declared, away, in_place

NETWORKS = {"east": ["10.88.1.0/24", "fd88:1::/64"], "west": ["10.88.2.0/24"]}
DECLARED = {
    "hub-0": ["10.88.0.1/32", *NETWORKS["east"]],
    "hub-1": list(NETWORKS["west"]),  # its own address lies in what it leads to
    "hub-2": ["10.88.0.3/32"],
    "other": ["10.88.0.9/32"],
}
GROUPS = [
    {"networks": NETWORKS["east"], "via": ["hub-0", "hub-1", "hub-2"]},
    {"networks": NETWORKS["west"], "via": ["hub-1", "hub-0"]},
]
HOLDERS = st.tuples(st.sampled_from(GROUPS[0]["via"]), st.sampled_from(GROUPS[1]["via"]))


def moved(holders: tuple[str, str]) -> dict[str, list[str]]:
    """What a node has when its agent has given the groups to these peers."""
    whole = {network for networks in NETWORKS.values() for network in networks}
    found = {name: [it for it in nets if it not in whole] for name, nets in DECLARED.items()}
    for holder, group in zip(holders, GROUPS, strict=True):
        found[holder] += group["networks"]
    if holders[1] != "hub-1":
        found["hub-1"].append("10.88.2.1/32")
    return found


def sets(lists: dict[str, list[str]]) -> dict[str, set[str]]:
    return {name: set(nets) for name, nets in lists.items()}


@given(HOLDERS)
def test_what_was_moved_reads_as_declared_and_stays(holders: tuple[str, str]) -> None:
    found = moved(holders)
    assert sets(found | as_declared(found, DECLARED, GROUPS)) == sets(DECLARED)
    assert sets(DECLARED | in_place(found, DECLARED, GROUPS)) == sets(found)
    lost = away(found, GROUPS)
    assert ("hub-0" in lost, "hub-1" in lost) == (holders[0] != "hub-0", holders[1] != "hub-1")


@given(HOLDERS, st.sampled_from(sorted(DECLARED)))
def test_a_difference_is_a_difference_wherever_networks_are(holders: tuple[str, str], name: str) -> None:
    found = moved(holders)
    found[name].append("192.0.2.0/24")
    seen = sets(found | as_declared(found, DECLARED, GROUPS))
    assert {it for it in seen if seen[it] != set(DECLARED[it])} == {name}
    assert "192.0.2.0/24" not in (DECLARED | in_place(found, DECLARED, GROUPS))[name]


@given(HOLDERS)
def test_nothing_is_explained_by_groups_that_are_not_declared(holders: tuple[str, str]) -> None:
    found = moved(holders)
    assert as_declared(found, DECLARED, []) == in_place(found, DECLARED, []) == {}
