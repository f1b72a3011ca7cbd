"""`swarm:securitypolicy:Firewall`: replaced at once when it differs, read back by rule, shown by rule."""

from __future__ import annotations

from typing import Any

import pytest

from swarmctl.errors import ExitCode, WorldUnreadable
from swarmctl.kinds.base import Impact
from swarmctl.kinds.security_policy.resources import FIREWALL
from swarmctl.mesh.firewall import CHAINS
from tests.mesh.fakes import FakeHosts, facts

FLOW = 'iifname { "wg0", "wg0-n" } ct direction original ip saddr @flow-ray.ip tcp dport 6379 accept'
INPUTS: dict[str, Any] = {
    "machine": "one",
    "host": {"node": "n"},
    "node": "n",
    "policy": "baseline",
    "chains": dict(CHAINS),
    "rules": {"loopback": 'iifname "lo" accept', "flow:ray:6379:ip": FLOW},
    "sets": {"flow-ray": {"ip": ["10.88.0.9", "10.88.3.4"]}},
}
WHOLE = "table inet swarmctl\ndelete table inet swarmctl\ntable inet swarmctl {"


def listing(*, owner: str = "baseline", policy: str = "drop", extra: bool = False) -> dict[str, Any]:
    """What nft lists for INPUTS."""
    base = {"family": "inet", "table": "swarmctl"}

    def match(left: dict[str, Any], right: Any) -> dict[str, Any]:
        return {"match": {"op": "==", "left": left, "right": right}}

    interface = {"meta": {"key": "iifname"}}
    items: list[dict[str, Any]] = [{"table": {"family": "inet", "name": "swarmctl"}}]
    items.append({"chain": {**base, "name": f"policy-{owner}"}})
    for name in CHAINS:
        verdict = "accept" if name == "output" else policy if name == "input" else "drop"
        items.append({"chain": {**base, "name": name, "type": "filter", "hook": name, "prio": 0, "policy": verdict}})
    items.append({"set": {**base, "name": "flow-ray.ip", "type": "ipv4_addr", "elem": ["10.88.3.4", "10.88.0.9"]}})
    rule = {**base, "chain": "input"}
    items.append({"rule": {**rule, "comment": "loopback", "expr": [match(interface, "lo"), {"accept": None}]}})
    flow = [
        match(interface, {"set": ["wg0", "wg0-n"]}),
        match({"ct": {"key": "direction"}}, "original"),
        match({"payload": {"protocol": "ip", "field": "saddr"}}, "@flow-ray.ip"),
        match({"payload": {"protocol": "tcp", "field": "dport"}}, 6379),
        {"accept": None},
    ]
    items.append({"rule": {**rule, "comment": "flow:ray:6379:ip", "expr": flow}})
    if extra:
        items.append({"rule": {**rule, "expr": [{"accept": None}]}})
    return {"nftables": items}


def test_a_table_as_declared_is_left_as_it_is() -> None:
    hosts = FakeHosts(facts(nftables=listing()))
    FIREWALL.create(hosts, INPUTS)
    FIREWALL.update(hosts, INPUTS, INPUTS)
    assert hosts.host.log == []
    seen = FIREWALL.read(hosts, INPUTS)
    assert seen is not None
    assert FIREWALL.diff(seen.inputs, INPUTS) == []


@pytest.mark.parametrize("changed", [{"extra": True}, {"policy": "accept"}, {"owner": "strict"}], ids=str)
def test_a_table_that_differs_is_replaced_in_one_transaction(changed: dict[str, Any]) -> None:
    hosts = FakeHosts(facts(nftables=listing(**changed)))
    FIREWALL.update(hosts, INPUTS, INPUTS)
    (script,) = hosts.host.scripts
    assert "table inet swarmctl\nflush table inet swarmctl\n" in script
    assert "delete table" not in script
    # What was there beside it let more in: taking that away may cut somebody off.
    assert [change.part for change in hosts.guards] == ([] if "owner" in changed else ["firewall"])
    assert hosts.forgotten == 1


def test_drift_is_named_by_rule_and_chain() -> None:
    seen = FIREWALL.read(FakeHosts(facts(nftables=listing(extra=True, policy="accept"))), INPUTS)
    assert seen is not None
    paths = {".".join(change.path): change.kind.value for change in FIREWALL.diff(seen.inputs, INPUTS)}
    assert paths == {"chains.input": "update", "rules.unnamed:1": "delete"}


def test_gone_or_another_policys_reads_as_nothing() -> None:
    assert FIREWALL.read(FakeHosts(None), INPUTS) is None
    assert FIREWALL.read(FakeHosts(facts()), INPUTS) is None
    assert FIREWALL.read(FakeHosts(facts(nftables=listing(owner="strict"))), INPUTS) is None


def test_deleting_never_takes_another_policys_table() -> None:
    hosts = FakeHosts(facts(nftables=listing(owner="strict")))
    FIREWALL.delete(hosts, INPUTS)
    FIREWALL.delete(FakeHosts(None), INPUTS)
    assert hosts.host.log == []
    hosts = FakeHosts(facts(nftables=listing()))
    FIREWALL.delete(hosts, INPUTS)
    assert hosts.host.log == [("nft", "-f", "-")]


def test_a_listing_that_makes_no_sense_is_a_clear_error() -> None:
    with pytest.raises(WorldUnreadable, match="the firewall of n cannot be read") as caught:
        FIREWALL.read(FakeHosts(facts(nftables={"nftables": [{"rule": 1}]})), INPUTS)
    assert caught.value.exit_code is ExitCode.WORLD_UNREADABLE


def test_words_for_people() -> None:
    assert [effect.text for effect in FIREWALL.effects(None, INPUTS)] == [
        "forward: drop by default",
        "input: drop by default",
        "output: accept by default",
        "rule flow:ray:6379:ip: tcp/6379 from 10.88.0.9, 10.88.3.4 on wg0",
        "rule loopback: everything from the node itself",
    ]
    fewer = {**INPUTS, "rules": {"loopback": 'iifname "lo" accept'}}
    (effect,) = FIREWALL.effects(INPUTS, fewer)
    assert (effect.action.value, effect.text) == (
        "delete",
        "rule flow:ray:6379:ip: tcp/6379 from 10.88.0.9, 10.88.3.4 on wg0",
    )
    assert FIREWALL.impact(INPUTS, fewer) == Impact("closes tcp/6379 for 10.88.0.9, 10.88.3.4")
    assert FIREWALL.impact(fewer, INPUTS) == Impact()


def test_a_door_left_open_is_said_to_be_shut() -> None:
    seen = FIREWALL.read(FakeHosts(facts(nftables=listing(extra=True, policy="accept"))), INPUTS)
    assert seen is not None
    assert [(effect.action.value, effect.text) for effect in FIREWALL.effects(seen.inputs, INPUTS)] == [
        ("update", "input: accept by default → drop"),
        ("delete", "rule unnamed:1: accept"),
    ]


def test_a_change_of_sources_shows_only_the_sources() -> None:
    changed = {**INPUTS, "sets": {"flow-ray": {"ip": ["10.88.0.9", "10.88.7.7"]}}}
    (effect,) = FIREWALL.effects(INPUTS, changed)
    assert effect.text == "flow ray: from -10.88.3.4 +10.88.7.7"
    assert FIREWALL.impact(INPUTS, changed) == Impact("closes tcp/6379 for 10.88.3.4")


@pytest.mark.parametrize(
    ("before", "after", "closed"),
    [
        ("7946", "7946-7947", ""),
        ("100-110", "103-105", "closes udp/100-102 for 10.88.0.9, udp/106-110 for 10.88.0.9"),
        ("7946", "7947", "closes udp/7946 for 10.88.0.9"),
    ],
)
def test_only_ports_that_nothing_else_opens_are_said_to_close(before: str, after: str, closed: str) -> None:
    def opening(ports: str) -> dict[str, object]:
        rule = f'iifname "wg0" ip saddr 10.88.0.9 udp dport {ports} accept'
        return {**INPUTS, "rules": {f"flow:gossip:{ports}:ip": rule}}

    assert FIREWALL.impact(opening(before), opening(after)) == Impact(closed)
