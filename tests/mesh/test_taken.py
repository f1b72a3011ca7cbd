"""Which changes may take something away, so that they are guarded."""

from __future__ import annotations

from typing import Any

import pytest

from swarmctl.kinds.base import guarded
from swarmctl.kinds.mesh.resources import INTERFACE, PEERS
from swarmctl.kinds.security_policy.resources import FIREWALL

LINK: dict[str, Any] = {
    "interface": "wg0",
    "state": "up",
    "key": "installed",
    "addresses": ["10.0.0.1/16"],
    "listenPort": 51820,
    "mtu": 1420,
    "forwarding": True,
    "confirmWithin": 30,
}
PEER: dict[str, Any] = {
    "publicKey": "K",
    "endpoint": "1.2.3.4:5",
    "allowedIps": ["10.0.0.2/32"],
    "persistentKeepalive": 0,
}
RULES: dict[str, Any] = {
    "chains": {"input": "filter hook input priority 0 policy drop"},
    "rules": {"flow:a": 'tcp dport 22 counter name "a" accept', "no-plaintext": "ip daddr 10.0.0.0/8 drop"},
    "sets": {"flow-a": {"ip": ["10.0.0.1", "10.0.0.2"]}},
}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({}, {"mtu": 1380}, "changes the MTU of wg0"),
        ({}, {"addresses": ["10.0.0.9/16"], "listenPort": 1}, "changes the port and the addresses of wg0"),
        ({}, {"addresses": ["10.0.0.1/16", "fd00::1/64"]}, ""),
        ({}, {"forwarding": False}, "changes the forwarding of wg0"),
        ({"forwarding": False}, {}, ""),
        ({"state": "gone"}, {"mtu": 1380}, ""),
        ({"key": "none"}, {"mtu": 1380}, ""),
        ({}, {"keyPath": "/elsewhere"}, ""),
    ],
)
def test_interfaces(old: dict[str, Any], new: dict[str, Any], words: str) -> None:
    assert INTERFACE.guarded({**LINK, **old}, {**LINK, **new}) == words


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ({"a": PEER, "b": PEER, "c": PEER}, ""),
        ({"a": PEER}, "removes the peer b"),
        ({"a": {**PEER, "endpoint": "9.9.9.9:9"}}, "removes the peer b and changes the peer a"),
        ({"a": {**PEER, "persistentKeepalive": 25}, "b": {**PEER, "allowedIps": ["10.0.0.2/32", "10.9.0.0/16"]}}, ""),
        ({"a": PEER, "b": {**PEER, "allowedIps": []}}, "changes the peer b"),
    ],
)
def test_peers(new: dict[str, Any], words: str) -> None:
    assert PEERS.guarded({"peers": {"a": PEER, "b": PEER}}, {"peers": new}) == words


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ({}, ""),
        ({"rules": {**RULES["rules"], "flow:b": "tcp dport 23 accept"}}, ""),
        ({"rules": {**RULES["rules"], "flow:a": "tcp dport 22 accept"}}, ""),
        ({"rules": {**RULES["rules"], "never:x": "tcp dport 22 drop"}}, "may close the rule never:x"),
        ({"rules": {"flow:a": RULES["rules"]["flow:a"]}}, ""),
        ({"rules": {"no-plaintext": RULES["rules"]["no-plaintext"]}}, "may close the rule flow:a"),
        ({"chains": {"input": "filter hook input priority 0 policy accept"}}, ""),
        ({"chains": {**RULES["chains"], "output": "x policy drop"}}, "may close the chain output"),
        ({"sets": {"flow-a": {"ip": ["10.0.0.1", "10.0.0.2", "10.0.0.3"]}}}, ""),
        ({"sets": {"flow-a": {"ip": ["10.0.0.1"]}}}, "may close what 10.0.0.2 may do by flow-a"),
    ],
)
def test_firewalls(new: dict[str, Any], words: str) -> None:
    assert FIREWALL.guarded(RULES, {**RULES, **new}) == words


def test_a_plan_says_why_and_when() -> None:
    told = guarded(INTERFACE, LINK, {**LINK, "mtu": 1380})
    assert told == "changes the MTU of wg0; undoes itself unless confirmed within 30 s"
    assert guarded(INTERFACE, None, LINK) == guarded(INTERFACE, LINK, None) == ""


def test_the_time_within_which_it_is_confirmed_is_no_difference() -> None:
    assert INTERFACE.diff(LINK, {**LINK, "confirmWithin": 60}) == []
