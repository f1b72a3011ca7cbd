"""`swarm:securitypolicy:Firewall`: replaced at once when it differs, read back by rule, shown by rule."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from swarmctl.errors import ExitCode, WorldUnreadable
from swarmctl.kinds.base import UNKNOWN, Impact
from swarmctl.kinds.security_policy.resources import FIREWALL
from swarmctl.mesh.firewall import CHAINS, Flow, compile_rules, compile_sets
from tests.mesh.fakes import FakeHosts, facts
from tests.mesh.test_firewall import DOOR, GRANT

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


def test_the_first_firewall_of_a_machine_that_runs_already_disrupts_it() -> None:
    said = Impact("n begins to drop what no rule lets in, on all its networks")
    assert FIREWALL.impact(None, {**INPUTS, "node": "n", "machine": "id"}) == said
    # One that is made in the same run has nothing that could be closed.
    assert FIREWALL.impact(None, {**INPUTS, "node": "n", "machine": UNKNOWN}) == Impact()


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


def grant(ports: str, sources: dict[str, list[str]] | str, until: int | None = None) -> dict[str, Any]:
    """Inputs with one flow over TCP, from addresses by family or from a network."""
    before = "" if until is None else f" meta time < {until}"
    named = {"ip": sources} if isinstance(sources, str) else {family: f"@flow-ray.{family}" for family in sources}
    rules = {
        f"flow:ray:{ports}:{family}": f'iifname {{ "wg0", "wg0-n" }} ct direction original {family} saddr {text} '
        f'tcp dport {ports}{before} counter name "flow-ray" accept'
        for family, text in named.items()
    }
    return {**INPUTS, "rules": rules, "sets": {} if isinstance(sources, str) else {"flow-ray": sources}}


ONE, BOTH = {"ip": ["10.88.0.9"]}, {"ip": ["10.88.0.9"], "ip6": ["fd88::9"]}


@pytest.mark.parametrize(
    ("before", "after", "closed"),
    [
        (grant("22", BOTH), grant("22", ONE), "closes tcp/22 for fd88::9"),
        (grant("22", ONE), grant("22", BOTH), ""),
        (grant("22", ONE), grant("22", "10.88.0.0/16"), ""),
        (grant("22", "10.88.0.0/24"), grant("22", "10.88.0.0/16"), ""),
        (grant("22", "10.88.0.0/16"), grant("22", ONE), "closes tcp/22 for 10.88.0.0/16"),
        (grant("22", ONE), grant("22", ONE, 1796083200), "ends tcp/22 for 10.88.0.9 at 2026-12-01T00:00:00Z"),
        (grant("22", ONE, 1796083200), grant("22", ONE), ""),
        (grant("22", ONE, 1), grant("22", ONE, 1796083200), ""),
        (
            grant("20-23", ONE),
            grant("22-30", ONE, 1796083200),
            "closes tcp/20-21 for 10.88.0.9, ends tcp/22-23 for 10.88.0.9 at 2026-12-01T00:00:00Z",
        ),
    ],
)
def test_what_closes_or_ends_is_told(before: dict[str, Any], after: dict[str, Any], closed: str) -> None:
    assert FIREWALL.impact(before, after) == Impact(closed)


def test_what_closes_is_found_in_time_for_large_sets() -> None:
    many = [f"10.{high}.{mid}.{low}" for high in (1, 2) for mid in range(100) for low in range(100)]
    started = time.process_time()
    assert FIREWALL.impact(grant("22", {"ip": many}), grant("22", {"ip": list(many)})) == Impact()
    assert (
        FIREWALL.impact(grant("22", {"ip": many}), grant("22", {"ip": many[1:]})).text == "closes tcp/22 for 10.1.0.0"
    )
    assert time.process_time() - started < 3


def test_rules_are_told_without_a_word_of_nft() -> None:
    flows = (GRANT, *DOOR.flows, Flow("all", "udp", ("9",), ("10.88.0.0/16", "fd88::/64")))
    door = replace(DOOR, cidrs=("10.88.0.0/16", "fd88::/64"), forwards=True, flows=flows)
    inputs = {**INPUTS, "rules": compile_rules(door), "sets": compile_sets(door)}
    told = {line.split(": ")[0]: line for line in (effect.text for effect in FIREWALL.effects(None, inputs))}
    for jargon in ("ifname", "saddr", "daddr", "counter", "meta", " ct ", "@", "{", "accept", "wg0-n"):
        assert not [line for name, line in told.items() if "by default" not in line and jargon in line], jargon
    ends = "2026-12-01T00:00:00Z"
    assert told["rule flow:debug:22:ip6"].endswith(f": tcp/22 from fd88::4 on wg0 until {ends}")
    assert told["rule ended:debug:22:ip6"].endswith(f": tcp/22 from fd88::4 on wg0: dropped from {ends} on")
    assert told["rule reply:debug:22:ip6"].endswith(f": answers of tcp/22 to fd88::4 on wg0 until {ends}")
    assert told["rule denied"] == "rule denied: everything else on wg0: dropped and counted"
    assert told["rule flow:all:9:ip"].endswith(": udp/9 from 10.88.0.0/16 on wg0")


def test_an_end_that_moves_is_told_with_both() -> None:
    early, late = grant("22", ONE, 1796083200), grant("22", ONE, 1796169600)
    (effect,) = FIREWALL.effects(early, late)
    assert effect.text == (
        "rule flow:ray:22:ip: tcp/22 from 10.88.0.9 on wg0 until 2026-12-01T00:00:00Z → "
        "tcp/22 from 10.88.0.9 on wg0 until 2026-12-02T00:00:00Z"
    )
    assert FIREWALL.impact(early, late) == Impact()


def test_many_addresses_are_told_in_short() -> None:
    many = [f"10.88.1.{low}" for low in range(50)]
    (effect,) = FIREWALL.effects(grant("22", ONE), grant("22", {"ip": [*ONE["ip"], *many]}))
    assert effect.text.startswith("flow ray: from +10.88.1.0 +10.88.1.1 ")
    assert effect.text.endswith(" … and 42 more")
