"""A mesh with a hub: spokes reach each other through it, and it tells them what is too large for the way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration import lab as labs

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("hubs")]

HUB, SPOKE, OTHER = "control-0", "workers-0", "workers-1"
NARROW = 1300
"""MTU of the hub's interface in the test; everyone else has the declared 1420."""
UNTRACKED = "table inet forgetful { chain out { type filter hook output priority raw; oifname wg0 notrack; }; }"
"""Lets a node's connection tracking know nothing of what it has sent over the mesh."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, engine: object) -> Iterator[labs.Lab]:
    made = labs.make(tmp_path_factory.mktemp("hubs"))
    made.edit("network.yaml", "topology: {full: {}}", "topology: {hubs: {select: {role: head}}}")
    made.edit("pools.yaml", "lab: {count: 2}", "lab: {count: 1}")
    made.edit("pools.yaml", "lab: {count: 3}", "lab: {count: 2}")
    try:
        made("apply", "--yes")
        yield made
    finally:
        made("destroy", "--yes")
        labs.assert_nothing_left(made)


def mesh_addresses(lab: labs.Lab, node: str) -> list[str]:
    lines = lab.on(node, "ip -o addr show dev wg0 scope global").splitlines()
    found = [line.split()[3].split("/")[0] for line in lines]
    assert len(found) == 2
    return found


def forwarded(lab: labs.Lab) -> tuple[int, int]:
    """Datagrams that the hub has passed on: IPv4, IPv6 (RFC 1213, ipForwDatagrams; RFC 4293)."""
    names, values = lab.on(HUB, "grep ^Ip: /proc/net/snmp").splitlines()
    four = dict(zip(names.split(), values.split(), strict=True))["ForwDatagrams"]
    six = lab.on(HUB, "grep ^Ip6OutForwDatagrams /proc/net/snmp6").split()[1]
    return int(four), int(six)


def test_spokes_have_one_tunnel_and_reach_each_other_through_the_hub(lab: labs.Lab) -> None:
    status = lab("status", "--format", "json").json
    assert all(node["ready"] for node in status["nodes"]), status["nodes"]
    assert all(link["reachable"] for link in status["links"]), status["links"]
    assert all(flow["ok"] for flow in status["flows"]), status["flows"]
    for spoke in (SPOKE, OTHER):
        assert len(lab.on(spoke, "wg show wg0 peers").split()) == 1
    assert len(lab.on(HUB, "wg show wg0 peers").split()) == 2

    before = forwarded(lab)
    for address in mesh_addresses(lab, OTHER):
        answer = lab.on(SPOKE, f"ping -n -c3 -i0.2 -W2 {address}")
        assert "3 received" in answer
        assert "ttl=63" in answer, "there is one node in between"
    after = forwarded(lab)
    assert all(now - then >= 6 for now, then in zip(after, before, strict=True)), "three questions and three answers"


@pytest.mark.parametrize("remembered", [True, False], ids=["known", "forgotten"])
def test_a_packet_too_large_for_the_way_is_told_to_its_sender(lab: labs.Lab, remembered: bool) -> None:
    """Also about a connection that the sender's kernel tracks no more: what it is told then counts as invalid."""
    lab.on(SPOKE, "ip route flush cache; ip -6 route flush cache")
    lab.on(HUB, f"ip link set wg0 mtu {NARROW}")
    try:
        if not remembered:
            lab.on(SPOKE, f"nft '{UNTRACKED}'")
        for address, words in zip(mesh_addresses(lab, OTHER), ("Frag needed", "Packet too big"), strict=True):
            answer = lab.on(SPOKE, f"ping -n -c2 -i0.5 -W1 -M do -s {NARROW} {address} 2>&1", check=False)
            assert words in answer, answer
            assert f"mtu {NARROW}" in lab.on(SPOKE, f"ip route get {address}"), "it will send smaller ones from now on"
    finally:
        if not remembered:
            lab.on(SPOKE, "nft delete table inet forgetful")
        lab.on(SPOKE, "ip route flush cache; ip -6 route flush cache")
        lab("apply", "--yes")
    assert "mtu 1420" in lab.on(HUB, "ip link show wg0"), "apply heals it"


def test_a_hub_that_is_down_is_the_only_node_that_is_not_ready_and_says_whom_it_cuts_off(lab: labs.Lab) -> None:
    lab.on(HUB, "ip link set wg0 down")
    try:
        status = lab("status", "--format", "json", code=1).json
    finally:
        lab("apply", "--yes")
    assert {node["name"]: node["reasons"] for node in status["nodes"] if not node["ready"]} == {
        HUB: ["interface wg0 is down", f"cuts off {SPOKE} ⇄ {OTHER}"]
    }
    assert {node["name"]: node["handshakes"] for node in status["nodes"]}[HUB] == 0
    (pair,) = [link for link in status["links"] if (link["from"], link["to"]) == (SPOKE, OTHER)]
    assert (pair["reachable"], pair["via"], pair["cutBy"]) == (False, [HUB], [HUB])
    assert lab("status", "--format", "json").json["healthy"] is True
