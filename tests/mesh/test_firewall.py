"""The firewall compiler: what it opens, and that nft lists exactly what was rendered."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarmctl.mesh import firewall, nft
from swarmctl.mesh.firewall import CHAINS, Door, Flow, compile_rules, compile_sets, merge_ports
from swarmctl.mesh.transaction import render, render_removal

v4 = st.integers(1, 2**32 - 2).map(lambda n: ".".join(str(b) for b in n.to_bytes(4, "big")))
v6 = st.integers(1, 2**64).map(lambda n: f"fd88::{n & 0xFFFF:x}")
addresses = st.lists(st.one_of(v4, v6), max_size=6, unique=True).map(tuple)
port = st.integers(1, 65535)
ports = st.lists(
    st.one_of(port.map(str), st.tuples(port, port).map(lambda pair: f"{min(pair)}-{max(pair)}")), min_size=1, max_size=5
).map(tuple)
instants = st.one_of(st.none(), st.integers(946684800, 4102444799))
networks = st.sampled_from([("10.88.0.0/16",), ("fd88::/64",), ("10.88.0.0/16", "fd88::/64")])
names = st.sampled_from(["ray", "gossip", "a" * 63])
protocols = st.sampled_from(["tcp", "udp"])
flows = st.lists(
    st.builds(Flow, names, protocols, ports, st.one_of(addresses, networks), instants),
    max_size=3,
    unique_by=lambda flow: flow.name,
).map(tuple)
doors = st.builds(
    Door,
    interfaces=st.sampled_from([("wg0", "wg0-n"), ("mesh-a", "mesh-a-n"), ("abcdefghijklmno", "abcdefghijklm-n")]),
    ports=st.tuples(port, port),
    endpoints=addresses,
    cidrs=networks,
    forwards=st.booleans(),
    flows=flows,
    anywhere=st.booleans(),
)

DOOR = Door(
    interfaces=("wg0", "wg0-n"),
    ports=(51820, 51821),
    endpoints=("172.20.1.5", "172.20.0.3", "fd20::3"),
    cidrs=("10.88.0.0/16",),
    forwards=False,
    flows=(Flow("ray-head", "tcp", ("6379", "10001-10010"), ("10.88.3.4", "10.88.0.9")),),
)
END = 1796083200  # 2026-12-01T00:00:00Z
GRANT = Flow("debug", "tcp", ("22",), ("10.88.3.4", "fd88::4"), END)
INSIDE, OUTSIDE = 'iifname { "wg0", "wg0-n" }', 'iifname != { "wg0", "wg0-n" }'


def test_the_rules_of_a_node() -> None:
    flow = f"{INSIDE} ct direction original ip saddr @flow-ray-head.ip tcp dport"
    assert compile_rules(DOOR) == {
        "too-many:mesh:echo:ip": f"{INSIDE} icmp type echo-request limit rate over 100/second burst 200 packets drop",
        "too-many:path-mtu:ip": f"{INSIDE} icmp type destination-unreachable icmp code frag-needed "
        "limit rate over 100/second burst 200 packets drop",
        "too-many:underlay:echo:ip": f"{OUTSIDE} icmp type echo-request "
        "limit rate over 100/second burst 200 packets drop",
        "too-many:underlay:echo:ip6": f"{OUTSIDE} icmpv6 type echo-request "
        "limit rate over 100/second burst 200 packets drop",
        "redirect:ip": f"{INSIDE} icmp type redirect drop",
        "path-mtu:ip": f"{INSIDE} icmp type destination-unreachable icmp code frag-needed accept",
        "invalid": "ct state invalid drop",
        "answers": "ct state established,related accept",
        "loopback": 'iifname "lo" accept',
        "neighbours": "ip6 hoplimit 255 icmpv6 type { nd-neighbor-advert, nd-neighbor-solicit } accept",
        "wireguard:ip": f"{OUTSIDE} ip saddr @peers.ip udp dport {{ 51820, 51821 }} accept",
        "wireguard:ip6": f"{OUTSIDE} ip6 saddr @peers.ip6 udp dport {{ 51820, 51821 }} accept",
        "underlay:echo:ip": f"{OUTSIDE} ip saddr @peers.ip icmp type echo-request accept",
        "underlay:echo:ip6": f"{OUTSIDE} ip6 saddr @peers.ip6 icmpv6 type echo-request accept",
        "mesh:echo:ip": f"{INSIDE} icmp type echo-request accept",
        "no-plaintext:ip": 'oifname != { "lo", "wg0", "wg0-n" } ip daddr 10.88.0.0/16 drop',
        "flow:ray-head:10001-10010:ip": f'{flow} 10001-10010 counter name "flow-ray-head" accept',
        "flow:ray-head:6379:ip": f'{flow} 6379 counter name "flow-ray-head" accept',
        "denied": f'{INSIDE} counter name "denied" drop',
    }
    assert compile_sets(DOOR) == {
        "flow-ray-head": {"ip": ["10.88.0.9", "10.88.3.4"]},
        "peers": {"ip": ["172.20.0.3", "172.20.1.5"], "ip6": ["fd20::3"]},
    }


def test_a_grant_ends_by_the_nodes_own_clock_in_both_directions_and_over_both_families() -> None:
    rules = compile_rules(replace(DOOR, flows=(GRANT,)))
    for family in ("ip", "ip6"):
        asked = f"{INSIDE} ct direction original {family} saddr @flow-debug.{family} tcp dport 22"
        reply = f"o{INSIDE[1:]} ct direction reply {family} daddr @flow-debug.{family} tcp sport 22"
        assert rules[f"flow:debug:22:{family}"] == f'{asked} meta time < {END} counter name "flow-debug" accept'
        assert rules[f"ended:debug:22:{family}"] == f'{asked} meta time >= {END} counter name "denied" drop'
        assert rules[f"reply:debug:22:{family}"] == f"{reply} meta time < {END} accept"
        assert rules[f"reply-ended:debug:22:{family}"] == f"{reply} meta time >= {END} drop"
    places = list(rules)
    assert places.index("flow:debug:22:ip6") < places.index("ended:debug:22:ip") < places.index("answers")
    assert places.index("no-plaintext:ip") < places.index("reply:debug:22:ip") < places.index("reply-ended:debug:22:ip")


def test_what_another_flow_allows_goes_on_when_a_grant_ends() -> None:
    lasting = Flow("ssh", "tcp", ("20-30",), ("10.88.3.4",))
    apart = [Flow("web", "tcp", ("80",), ("10.88.3.4",)), Flow("dns", "udp", ("22",), ("10.88.3.4",))]
    rules = compile_rules(replace(DOOR, flows=(GRANT, lasting, *apart)))
    places = list(rules)
    assert places.index("flow:ssh:20-30:ip") < places.index("ended:debug:22:ip")
    assert places.index("reply:ssh:20-30:ip") < places.index("reply-ended:debug:22:ip")
    assert rules["reply:ssh:20-30:ip"].endswith("tcp sport 20-30 accept")
    assert not any(name.startswith(("reply:web", "reply:dns")) for name in rules)


def test_rules_are_equal_whatever_the_time_is() -> None:
    past = replace(DOOR, flows=(replace(GRANT, until=1),))
    assert compile_rules(past)["flow:debug:22:ip"].endswith('meta time < 1 counter name "flow-debug" accept')


def test_a_flow_from_the_whole_mesh_names_networks_and_no_nodes() -> None:
    door = replace(DOOR, flows=(Flow("all", "tcp", ("80",), ("10.88.0.0/16", "fd88::/64")),))
    rules = compile_rules(door)
    assert "ip saddr 10.88.0.0/16 tcp" in rules["flow:all:80:ip"]
    assert "ip6 saddr fd88::/64 tcp" in rules["flow:all:80:ip6"]
    assert compile_sets(door).keys() == {"peers"}


def test_wireguard_is_open_to_everyone_where_a_peer_may_come_from_anywhere() -> None:
    rules = compile_rules(replace(DOOR, anywhere=True))
    assert rules["wireguard:anywhere"] == f"{OUTSIDE} udp dport {{ 51820, 51821 }} accept"
    assert "wireguard:ip" not in rules
    assert "@peers.ip " in rules["underlay:echo:ip"]


def test_nodes_with_the_same_flows_share_rules_and_sets() -> None:
    one, other = compile_sets(DOOR), compile_sets(replace(DOOR, endpoints=("172.20.9.9", "fd20::9")))
    assert one["flow-ray-head"] is other["flow-ray-head"]
    assert compile_rules(DOOR) is compile_rules(replace(DOOR, endpoints=("172.20.9.9", "fd20::9")))


def test_a_flow_that_no_node_may_open_opens_nothing() -> None:
    closed = replace(DOOR, endpoints=(), flows=(Flow("ray", "tcp", ("6379",), ()),))
    assert not any(name.startswith(("flow:", "wireguard:")) for name in compile_rules(closed))
    assert compile_sets(closed) == {}


def test_only_a_hub_passes_traffic_on_and_only_from_mesh_to_mesh() -> None:
    assert not any(name.startswith("through") for name in compile_rules(DOOR))
    hub = compile_rules(replace(DOOR, cidrs=("10.88.0.0/16", "fd88::/64"), forwards=True))
    both = f"{INSIDE} o{INSIDE[1:]}"
    assert hub["through:ip"] == f"{both} ip saddr 10.88.0.0/16 ip daddr 10.88.0.0/16 accept"
    assert hub["no-redirect:ip"] == f"o{INSIDE[1:]} icmp type redirect drop"
    assert hub["no-redirect:ip6"] == f"o{INSIDE[1:]} icmpv6 type nd-redirect drop"
    assert hub["through:ip6"] == f"{both} ip6 saddr fd88::/64 ip6 daddr fd88::/64 accept"
    assert firewall.chain("through:ip6") == "forward"


def test_what_comes_in_and_through_is_denied_by_default() -> None:
    assert CHAINS["input"].endswith("policy drop")
    assert CHAINS["forward"].endswith("policy drop")


@settings(deadline=None)
@given(doors)
def test_nothing_but_wireguard_and_echo_is_open_outside_the_mesh(door: Door) -> None:
    for name, text in compile_rules(door).items():
        both = firewall.canonical(f'"{interface}"' for interface in door.interfaces)
        inside = text.startswith((f"iifname {both} ", 'iifname "lo"'))
        group = name.partition(":")[0]
        drops = group in ("invalid", "too-many", "denied") or group.endswith(("redirect", "plaintext", "ended"))
        assert inside or drops or group in ("answers", "neighbours", "wireguard", "underlay", "reply")
        assert text.split()[-1] == ("drop" if drops else "accept")


def test_what_drops_stands_before_what_would_accept_it() -> None:
    places = {name.partition(":")[0]: place for place, name in enumerate(compile_rules(DOOR))}
    assert places["too-many"] < places["path-mtu"] < places["invalid"] < places["flow"] < places["answers"]
    assert places["denied"] > max(place for group, place in places.items() if group not in ("denied", "no-plaintext"))
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
        ["unshare", "--net", "sh", "-c", "nft -f - && TZ=UTC0 nft -j list ruleset"],
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
    table = nft.Table("baseline", CHAINS, compile_rules(door), compile_sets(door))
    found = nft.parse(listed(render(table)))
    assert found == table
    assert not found.foreign


@pytest.mark.integration
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nft"), reason="needs root and nft")
def test_a_transaction_replaces_the_table_and_leaves_others_alone() -> None:
    first = render(nft.Table("one", CHAINS, compile_rules(DOOR), compile_sets(DOOR)))
    second = nft.Table("two", CHAINS, {"loopback": 'iifname "lo" accept'})
    found = listed("table inet other {\n}\n" + first + render(second))
    assert nft.parse(found) == second
    assert any(item.get("table", {}).get("name") == "other" for item in found["nftables"])
    assert nft.parse(listed(first + render_removal() + render_removal())) is None
