"""Crowded meshes in few words: what is bundled, and that nothing gets lost in it."""

from __future__ import annotations

from itertools import combinations

import pytest

from swarmctl.operations.graph import Group, Picture, Use, focused
from swarmctl.operations.graph_scheme import Scheme, bundles, scheme
from tests.graph.topologies import FLEETS, TOPOLOGIES, params, seen

EVERY = [(topology, size) for topology in TOPOLOGIES for size in FLEETS] + [("full", 0), ("regions", 0), ("relays", 0)]


def among(groups: tuple[Group, ...], picture: Picture) -> set[tuple[str, str]]:
    names = [node.name for group in groups for node in picture.groups[group]]
    return {(min(pair), max(pair)) for pair in combinations(names, 2)}


def told(found: Scheme, picture: Picture) -> list[tuple[str, str]]:
    """Every tunnel that somebody who sees only the drawing would believe in; lines and cards say a number only."""
    pairs = []
    for knot in found.knots:
        if knot.others:
            both = among(knot.groups, picture)
            pairs += list(both - among(knot.members, picture) - among(knot.others, picture))
        else:
            pairs += list(among(knot.members, picture))
    for region in found.regions:
        pairs += list(among(tuple(picture.regions[region]), picture))
    return pairs


@pytest.mark.parametrize(("topology", "size"), params(*EVERY))
def test_what_is_bundled_is_exactly_what_is_there(topology: str, size: int) -> None:
    picture = seen(topology, size)
    found = scheme(picture)
    there = {(min(tunnel.a, tunnel.b), max(tunnel.a, tunnel.b)) for tunnel in picture.tunnels}
    pairs = told(found, picture)
    assert set(pairs) <= there
    assert sum(count.tunnels for count in bundles(picture).values()) == len(picture.tunnels)
    where = picture.where
    lined = {
        pair for pair in there if (key := (where[pair[0]], where[pair[1]])) in found.lines or key[::-1] in found.lines
    }
    inside = {pair for pair in there if where[pair[0]] == where[pair[1]]}
    assert lined.isdisjoint(pairs), "drawn twice"
    assert len(lined) == sum(count.tunnels for count in found.lines.values())
    assert set(pairs) | lined | inside == there
    crossing = [pair for pair in pairs if pair not in inside]
    assert len(crossing) == len(set(crossing)), "drawn twice"


@pytest.mark.parametrize(
    ("topology", "lines", "knots", "regions"),
    [
        ("full", 0, 1, 0),
        ("hubs", 0, 2, 0),
        ("regions", 0, 1, 4),
        ("relays", 0, 3, 0),
        ("links", 4, 0, 0),
        ("combine", 9, 0, 1),
    ],
)
@pytest.mark.slow
def test_five_hundred_nodes_take_few_words(topology: str, lines: int, knots: int, regions: int) -> None:
    found = scheme(seen(topology, 500))
    assert (len(found.lines), len(found.knots), len(found.regions)) == (lines, knots, regions)


def test_very_many_pools_are_drawn_by_region() -> None:
    picture = seen("regions", 0)
    assert len({node.pool for node in picture.nodes}) == 75
    assert len(picture.groups) == 50
    assert [knot.nodes for knot in scheme(picture).knots] == [50]


def test_nodes_of_a_pool_that_are_something_else_for_others_are_a_group_of_their_own() -> None:
    groups = seen("relays", 50).groups
    assert Group("us-east", "workers-us", "", True) in groups
    assert Group("us-east", "gate-us", "relay") in groups
    assert Group("us-east", "gate-us", "gateway") in seen("regions", 50).groups


@pytest.mark.parametrize(
    ("topology", "role"), [("hubs", "hub"), ("regions", "gateway"), ("relays", "relay"), ("links", "transit")]
)
def test_who_passes_traffic_on_says_why(topology: str, role: str) -> None:
    nodes = {node.name: node for node in seen(topology, 5).nodes}
    assert nodes["gate-eu-0"].role == role
    assert nodes["workers-eu-1"].role == ""
    assert [name for name, node in nodes.items() if node.nat] == (["workers-us-0"] if topology == "relays" else [])


def test_a_tunnel_says_what_it_is_used_for() -> None:
    uses = {(tunnel.a, tunnel.b): tunnel.use for tunnel in seen("hubs", 5).tunnels}
    assert uses["gate-eu-0", "workers-us-0"] is Use.THROUGH
    assert uses["gate-us-0", "workers-us-0"] is Use.STANDBY
    assert uses["gate-eu-0", "gate-us-0"] is Use.DIRECT
    assert {tunnel.use for tunnel in seen("full", 50).tunnels} == {Use.DIRECT}
    ways = {node.name: node.ways for node in seen("relays", 50).nodes}
    relays = tuple(f"gate-{region}-{number}" for region in ("ap", "eu", "us") for number in range(2))
    assert ways["workers-us-3"] == (relays,)
    assert ways["workers-eu-0"] == ()


def test_one_node_is_shown_with_what_it_has_to_do_with_alone() -> None:
    picture = focused(seen("hubs", 500), "workers-us-7")
    assert {node.name for node in picture.nodes if not node.role} == {"workers-us-7"}
    assert len(picture.tunnels) == len(picture.nodes) - 1 == 11
    assert {(flow.name, flow.sources) for flow in picture.flows if flow.targets != ("workers-us-7",)} == {
        (name, ("workers-us-7",)) for name in ("jobs", "gossip", "debug")
    }


@pytest.mark.slow
def test_in_a_crowd_the_node_that_is_asked_for_has_a_card_of_its_own() -> None:
    picture = focused(seen("full", 500), "workers-us-7")
    assert Group("us-east", "workers-us", node="workers-us-7") in picture.groups
    assert len(picture.tunnels) == 499
    assert (
        scheme(picture)
        .lines[Group("us-east", "workers-us", node="workers-us-7"), Group("us-east", "workers-us")]
        .tunnels
        == 139
    )
