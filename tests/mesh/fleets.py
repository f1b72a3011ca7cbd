"""Fleets and topologies for property tests of the mesh compiler."""

from __future__ import annotations

from hypothesis import strategies as st

from swarmctl.mesh.compiler import Combine, Full, Hubs, Links, Member, Part, Regions

CIDRS = ("10.88.0.0/16", "fd88::/64")
Topology = Full | Hubs | Regions | Links | Combine


def member(number: int, **more: object) -> Member:
    """Node `n-NUMBER` with IPv4 below the mesh; every third one has IPv6 too and prefers it."""
    six = (f"fd30::{number:x}",) if number % 3 == 0 else ()
    given_: dict[str, object] = {"underlay": (*six, f"172.30.0.{number}"), **more}
    return Member(f"n-{number}", (f"10.88.0.{number}", f"fd88::{number:x}"), **given_)  # type: ignore[arg-type]


@st.composite
def fleets(draw: st.DrawFn, least: int = 1, most: int = 9, *, odd: bool = True) -> list[Member]:
    """Members in up to three regions, some of them relays; `odd`: also behind NAT, with names, or of one family."""
    numbers = draw(st.sets(st.integers(1, 99), min_size=least, max_size=most))
    made = []
    for number in sorted(numbers):
        more: dict[str, object] = {
            "region": draw(st.sampled_from(["", "eu", "us"])),
            "relay": draw(st.booleans()),
        }
        if odd:
            more["endpoint"] = draw(
                st.sampled_from(["", "", None, "vpn.example.net", f"192.0.2.{number}", "2001:db8::1"])
            )
            if draw(st.integers(0, 5)) == 0:
                more["underlay"] = (f"fd30::{number:x}",)
        made.append(member(number, **more))
    return made


def some(names: list[str]) -> st.SearchStrategy[frozenset[str]]:
    """Some of the names, at least one."""
    return st.frozensets(st.sampled_from(names), min_size=1)


def simple(names: list[str]) -> st.SearchStrategy[Full | Hubs | Regions | Links]:
    """Any topology that is no combination."""
    pairs = st.tuples(st.sampled_from(names), st.sampled_from(names))
    return st.one_of(
        st.just(Full()),
        some(names).map(Hubs),
        some(names).map(Regions),
        st.frozensets(pairs, max_size=2 * len(names)).map(Links),
    )


@st.composite
def topologies(draw: st.DrawFn, names: list[str]) -> Topology:
    """Any topology over these nodes."""
    if draw(st.booleans()):
        return draw(simple(names))
    parts = draw(st.lists(st.tuples(some(names), simple(names)), min_size=1, max_size=3))
    return Combine(tuple(Part(members, topology) for members, topology in parts))


@st.composite
def whole(draw: st.DrawFn, **more: object) -> tuple[list[Member], Topology]:
    """A fleet and a topology for it."""
    fleet = draw(fleets(**more))  # type: ignore[arg-type]
    return fleet, draw(topologies([one.name for one in fleet]))
