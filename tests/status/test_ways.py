"""Ways through nodes that pass traffic on, and through no others."""

from __future__ import annotations

from collections.abc import Iterable

from swarmctl.graph.model import Address, MeshMember
from swarmctl.operations.ways import relayed, ways


def mesh(*tunnels: str, forwards: Iterable[str] = ()) -> dict[str, MeshMember]:
    """Nodes of one letter each, with these tunnels."""
    names = sorted({*"".join(tunnels)})
    return {
        name: MeshMember(
            name,
            "backbone",
            "wg0",
            (),
            (),
            51820,
            tuple(other for pair in tunnels if name in pair for other in pair if other != name),
            name in forwards,
            Address("mesh", "backbone", name),
        )
        for name in names
    }


def test_who_does_not_pass_traffic_on_is_no_way() -> None:
    assert relayed(mesh("ab", "bc"), "a", "c") == ()
    assert relayed(mesh("ab", "bc", forwards="ac"), "a", "c") == ()
    assert relayed(mesh("ab", "bc", forwards="b"), "a", "c") == ("b",)


def test_a_longer_way_through_those_who_do_is_taken_before_a_shorter_one_through_those_who_do_not() -> None:
    assert relayed(mesh("ab", "bd", "ac", "ce", "ed", forwards="ce"), "a", "d") == ("c", "e")


def test_the_shortest_way_and_the_first_by_name() -> None:
    assert relayed(mesh("ac", "cd", "ab", "bd", forwards="bc"), "a", "d") == ("b",)
    assert relayed(mesh("ad", "ab", "bd", forwards="b"), "a", "d") == (), "they have a tunnel"


def test_all_ways_at_once_spare_what_is_down() -> None:
    found = mesh("ab", "bc", "ad", "dc", "ce", forwards="bcd")
    assert ways(found, "a") == {"a": (), "b": (), "d": (), "c": ("b",), "e": ("b", "c")}
    assert ways(found, "a", without={"b"})["e"] == ("d", "c")
    assert "e" not in ways(found, "a", without={"b", "d"})
    assert {"b", "d"}.isdisjoint(ways(found, "a", without={"b", "d"}))
