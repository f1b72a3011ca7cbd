"""Nodes that pass traffic on die, one or several, and everybody takes his next choice; then they live again."""

from __future__ import annotations

from itertools import combinations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from swarmctl.mesh.compiler import Combine, Full, Hubs, Member, Mesh, Part, Regions, Role
from tests.mesh.crypto_routing import World, lost
from tests.mesh.fleets import CIDRS, Topology, fleets, member, some, whole


def compiled(fleet: list[Member], topology: Topology) -> Mesh:
    mesh = Mesh(fleet, cidrs=CIDRS, topology=topology, keepalive=0)
    assume(not list(mesh.faults()))
    return mesh


def survive(mesh: Mesh, standing: set[str]) -> None:
    """Whoever of `standing` dies, but for the last: all others go on reaching each other."""
    world, names = World(mesh), [one.name for one in mesh.members]
    assert lost(world, names) == []
    for count in range(1, min(len(standing), 4)):
        for dead in combinations(sorted(standing), count):
            world.kill(dead)
            assert lost(world, names) == [], dead
    world.kill(())
    assert lost(world, names) == []


@settings(deadline=None, max_examples=30)
@given(fleets(least=3, most=7, odd=False), st.data())
def test_spokes_go_on_over_any_hub_that_is_alive(fleet: list[Member], data: st.DataObject) -> None:
    hubs = data.draw(some([one.name for one in fleet]))
    survive(compiled(fleet, Hubs(hubs)), set(hubs))


@settings(deadline=None, max_examples=30)
@given(fleets(least=4, most=7, odd=False), st.data())
def test_regions_go_on_over_any_gateway_that_is_alive(fleet: list[Member], data: st.DataObject) -> None:
    gateways = data.draw(some([one.name for one in fleet]))
    mesh = compiled(fleet, Regions(gateways))
    for region in {one.region for one in fleet}:
        survive(mesh, {one.name for one in fleet if one.region == region and one.name in gateways})


HIDDEN = st.lists(st.sampled_from(["", None, None]), min_size=2, max_size=5)


@settings(deadline=None, max_examples=30)
@given(HIDDEN, st.integers(1, 3), st.integers(0, 2))
def test_nodes_behind_nat_go_on_over_any_relay_that_is_alive(hidden: list[str | None], relays: int, named: int) -> None:
    fleet = [member(number + 1, endpoint=endpoint) for number, endpoint in enumerate(hidden)]
    fleet += [
        member(50 + at, relay=True, endpoint="vpn.example.net" if at == named else "", region="")
        for at in range(relays)
    ]
    survive(compiled(fleet, Full()), {f"n-{50 + at}" for at in range(relays)})


@settings(deadline=None, max_examples=30)
@given(HIDDEN, HIDDEN, st.integers(1, 2))
def test_in_regions_nodes_behind_nat_meet_over_their_gateways(
    here: list[str | None], there: list[str | None], gateways: int
) -> None:
    fleet = [member(number + 1, endpoint=endpoint, region="eu") for number, endpoint in enumerate(here)]
    fleet += [member(number + 11, endpoint=endpoint, region="us") for number, endpoint in enumerate(there)]
    sets = [{f"n-{50 + at}" for at in range(gateways)}, {f"n-{60 + at}" for at in range(gateways)}]
    fleet += [
        member(int(name[2:]), region=region) for region, names in zip(("eu", "us"), sets, strict=True) for name in names
    ]
    mesh = compiled(fleet, Regions(frozenset(set[str]().union(*sets))))
    for names in sets:
        survive(mesh, names)


@settings(deadline=None, max_examples=30)
@given(HIDDEN, HIDDEN, st.integers(1, 3))
def test_in_regions_whose_gateways_are_behind_nat_relays_connect_everything(
    here: list[str | None], there: list[str | None], relays: int
) -> None:
    fleet = [member(number + 1, endpoint=endpoint, region="eu") for number, endpoint in enumerate(here)]
    fleet += [member(number + 11, endpoint=endpoint, region="us") for number, endpoint in enumerate(there)]
    fleet += [member(21, endpoint=None, region="eu"), member(31, endpoint=None, region="us")]
    fleet += [member(50 + at, relay=True, region="") for at in range(relays)]
    mesh = compiled(fleet, Regions(frozenset({"n-21", "n-31", "n-50"})))
    assert lost(World(mesh), [one.name for one in fleet]) == []
    assert any(mesh.role(f"n-{50 + at}") < Role.LINK for at in range(relays))


@settings(deadline=None, max_examples=30)
@given(fleets(least=4, most=8, odd=False), st.data())
def test_hubs_of_a_combination_stand_in_for_each_other(fleet: list[Member], data: st.DataObject) -> None:
    names = [one.name for one in fleet]
    hubs, inside = data.draw(some(names)), data.draw(some(names))
    parts = (Part(frozenset(names), Hubs(hubs)), Part(inside, Full()))
    survive(compiled(fleet, Combine(parts)), set(hubs))


@settings(deadline=None, max_examples=50)
@given(whole(), st.data())
def test_whoever_dies_no_packet_goes_in_circles_and_ways_past_the_dead_stay(
    case: tuple[list[Member], Topology], data: st.DataObject
) -> None:
    mesh = compiled(*case)
    names = [one.name for one in mesh.members]
    dead = data.draw(st.sampled_from(names))
    world = World(mesh)
    world.kill([dead])
    for one in names:
        for other in names:
            way = mesh.path(one, other)
            if one == other or dead in (one, other) or not way:
                continue
            passed = [world.send(one, other, family) for family in (0, 1)]
            assert passed[0] == passed[1]
            if dead not in way:
                assert passed[0] == way
            elif len(way) == 3:
                shared = {peer.name for peer in mesh.peers(one)} & {peer.name for peer in mesh.peers(other)}
                strong = {name for name in shared - {dead} if mesh.role(dead) == mesh.role(name)}
                assert bool(passed[0]) >= bool(strong)


@settings(deadline=None, max_examples=50)
@given(whole())
def test_a_groups_networks_stand_with_its_first_peer_who_keeps_his_own_addresses(
    case: tuple[list[Member], Topology],
) -> None:
    mesh = compiled(*case)
    own = {one.name: {f"{one.addresses[0]}/32", f"{one.addresses[1]}/128"} for one in mesh.members}
    for one in mesh.members:
        peers = {peer.name: set(peer.allowed_ips) for peer in mesh.peers(one.name)}
        for group in mesh.failover(one.name):
            assert len(set(group.via)) == len(group.via) > 1
            assert set(group.networks) <= peers[group.via[0]] - own[group.via[0]]
            assert all(own[name] <= peers[name] for name in group.via)


def test_the_first_by_name_comes_first_and_again_when_it_lives_again() -> None:
    fleet = [member(number) for number in (1, 2, 4, 5)]
    mesh = Mesh(fleet, cidrs=CIDRS, topology=Hubs(frozenset({"n-2", "n-4", "n-5"})), keepalive=0)
    (group,) = mesh.failover("n-1")
    assert group.networks == CIDRS
    assert group.via == ("n-2", "n-4", "n-5")
