"""`swarm:mesh:Peers`: a delta by `wg set`, never a replacement, and one line per peer for people."""

from __future__ import annotations

from typing import Any

import pytest

from swarmctl.hosts.facts import Facts, Peer, WireGuard
from swarmctl.kinds.base import UNKNOWN, Impact
from swarmctl.kinds.mesh.resources import PEERS
from tests.mesh.fakes import FakeHosts, facts, peer


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
    hosts = FakeHosts(having(A, B))
    PEERS.create(hosts, INPUTS)
    PEERS.update(hosts, INPUTS, INPUTS)
    assert hosts.host.log == []
    seen = PEERS.read(hosts, INPUTS)
    assert seen is not None
    assert PEERS.diff(seen.inputs, INPUTS) == []


@pytest.mark.parametrize(
    ("now", "command"),
    [
        (
            (A,),
            "wg set wg0 peer KEYB endpoint 172.20.1.2:51820 allowed-ips 10.88.3.2/32,fd88::2/128 "
            "persistent-keepalive 25\n",
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


def test_a_thousand_peers_go_in_one_run_of_several_short_commands() -> None:
    many = {f"n-{number}": declared(f"KEY{number}", number) for number in range(1000)}
    hosts = FakeHosts(having())
    PEERS.create(hosts, {**INPUTS, "peers": many})
    (script,) = hosts.host.scripts
    assert len(script.splitlines()) == 5
    assert max(len(line) for line in script.splitlines()) < 128 * 1024


def test_an_address_can_move_from_one_peer_to_another() -> None:
    hosts = FakeHosts(having(A, B))
    PEERS.update(hosts, INPUTS, {**INPUTS, "peers": {"b": declared("KEYB", 2, allowedIps=["10.88.3.1/32"])}})
    assert hosts.host.scripts == ["wg set wg0 peer KEYA remove\nwg set wg0 peer KEYB allowed-ips 10.88.3.1/32\n"]


def test_hostile_values_stay_words() -> None:
    evil = declared("KEY; reboot", 1, endpoint="$(reboot):1")
    hosts = FakeHosts(having())
    PEERS.create(hosts, {**INPUTS, "peers": {"x": evil}})
    assert "'KEY; reboot'" in hosts.host.scripts[0]
    assert "'$(reboot):1'" in hosts.host.scripts[0]


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
