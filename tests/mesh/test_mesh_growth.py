"""A node comes or goes: who has to learn of it."""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from swarmctl.mesh.compiler import Full, Hubs, Member, Mesh, Peer, Regions, Role
from tests.mesh.fleets import CIDRS, Topology, fleets, member, some


def peers(fleet: list[Member], topology: Topology) -> dict[str, dict[str, Peer]]:
    mesh = Mesh(fleet, cidrs=CIDRS, topology=topology, keepalive=0)
    return {one.name: {peer.name: peer for peer in mesh.peers(one.name)} for one in mesh.members}


def touched(before: dict[str, dict[str, Peer]], after: dict[str, dict[str, Peer]]) -> dict[str, set[str]]:
    """Entries that differ, by the nodes that are in both."""
    found = {
        name: {other for other in {*before[name], *after[name]} if before[name].get(other) != after[name].get(other)}
        for name in before.keys() & after.keys()
    }
    return {name: others for name, others in found.items() if others}


@settings(deadline=None, max_examples=50)
@given(fleets(least=2, odd=False), st.data())
def test_with_hubs_or_in_a_full_mesh_only_its_peers_learn_of_a_node_and_nothing_else(
    fleet: list[Member], data: st.DataObject
) -> None:
    *fewer, last = data.draw(st.permutations(fleet))
    hubs = data.draw(some([one.name for one in fewer]))
    for topology in (Full(), Hubs(hubs)):
        before, after = peers(fewer, topology), peers([*fewer, last], topology)
        assert touched(before, after) == {name: {last.name} for name in after[last.name]}


@settings(deadline=None, max_examples=50)
@given(fleets(least=3), st.data())
def test_behind_nat_only_the_peers_of_a_node_learn_of_it(fleet: list[Member], data: st.DataObject) -> None:
    relays = [member(number, relay=True) for number in (100, 101)]
    inside = [one for one in fleet if "172" in one.underlay[-1] and not one.relay]
    assume(inside)
    last = member(102, endpoint=data.draw(st.sampled_from([None, ""])))
    before, after = peers([*relays, *inside], Full()), peers([*relays, *inside, last], Full())
    assert touched(before, after) == {name: {last.name} for name in after[last.name]}


@settings(deadline=None, max_examples=50)
@given(fleets(least=3, odd=False), st.data())
def test_between_regions_gateways_learn_of_a_node_too_and_only_what_lies_behind_another(
    fleet: list[Member], data: st.DataObject
) -> None:
    fleet = [*fleet, *(member(100 + at, region=region) for at, region in enumerate(("", "eu", "us")))]
    gateways = data.draw(some([one.name for one in fleet])) | {"n-100", "n-101", "n-102"}
    last = member(110, region=data.draw(st.sampled_from(["", "eu", "us"])))
    topology = Regions(gateways)
    before, after = peers(fleet, topology), peers([*fleet, last], topology)
    mesh = Mesh([*fleet, last], cidrs=CIDRS, topology=topology, keepalive=0)
    for name, others in touched(before, after).items():
        if name in after[last.name]:
            assert others == {last.name}
        else:
            assert mesh.role(name) is Role.GATEWAY
            ((other,), group) = others, {f"{text}/{32 if '.' in text else 128}" for text in last.addresses}
            assert set(after[name][other].allowed_ips) - set(before[name][other].allowed_ips) == group
