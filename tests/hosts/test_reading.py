"""Reading a host: one script, nothing secret in it, and whatever comes back never ends in a traceback."""

from __future__ import annotations

import contextlib
import json
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmctl.errors import WorldUnreadable
from swarmctl.hosts import reading
from swarmctl.hosts.facts import Failover, Peer, Route

LINKS = [
    {
        "ifname": "lo",
        "flags": ["LOOPBACK", "UP"],
        "mtu": 65536,
        "addr_info": [{"local": "127.0.0.1", "prefixlen": 8, "scope": "host"}],
    },
    {},
    {
        "ifname": "wg0",
        "flags": ["POINTOPOINT", "NOARP", "UP"],
        "mtu": 1420,
        "ifalias": "swarmctl:backbone",
        "addr_info": [
            {"local": "10.88.3.4", "prefixlen": 16, "scope": "global"},
            {"local": "fe80::1", "prefixlen": 64, "scope": "link"},
        ],
    },
]


ROUTES = [
    {"dst": "default", "gateway": "172.30.0.254", "dev": "eth0"},
    {"dst": "10.88.0.0/16", "dev": "wg0", "protocol": "kernel"},
    {"type": "blackhole", "dst": "10.88.7.7", "table": "7", "metric": 5},
    {"type": "local", "dst": "10.88.3.4", "dev": "wg0", "table": "local"},
]


def printed(**changes: str) -> bytes:
    parts = {
        "hostname": "workers-0\n",
        "now": "1700000000\n",
        "interfaces": json.dumps(LINKS) + "\n\n@ 0\n",
        "wg public-key": "@ wg0\nPUB=\n@ wg1\n(none)\n",
        "wg listen-port": "@ wg0\n51820\n@ wg1\n4000\n",
        "wg peers": "@ wg0\nA=\nB=\n",
        "wg endpoints": "@ wg0\nA=\t[fd30::1]:51820\nB=\t(none)\n",
        "wg allowed-ips": "@ wg0\nA=\t10.88.0.1/32 fd88::1/128\nB=\t(none)\n",
        "wg persistent-keepalive": "@ wg0\nA=\t25\nB=\toff\n",
        "wg latest-handshakes": "@ wg0\nA=\t1699999990\nB=\t0\n",
        "hung": "wg7\n",
        "wg fwmark": "@ wg0\noff\n@ wg1\n0x1234\n",
        "wg preshared": "@ wg0\nA=\n@ wg1\n",
        "routes 4": json.dumps(ROUTES) + "\n\n@ 0\n",
        "routes 6": "[]\n\n@ 0\n",
        "wg transfer": "@ wg0\nA=\t100\t200\nB=\t0\t0\n",
        "nftables": '{"nftables": []}\n\n@ 0\n',
        "sysctl": "net/ipv4/ip_forward\t1\n",
        "keys": "/etc/swarmctl/mesh/backbone/private.key\t600\tPUB=\n/etc/swarmctl/mesh/x/private.key\t644\t\n",
        "failover": f"@ wg0\ntable {'0' * 64}  -\nagent v1\nactive hub-1\nactive -\n@ wg1\n@ A name\nagent v1\n",
        "end": "",
    } | {name.replace("_", " "): text for name, text in changes.items()}
    return "".join(f"\n@@ {name}\n{text}" for name, text in parts.items()).encode()


def test_a_reading_becomes_facts() -> None:
    facts = reading.parse(printed(), "workers-0")
    assert (facts.hostname, facts.now) == ("workers-0", 1700000000)
    wg0 = facts.interfaces["wg0"]
    assert (wg0.up, wg0.mtu, wg0.addresses, wg0.alias) == (True, 1420, ("10.88.3.4/16",), "swarmctl:backbone")
    assert facts.wireguard["wg0"].peers == {
        "A=": Peer("A=", "[fd30::1]:51820", ("10.88.0.1/32", "fd88::1/128"), 25, 1699999990, 100, 200, preshared=True),
        "B=": Peer("B=", "", (), 0, 0, 0, 0),
    }
    assert (facts.wireguard["wg1"].public_key, facts.wireguard["wg1"].peers) == ("", {})
    assert (facts.wireguard["wg0"].fwmark, facts.wireguard["wg1"].fwmark) == ("off", "0x1234")
    assert facts.hung == {"wg7"}
    assert facts.routes == (
        Route("unicast", "0.0.0.0/0", "eth0", "main", None, gateway=True),
        Route("unicast", "10.88.0.0/16", "wg0", "main", None, gateway=False),
        Route("blackhole", "10.88.7.7/32", "", "7", 5, gateway=False),
    )
    assert facts.sysctl == {"net.ipv4.ip_forward": "1"}
    assert facts.key_files == {
        "/etc/swarmctl/mesh/backbone/private.key": "0600",
        "/etc/swarmctl/mesh/x/private.key": "0644",
    }
    assert facts.public_keys == {"/etc/swarmctl/mesh/backbone/private.key": "PUB="}
    assert facts.failover == {"wg0": Failover("0" * 64, "v1", ("hub-1", "-")), "wg1": Failover("", "")}


@pytest.mark.parametrize(
    ("output", "why"),
    [
        (b"", "its answer broke off"),
        (printed().partition(b"\n@@ end")[0], "its answer broke off"),
        (b"x" * (reading.LIMIT + 1), "more than 16 MiB"),
        (printed(interfaces="[]\n\n@ 127\n"), "ip is not installed there"),
        (printed(nftables="\n@ 1\n"), "nft failed there with status 1"),
        (printed(nftables='{"nftables": [1]}\n\n@ 0\n'), "no ruleset"),
        (printed(interfaces="[" * 100_000 + "\n\n@ 0\n"), "RecursionError"),
        (printed(now="soon"), "ValueError"),
        (printed(wg_transfer="@ wg0\nA=\t100"), "IndexError"),
        (printed(keys="a\tb"), "ValueError"),
        (b"\xff\xfe" * 100, "broke off"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_an_answer_that_makes_no_sense_is_a_clear_error(output: bytes, why: str) -> None:
    with pytest.raises(WorldUnreadable) as caught:
        reading.parse(output, "workers-0")
    assert caught.value.message.startswith("the state of workers-0 cannot be read: ")
    assert why in caught.value.message
    assert caught.value.hint


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(0, len(printed())))
def test_no_junk_ends_in_a_traceback(junk: bytes, at: int) -> None:
    whole = printed()
    with contextlib.suppress(WorldUnreadable):
        reading.parse(whole[:at] + junk + whole[at + len(junk) :], "n")


def test_a_peer_that_goes_between_two_questions_is_left_out() -> None:
    facts = reading.parse(printed(wg_transfer="@ wg0\nA=\t1\t2\n"), "n")
    assert set(facts.wireguard["wg0"].peers) == {"A="}


def test_the_script_asks_for_nothing_secret_and_writes_nothing() -> None:
    for word in ("dump", "showconf", "private-key", "cat /etc", "genkey", " >/"):
        assert word not in reading.SCRIPT.replace(" >/dev/null", "")


def test_the_script_reads_this_computer() -> None:
    done = subprocess.run(reading.ARGV, capture_output=True, check=False, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    text = done.stdout.decode()
    assert "@@ hostname" in text
    assert text.rstrip().endswith("@@ end")
