"""Firewall, interface and peers keep what brings them back after a restart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from swarmctl.hosts import startup
from swarmctl.hosts.facts import Facts, Interface, Route, WireGuard
from swarmctl.kinds.mesh import startup_files
from swarmctl.kinds.mesh.interface import InterfaceType
from swarmctl.kinds.mesh.peers import PeersType
from swarmctl.kinds.security_policy.resources import FIREWALL
from tests.mesh.fakes import KEY_PATH, FakeHost, FakeHosts, facts, peer
from tests.mesh.test_firewall_resource import INPUTS as WALL
from tests.mesh.test_firewall_resource import listing

HOST = {"backend": "ssh", "node": "n"}
INTERFACE: dict[str, Any] = {
    **{"machine": "m", "host": HOST, "node": "n", "interface": "wg0", "state": "up", "addresses": ["10.88.0.1/16"]},
    **{"listenPort": 51820, "mtu": 1420, "keyPath": KEY_PATH, "keyMode": "0600", "key": "installed"},
    **{"forwarding": False, "confirmWithin": 60},
}
PEER = {"publicKey": "KEYA", "endpoint": "192.0.2.1:51820", "allowedIps": ["10.88.0.2/32"], "persistentKeepalive": 25}
PEERS: dict[str, Any] = {
    **{"machine": "m", "host": HOST, "node": "n", "interface": "wg0", "confirmWithin": 60},
    "peers": {"a": PEER},
}


def node(startup_: dict[str, str] | None) -> Facts:
    """One on which all is right but what a restart brings."""
    link = Interface("wg0", True, 1420, ("10.88.0.1/16",), "swarmctl:backbone")
    has = peer("KEYA", "192.0.2.1:51820", "10.88.0.2/32", keepalive=25)
    wireguard = WireGuard("wg0", "PUBLIC", 51820, {"KEYA": has})
    known = facts(links={"wg0": link}, wireguard={"wg0": wireguard}, nftables=listing(), key="PUBLIC")
    route = Route("unicast", "10.88.0.0/16", "wg0", "main", None, False)
    return replace(known, routes=(route,), startup=startup_)


KINDS = [(FIREWALL, WALL), (InterfaceType(), INTERFACE), (PeersType(), PEERS)]
NAMES = ["firewall", "interface", "peers"]


@pytest.mark.parametrize(("kind", "inputs"), KINDS, ids=NAMES)
def test_what_would_not_come_back_is_drift_and_mended(kind: Any, inputs: dict[str, Any]) -> None:
    hosts = FakeHosts(node({}))
    seen = kind.read(hosts, inputs)
    assert [change.path for change in kind.diff(seen.inputs, inputs)] == [("startup",)]
    assert any("would not come back by itself" in effect.text for effect in kind.effects(seen.inputs, inputs))
    assert kind.impact(seen.inputs, inputs).text == ""
    kind.update(hosts, seen.inputs, inputs)
    (script,) = hosts.host.scripts
    assert "systemctl daemon-reload" in script
    assert hosts.guards == []


@pytest.mark.parametrize(("kind", "inputs"), KINDS, ids=NAMES)
def test_a_machine_that_systemd_does_not_run_has_nothing_of_it(kind: Any, inputs: dict[str, Any]) -> None:
    hosts = FakeHosts(node(None))
    seen = kind.read(hosts, inputs)
    assert kind.diff(seen.inputs, inputs) == []
    kind.update(hosts, seen.inputs, inputs)
    assert hosts.host.scripts == []


def test_what_is_not_confirmed_is_undone_with_its_file() -> None:
    hosts = FakeHosts(node({}))
    InterfaceType().update(hosts, INTERFACE, {**INTERFACE, "mtu": 1400})
    PeersType().update(hosts, PEERS, {**PEERS, "peers": {}})
    chains = {**WALL["chains"], "output": "filter hook output priority 0 policy drop"}
    FIREWALL.update(hosts, WALL, {**WALL, "chains": chains, "rules": {}})
    files = [{part: path for part, path in it.files.items() if "startup" in part} for it in hosts.guards]
    assert files == [
        {"file.startup-wg0.interface": startup.interface("wg0")},
        {"file.startup-wg0.peers": startup.peers("wg0")},
        {"file.startup-firewall": startup.FIREWALL},
    ]


def test_new_peers_are_kept_where_systemd_runs() -> None:
    hosts = FakeHosts(node({}), FakeHost(printed=f"{startup.ON_SYSTEMD}\n".encode()))
    PeersType().create(hosts, PEERS)
    assert len(hosts.host.scripts) == 2
    assert startup_files.peers(PEERS) in hosts.host.scripts[1]


def test_the_lines_of_peers() -> None:
    settings = {"folder": "/etc/swarmctl/mesh/m/psk", "publicKey": "OWN/="}
    named = {**PEER, "publicKey": "KEYB", "endpoint": "gw.example:51820", "presharedKey": "generated"}
    waiting = {**PEER, "publicKey": "KEYC", "endpoint": "", "persistentKeepalive": 0, "allowedIps": []}
    inputs = {**PEERS, "presharedKeys": settings, "peers": {"c": waiting, "b": named, "a": PEER}}
    assert startup_files.peers(inputs).splitlines() == [
        "KEYA - 25 192.0.2.1:51820 10.88.0.2/32",
        "KEYB /etc/swarmctl/mesh/m/psk/OWN_=/KEYB 25 ~gw.example:51820 10.88.0.2/32",
        "KEYC - 0 - -",
    ]


def test_the_lines_of_an_interface() -> None:
    text = startup_files.interface({**INTERFACE, "forwarding": True}, ["net.ipv4.ip_forward"])
    assert text.splitlines() == [
        *("alias swarmctl:backbone", f"key {KEY_PATH}", "port 51820", "mtu 1420", "address 10.88.0.1/16", "state up"),
        *("switch net/ipv4/ip_forward 1", "switch net/ipv4/conf/all/send_redirects 0"),
        "switch net/ipv4/conf/wg0/send_redirects 0",
    ]
