"""Peers on a real WireGuard interface: many at once, one more, endpoints by DNS name, and what the agent moves."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from swarmctl import toolchain
from swarmctl.kinds.mesh.peers import EndpointUnresolved
from swarmctl.kinds.mesh.resources import PEERS
from tests.mesh.namespaces import Namespace, Network, network, possible, until

WIREGUARD_GO = toolchain.wireguard_go()

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(possible()), reason=possible() or "possible"),
    pytest.mark.skipif(WIREGUARD_GO is None, reason="there is no wireguard-go, neither installed nor built"),
]


@pytest.fixture
def nodes() -> Iterator[Network]:
    with network(["n"]) as nodes:
        nodes.nodes["n"].start_service("wireguard-wg0", ["env", "WG_PROCESS_FOREGROUND=1", str(WIREGUARD_GO), "wg0"])
        assert until(lambda: nodes.nodes["n"].run(["wg", "show", "wg0"], check=False).returncode == 0)
        yield nodes


def key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def declared(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "publicKey": key(),
        "endpoint": f"172.30.{number // 250}.{number % 250 + 1}:51820",
        "allowedIps": [f"10.88.{number // 250}.{number % 250 + 1}/32", f"fd88::{number + 1:x}/128"],
        "persistentKeepalive": 25,
        **changes,
    }


def inputs(**peers: dict[str, Any]) -> dict[str, Any]:
    return {"machine": "one", "host": {"node": "n"}, "node": "n", "interface": "wg0", "peers": peers}


def compared(nodes: Network, wanted: dict[str, Any]) -> list[tuple[str, ...]]:
    nodes.forget()
    seen = PEERS.read(nodes, wanted)
    assert seen is not None
    return [change.path for change in PEERS.diff(seen.inputs, wanted)]


def on(nodes: Network) -> Namespace:
    return nodes.nodes["n"]


def test_a_thousand_peers_are_set_and_one_more_touches_no_other(nodes: Network) -> None:
    many = inputs(**{f"n-{number}": declared(number) for number in range(1000)})
    PEERS.create(nodes, many)
    assert compared(nodes, many) == []
    more = inputs(**many["peers"], new=declared(1000))
    PEERS.update(nodes, many, more)
    assert compared(nodes, more) == []
    script = on(nodes).inputs[-1].decode()
    assert script.count("PublicKey=") == 1
    assert more["peers"]["new"]["publicKey"] in script
    assert not any(peer["publicKey"] in script for peer in many["peers"].values())
    PEERS.delete(nodes, more)
    assert on(nodes).sh("wg show wg0 peers") == ""


def test_names_are_looked_up_by_the_node(nodes: Network) -> None:
    on(nodes).sh("printf '203.0.113.9 vpn.example.net\\n2001:db8::9 six.example.net\\n' >>/etc/hosts")
    wanted = inputs(
        a=declared(1, endpoint="vpn.example.net:51820"),
        b=declared(2, endpoint="six.example.net:4000"),
        c=declared(3, endpoint=""),
        d=declared(4, endpoint="[fd30::7]:51820"),
    )
    PEERS.create(nodes, wanted)
    assert compared(nodes, wanted) == []
    said = dict(line.split("\t") for line in on(nodes).sh("wg show wg0 endpoints").splitlines())
    assert [said[peer["publicKey"]] for peer in wanted["peers"].values()] == [
        "203.0.113.9:51820",
        "[2001:db8::9]:4000",
        "(none)",
        "[fd30::7]:51820",
    ]
    # Another host behind the name is found by WireGuard itself, another port is a difference.
    on(nodes).sh(f"wg set wg0 peer {wanted['peers']['a']['publicKey']} endpoint 198.51.100.1:51820")
    on(nodes).sh(f"wg set wg0 peer {wanted['peers']['b']['publicKey']} endpoint 198.51.100.1:51820")
    on(nodes).sh(f"wg set wg0 peer {wanted['peers']['c']['publicKey']} endpoint 198.51.100.1:1024")
    assert compared(nodes, wanted) == [("peers", "b", "endpoint")]
    PEERS.update(nodes, wanted, wanted)
    assert compared(nodes, wanted) == []


def test_a_name_that_leads_nowhere_holds_no_other_peer_up(nodes: Network) -> None:
    on(nodes).sh("echo '203.0.113.9 vpn.example.net' >>/etc/hosts")
    wanted = inputs(
        a=declared(1, endpoint="nowhere.invalid:51820"), b=declared(2, endpoint="vpn.example.net:51820"), c=declared(3)
    )
    started = time.monotonic()
    with pytest.raises(EndpointUnresolved) as raised:
        PEERS.create(nodes, wanted)
    assert time.monotonic() - started < 15
    assert raised.value.message.startswith("n cannot look up the endpoint of a at nowhere.invalid:51820 (")
    assert compared(nodes, wanted) == [("peers", "a", "endpoint")]
    on(nodes).sh("echo '203.0.113.10 nowhere.invalid' >>/etc/hosts")
    PEERS.update(nodes, wanted, wanted)
    assert compared(nodes, wanted) == []
