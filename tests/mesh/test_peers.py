"""`swarm:mesh:Peers`: a delta by `wg set`, never a replacement, and one line per peer for people."""

from __future__ import annotations

from typing import Any

import pytest

from swarmctl.hosts.facts import Facts, Peer, WireGuard
from swarmctl.kinds.base import UNKNOWN, Impact
from swarmctl.kinds.mesh.failover_table import NotAWord
from swarmctl.kinds.mesh.peers import EndpointUnresolved
from swarmctl.kinds.mesh.resources import PEERS
from tests.mesh.fakes import FakeHost, FakeHosts, facts, peer


def declared(key: Any, number: int, **changes: Any) -> dict[str, Any]:
    return {
        "publicKey": key,
        "endpoint": f"172.20.1.{number}:51820",
        "allowedIps": [f"10.88.3.{number}/32", f"fd88::{number}/128"],
        "persistentKeepalive": 25,
        **changes,
    }


INPUTS: dict[str, Any] = {
    "machine": "one",
    "host": {"node": "n"},
    "node": "n",
    "interface": "wg0",
    "peers": {"a": declared("KEYA", 1), "b": declared("KEYB", 2)},
}
A = peer("KEYA", "172.20.1.1:51820", "fd88::1/128", "10.88.3.1/32", keepalive=25)
B = peer("KEYB", "172.20.1.2:51820", "10.88.3.2/32", "fd88::2/128", keepalive=25)


def having(*peers: Peer) -> Facts:
    return facts(wireguard={"wg0": WireGuard("wg0", "PUBLIC", 51820, {peer.public_key: peer for peer in peers})})


def test_peers_as_declared_need_no_command() -> None:
    hosts = FakeHosts(having(A, B), FakeHost(printed=b"has peers\n"))
    PEERS.create(hosts, INPUTS)
    assert len(hosts.host.log) == 1, "the host is asked whether it has peers"
    PEERS.update(hosts, INPUTS, INPUTS)
    assert len(hosts.host.log) == 1
    seen = PEERS.read(hosts, INPUTS)
    assert seen is not None
    assert PEERS.diff(seen.inputs, INPUTS) == []


@pytest.mark.parametrize(
    ("now", "command"),
    [
        (
            (A,),
            "wg addconf wg0 /dev/stdin <<'END'\n[Peer]\nPublicKey=KEYB\nAllowedIPs=10.88.3.2/32,fd88::2/128\n"
            "PersistentKeepalive=0\nEndpoint=172.20.1.2:51820\nEND\n"
            "sleep 0.1\nwg set wg0 peer KEYB persistent-keepalive 25\n",
        ),
        ((A, B, peer("KEYC", "", "10.88.3.3/32")), "wg set wg0 peer KEYC remove\n"),
        (
            (A, peer("KEYB", "172.20.1.9:51820", *B.allowed_ips, keepalive=25)),
            "wg set wg0 peer KEYB endpoint 172.20.1.2:51820\n",
        ),
        (
            (A, peer("KEYB", B.endpoint, "10.88.3.2/32", keepalive=25)),
            "wg set wg0 peer KEYB allowed-ips 10.88.3.2/32,fd88::2/128\n",
        ),
        (
            (A, peer("KEYB", B.endpoint, *B.allowed_ips)),
            "wg set wg0 peer KEYB persistent-keepalive 25\n",
        ),
    ],
    ids=["missing", "undeclared", "endpoint", "allowed", "keepalive"],
)
def test_only_the_difference_is_set(now: tuple[Peer, ...], command: str) -> None:
    hosts = FakeHosts(having(*now))
    PEERS.update(hosts, INPUTS, INPUTS)
    assert hosts.host.scripts == [command]


def test_one_of_the_two_ends_begins_a_moment_before_the_other() -> None:
    """The second one's keepalive, by which an end begins at once, comes last; a tunnel that is there is not touched."""
    peers = {"a": declared("KEYA", 1), "m": declared("KEYM", 3, persistentKeepalive=0), "z": declared("KEYZ", 2)}
    hosts = FakeHosts(having())
    PEERS.create(hosts, {**INPUTS, "peers": peers})
    (script,) = hosts.host.scripts
    assert [line for line in script.splitlines() if line.startswith(("PublicKey", "Persistent"))] == [
        *("PublicKey=KEYA", "PersistentKeepalive=0"),
        *("PublicKey=KEYM", "PersistentKeepalive=0"),
        *("PublicKey=KEYZ", "PersistentKeepalive=25"),
    ]
    assert script.endswith("END\nsleep 0.1\nwg set wg0 peer KEYA persistent-keepalive 25\n")
    hosts = FakeHosts(having(A))
    PEERS.update(hosts, INPUTS, {**INPUTS, "peers": peers})
    assert "sleep" not in hosts.host.scripts[0]


def test_a_thousand_new_peers_go_to_wireguard_as_one_message() -> None:
    many = {f"m-{number}": declared(f"KEY{number}", number) for number in range(1000)}
    hosts = FakeHosts(having())
    PEERS.create(hosts, {**INPUTS, "peers": many})
    (script,) = hosts.host.scripts
    assert script.count("wg addconf") == 1
    assert "wg set" not in script
    assert script.count("[Peer]") == 1000


def test_a_thousand_changed_peers_go_in_several_short_commands() -> None:
    many = {f"n-{number}": declared(f"KEY{number}", number) for number in range(1000)}
    having_them = having(*(peer(it["publicKey"], it["endpoint"], *it["allowedIps"]) for it in many.values()))
    hosts = FakeHosts(having_them, FakeHost(printed=b"has peers\n"))
    PEERS.create(hosts, {**INPUTS, "peers": many})
    _, script = hosts.host.scripts
    assert len(script.splitlines()) == 5
    assert max(len(line) for line in script.splitlines()) < 128 * 1024


def test_an_address_can_move_from_one_peer_to_another() -> None:
    hosts = FakeHosts(having(A, B))
    PEERS.update(hosts, INPUTS, {**INPUTS, "peers": {"b": declared("KEYB", 2, allowedIps=["10.88.3.1/32"])}})
    assert hosts.host.scripts == ["wg set wg0 peer KEYA remove\nwg set wg0 peer KEYB allowed-ips 10.88.3.1/32\n"]


@pytest.mark.parametrize(
    "evil",
    [
        {"publicKey": "KEY; reboot"},
        {"publicKey": "KEY\n[Interface]\nPrivateKey=KEY"},
        {"publicKey": "KEY\n"},
        {"endpoint": "$(reboot):1"},
        {"endpoint": "172.20.1.1:1\nEND\nreboot"},
        {"endpoint": "-c:1"},
        {"allowedIps": ["10.88.0.1/32\nEND"]},
    ],
)
def test_what_could_bring_lines_or_commands_of_its_own_is_refused(evil: dict[str, Any]) -> None:
    hosts = FakeHosts(having())
    with pytest.raises(NotAWord):
        PEERS.create(hosts, {**INPUTS, "peers": {"x": declared("KEY", 1, **evil)}})
    assert hosts.host.scripts == []


def test_a_peer_that_contacts_this_node_may_do_so_from_anywhere() -> None:
    waits = {**INPUTS, "peers": {"a": declared("KEYA", 1, endpoint="", why="behind NAT")}}
    learned = having(peer("KEYA", "198.51.100.7:40000", *A.allowed_ips, keepalive=25))
    assert compared(learned, waits) == []
    new = FakeHosts(having())
    PEERS.create(new, waits)
    assert "Endpoint" not in new.host.scripts[0]


def compared(now: Facts, inputs: dict[str, Any]) -> list[tuple[str, ...]]:
    """What differs, when nothing is to be done about it."""
    hosts = FakeHosts(now)
    seen = PEERS.read(hosts, inputs)
    assert seen is not None
    PEERS.update(hosts, inputs, inputs)
    assert hosts.host.log == []
    return [change.path for change in PEERS.diff(seen.inputs, inputs)]


NAMED = {**INPUTS, "peers": {"a": declared("KEYA", 1, endpoint="vpn.example.net:51820")}}


def test_a_name_is_set_as_a_name_and_then_only_its_port_is_compared() -> None:
    hosts = FakeHosts(having())
    PEERS.create(hosts, NAMED)
    (script,) = hosts.host.scripts
    assert "Endpoint=" not in script
    assert script.endswith("named KEYA vpn.example.net:51820 &\nwait\n")
    assert compared(having(A), NAMED) == []
    for other in ("172.20.1.1:51821", ""):
        hosts = FakeHosts(having(peer("KEYA", other, *A.allowed_ips, keepalive=25)))
        PEERS.update(hosts, NAMED, NAMED)
        assert "named KEYA vpn.example.net:51820 &" in hosts.host.scripts[0]
        seen = PEERS.read(hosts, NAMED)
        assert seen is not None
        assert [change.path for change in PEERS.diff(seen.inputs, NAMED)] == [("peers", "a", "endpoint")]


def test_another_name_is_set_although_the_node_has_an_endpoint() -> None:
    hosts = FakeHosts(having(A))
    PEERS.update(hosts, {**INPUTS, "peers": {"a": declared("KEYA", 1)}}, NAMED)
    assert "named KEYA vpn.example.net:51820 &" in hosts.host.scripts[0]


def test_a_name_that_leads_nowhere_is_told_with_node_peer_and_name() -> None:
    printed = b"unresolved: KEYA Name or service not known: `vpn.example.net:51820'\n"
    with pytest.raises(EndpointUnresolved) as raised:
        PEERS.create(FakeHosts(having(), FakeHost(printed=printed)), NAMED)
    assert raised.value.message == (
        "n cannot look up the endpoint of a at vpn.example.net:51820 "
        "(Name or service not known: `vpn.example.net:51820')"
    )


WHOLE = ["10.88.0.0/16", "fd88::/64"]
HUBS: dict[str, Any] = {
    **INPUTS,
    "peers": {"a": declared("KEYA", 1, allowedIps=WHOLE), "b": declared("KEYB", 2)},
    "failover": [{"networks": WHOLE, "via": ["a", "b"]}],
}
MOVED = (
    peer("KEYA", A.endpoint, "10.88.3.1/32", keepalive=25),  # its own address, so that it is heard when it is back
    peer("KEYB", B.endpoint, *WHOLE, *B.allowed_ips, keepalive=25),
)


def test_what_the_failover_agent_moved_is_no_difference_and_stays() -> None:
    assert compared(having(*MOVED), HUBS) == []


def test_what_else_changes_keeps_moved_networks_where_they_are() -> None:
    hosts = FakeHosts(having(*MOVED))
    more = {**HUBS, "peers": {**HUBS["peers"], "b": declared("KEYB", 2, allowedIps=["10.88.3.2/32"])}}
    PEERS.update(hosts, HUBS, more)
    assert hosts.host.scripts == ["wg set wg0 peer KEYB allowed-ips 10.88.3.2/32,10.88.0.0/16,fd88::/64\n"]


def test_networks_with_a_stranger_to_their_group_go_back() -> None:
    hosts = FakeHosts(having(*MOVED))
    none = {**HUBS, "failover": [{"networks": WHOLE, "via": ["a", "c"]}]}
    seen = PEERS.read(hosts, none)
    assert seen is not None
    assert PEERS.diff(seen.inputs, none)
    PEERS.update(hosts, HUBS, none)
    assert hosts.host.scripts[0].startswith("rm -f /etc/swarmctl/failover/wg0/table\n")  # the agent pauses
    assert "peer KEYA allowed-ips 10.88.0.0/16,fd88::/64" in hosts.host.scripts[0]
    assert [it.text for it in PEERS.effects(HUBS, none)] == ["the failover agent pauses until it has its new groups"]


def test_reading_names_peers_and_keeps_strangers_apart() -> None:
    seen = PEERS.read(FakeHosts(having(A, peer("STRANGER+KEY", "", "0.0.0.0/0"))), INPUTS)
    assert seen is not None
    assert set(seen.inputs["peers"]) == {"a", "unknown-STRANGER"}
    gone = PEERS.read(FakeHosts(facts()), INPUTS)
    assert gone is not None
    assert gone.inputs["peers"] == {}
    assert PEERS.read(FakeHosts(None), INPUTS) is None


def test_deleting_removes_its_own_peers_only() -> None:
    hosts = FakeHosts(having(A, peer("KEYC", "")))
    PEERS.delete(hosts, INPUTS)
    assert hosts.host.scripts == ["wg set wg0 peer KEYA remove\n"]
    PEERS.delete(FakeHosts(None), INPUTS)
    nothing = FakeHosts(facts())
    PEERS.delete(nothing, INPUTS)
    assert nothing.host.log == []


def test_words_for_people() -> None:
    assert [effect.text for effect in PEERS.effects(None, {**INPUTS, "peers": {"a": declared(UNKNOWN, 1)}})] == [
        "peer a 10.88.3.1/32, fd88::1/128 via 172.20.1.1:51820 (every 25s)"
    ]
    why = {**INPUTS, "peers": {"a": declared(UNKNOWN, 1, why="behind NAT: keeps its tunnel to a open")}}
    assert [effect.text for effect in PEERS.effects(None, why)] == [
        "peer a 10.88.3.1/32, fd88::1/128 via 172.20.1.1:51820 (every 25s): behind NAT: keeps its tunnel to a open"
    ]
    moved = {**INPUTS, "peers": {"a": declared("NEW", 1, endpoint="172.20.1.9:51820"), "c": declared("KEYC", 3)}}
    assert [(effect.action.value, effect.text) for effect in PEERS.effects(INPUTS, moved)] == [
        ("update", "peer a via 172.20.1.1:51820 → 172.20.1.9:51820, has a new key"),
        ("delete", "peer b 10.88.3.2/32, fd88::2/128 via 172.20.1.2:51820 (every 25s)"),
        ("add", "peer c 10.88.3.3/32, fd88::3/128 via 172.20.1.3:51820 (every 25s)"),
    ]
    assert PEERS.impact(INPUTS, moved) == Impact("closes the tunnel to b; the tunnel to a re-handshakes")
    more = {**INPUTS, "peers": {**INPUTS["peers"], "c": declared(UNKNOWN, 3)}}
    assert PEERS.impact(INPUTS, more) == Impact()


def test_an_unknown_key_counts_as_a_change() -> None:
    unknown = {**INPUTS, "peers": {"a": declared(UNKNOWN, 1), "b": declared("KEYB", 2)}}
    (change,) = PEERS.diff(INPUTS, unknown)
    assert change.path == ("peers", "a", "publicKey")
    assert [effect.text for effect in PEERS.effects(INPUTS, unknown)] == ["peer a has a new key"]


def test_on_another_machine_all_of_them_are_set_again() -> None:
    effects = PEERS.effects(INPUTS, {**INPUTS, "machine": UNKNOWN})
    assert [(effect.action.value, effect.text[:6]) for effect in effects] == [("add", "peer a"), ("add", "peer b")]
