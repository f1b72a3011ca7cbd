"""The firewall compiler: what it opens, and that nft lists exactly what was rendered."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarmctl.mesh import firewall, nft
from swarmctl.mesh.firewall import CHAINS, Door, Flow, compile_rules, merge_ports, render, sources

v4 = st.integers(1, 2**32 - 2).map(lambda n: ".".join(str(b) for b in n.to_bytes(4, "big")))
v6 = st.integers(1, 2**64).map(lambda n: f"fd88::{n & 0xFFFF:x}")
addresses = st.lists(st.one_of(v4, v6), max_size=6, unique=True).map(tuple)
port = st.integers(1, 65535)
ports = st.lists(
    st.one_of(port.map(str), st.tuples(port, port).map(lambda pair: f"{min(pair)}-{max(pair)}")), min_size=1, max_size=5
).map(tuple)
flows = st.lists(
    st.builds(Flow, st.sampled_from(["ray", "gossip", "a" * 63]), st.sampled_from(["tcp", "udp"]), ports, addresses),
    max_size=3,
    unique_by=lambda flow: flow.name,
).map(tuple)
doors = st.builds(
    Door,
    interface=st.sampled_from(["wg0", "mesh-a"]),
    port=port,
    endpoints=addresses,
    cidrs=st.sampled_from([("10.88.0.0/16",), ("fd88::/64",), ("10.88.0.0/16", "fd88::/64")]),
    forwards=st.booleans(),
    flows=flows,
)

DOOR = Door(
    interface="wg0",
    port=51820,
    endpoints=("172.20.1.5", "172.20.0.3", "fd20::3"),
    cidrs=("10.88.0.0/16",),
    forwards=False,
    flows=(Flow("ray-head", "tcp", ("6379", "10001-10010"), ("10.88.3.4", "10.88.0.9")),),
)


def test_the_rules_of_a_node() -> None:
    assert compile_rules(DOOR) == {
        "too-many:mesh:echo:ip": 'iifname "wg0" icmp type echo-request '
        "limit rate over 100/second burst 200 packets drop",
        "too-many:path-mtu:ip": 'iifname "wg0" icmp type destination-unreachable icmp code frag-needed '
        "limit rate over 100/second burst 200 packets drop",
        "too-many:underlay:echo:ip": 'iifname != "wg0" icmp type echo-request '
        "limit rate over 100/second burst 200 packets drop",
        "too-many:underlay:echo:ip6": 'iifname != "wg0" icmpv6 type echo-request '
        "limit rate over 100/second burst 200 packets drop",
        "path-mtu:ip": 'iifname "wg0" icmp type destination-unreachable icmp code frag-needed accept',
        "invalid": "ct state invalid drop",
        "answers": "ct state established,related accept",
        "loopback": 'iifname "lo" accept',
        "neighbours": "ip6 hoplimit 255 icmpv6 type { nd-neighbor-advert, nd-neighbor-solicit } accept",
        "wireguard:ip": 'iifname != "wg0" ip saddr { 172.20.0.3, 172.20.1.5 } udp dport 51820 accept',
        "wireguard:ip6": 'iifname != "wg0" ip6 saddr fd20::3 udp dport 51820 accept',
        "underlay:echo:ip": 'iifname != "wg0" ip saddr { 172.20.0.3, 172.20.1.5 } icmp type echo-request accept',
        "underlay:echo:ip6": 'iifname != "wg0" ip6 saddr fd20::3 icmpv6 type echo-request accept',
        "mesh:echo:ip": 'iifname "wg0" icmp type echo-request accept',
        "no-plaintext:ip": 'oifname != { "lo", "wg0" } ip daddr 10.88.0.0/16 drop',
        "flow:ray-head:10001-10010:ip": 'iifname "wg0" ip saddr { 10.88.0.9, 10.88.3.4 } tcp dport 10001-10010 accept',
        "flow:ray-head:6379:ip": 'iifname "wg0" ip saddr { 10.88.0.9, 10.88.3.4 } tcp dport 6379 accept',
    }


def test_a_flow_that_no_node_may_open_opens_nothing() -> None:
    closed = Door("wg0", 51820, (), ("10.88.0.0/16",), False, (Flow("ray", "tcp", ("6379",), ()),))
    assert not any(name.startswith(("flow:", "wireguard:")) for name in compile_rules(closed))


def test_only_a_hub_passes_traffic_on_and_only_from_mesh_to_mesh() -> None:
    assert "through" not in compile_rules(DOOR)
    hub = compile_rules(Door("wg0", 1, (), ("10.88.0.0/16",), True, ()))
    assert hub["through"] == 'iifname "wg0" oifname "wg0" accept'
    assert firewall.chain("through") == "forward"


def test_what_comes_in_and_through_is_denied_by_default() -> None:
    assert CHAINS["input"].endswith("policy drop")
    assert CHAINS["forward"].endswith("policy drop")


@settings(deadline=None)
@given(doors)
def test_nothing_but_wireguard_and_echo_is_open_outside_the_mesh(door: Door) -> None:
    for name, text in compile_rules(door).items():
        inside = text.startswith((f'iifname "{door.interface}"', 'iifname "lo"'))
        group = name.partition(":")[0]
        drops = group in ("invalid", "too-many", "no-plaintext")
        assert inside or drops or group in ("answers", "neighbours", "wireguard", "underlay")
        assert text.split()[-1] == ("drop" if drops else "accept")


def test_what_drops_stands_before_what_would_accept_it() -> None:
    places = {name.partition(":")[0]: place for place, name in enumerate(compile_rules(DOOR))}
    assert places["too-many"] < places["path-mtu"] < places["invalid"] < places["answers"]
    assert firewall.chain("no-plaintext:ip6") == "output"


def test_a_table_that_is_switched_off_differs() -> None:
    for flags in ("dormant", ["dormant"], "swarmctl"):  # as versions of nft list it
        table = nft.parse({"nftables": [{"table": {"family": "inet", "name": "swarmctl", "flags": flags}}]})
        assert table is not None
        assert "flags" in table.rules


@settings(deadline=None)
@given(ports)
def test_merged_ports_open_the_same_ports_once(given_ports: tuple[str, ...]) -> None:
    def spread(texts: Any) -> list[int]:
        spans = ((int(low), int(high or low)) for low, _, high in (text.partition("-") for text in texts))
        return [number for low, high in spans for number in range(low, high + 1)]

    merged = spread(merge_ports(given_ports))
    assert merged == sorted(set(spread(given_ports)))


def test_sources_are_read_from_a_rule() -> None:
    rules = compile_rules(DOOR)
    assert sources(rules["wireguard:ip"]) == ["172.20.0.3", "172.20.1.5"]
    assert sources(rules["wireguard:ip6"]) == ["fd20::3"]
    assert sources(rules["answers"]) == ()


def test_a_foreign_statement_appears_as_its_json() -> None:
    listing = {
        "nftables": [
            {"metainfo": {"version": "1.0.6"}},
            {"table": {"family": "inet", "name": "swarmctl", "handle": 1}},
            {"rule": {"family": "inet", "table": "swarmctl", "chain": "input", "expr": [{"log": {"prefix": "x"}}]}},
            {"rule": {"family": "inet", "table": "swarmctl", "chain": "input", "expr": [{"accept": None}]}},
            {"rule": {"family": "inet", "table": "other", "chain": "input", "expr": [{"accept": None}]}},
        ]
    }
    table = nft.parse(listing)
    assert table is not None
    assert table.rules == {"unnamed:1": '{"log": {"prefix": "x"}}', "unnamed:2": "accept"}
    assert table.owner == ""


def test_rules_in_another_order_or_chain_are_seen() -> None:
    rule = {"family": "inet", "table": "swarmctl", "chain": "input", "expr": [{"accept": None}]}
    items = [
        {"table": {"family": "inet", "name": "swarmctl"}},
        {"rule": {**rule, "comment": "invalid"}},
        {"rule": {**rule, "comment": "loopback"}},
        {"rule": {**rule, "comment": "answers", "chain": "forward"}},
    ]
    table = nft.parse({"nftables": items})
    assert table is not None
    assert table.rules["order"]
    assert table.rules["answers"] == "in chain forward: accept"


def test_no_table_is_none() -> None:
    assert nft.parse({"nftables": [{"table": {"family": "ip", "name": "swarmctl"}}]}) is None


def listed(text: str) -> Any:
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", "nft -f - && nft -j list ruleset"],
        input=text.encode(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode() + text
    return json.loads(done.stdout)


@pytest.mark.integration
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nft"), reason="needs root and nft")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(doors)
def test_nft_lists_exactly_what_was_rendered(door: Door) -> None:
    rules = compile_rules(door)
    assert nft.parse(listed(render("baseline", CHAINS, rules))) == nft.Table("baseline", CHAINS, rules)


@pytest.mark.integration
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nft"), reason="needs root and nft")
def test_a_transaction_replaces_the_table_and_leaves_others_alone() -> None:
    first, second = (
        render("one", CHAINS, compile_rules(DOOR)),
        render("two", CHAINS, {"loopback": 'iifname "lo" accept'}),
    )
    found = listed("table inet other {\n}\n" + first + second)
    table = nft.parse(found)
    assert table == nft.Table("two", CHAINS, {"loopback": 'iifname "lo" accept'})
    assert any(item.get("table", {}).get("name") == "other" for item in found["nftables"])
    assert nft.parse(listed(first + firewall.render_removal() + firewall.render_removal())) is None
