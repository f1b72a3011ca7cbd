"""`mesh verify` on a real lab: each check fails by a real fault, is the only one that does, and is ok again after."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from swarmctl.backends.lab import network
from tests.integration import lab as labs
from tests.integration.underlay import TABLE, Underlay

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("mesh-verify")]

ONE, OTHER = "control-0", "workers-0"
KEY = "/etc/swarmctl/mesh/backbone/private.key"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, engine: object) -> Iterator[labs.Lab]:
    made = labs.make(tmp_path_factory.mktemp("verify"))
    made.edit("pools.yaml", "lab: {count: 3}", "lab: {count: 1}")
    try:
        made("apply", "--yes")
        yield made
    finally:
        made("destroy", "--yes")
        labs.assert_nothing_left(made)


@pytest.fixture
def below(lab: labs.Lab) -> Underlay:
    return Underlay.of(lab)


def failed(lab: labs.Lab) -> dict[str, list[str]]:
    """What is not ok, by check."""
    found = lab("mesh", "verify", "--format", "json", code=None)
    (mesh,) = found.json["meshes"]
    wrong = {
        check["name"]: [f"{finding['node']}: {finding['text']}" for finding in check["findings"]]
        for check in mesh["checks"]
        if check["verdict"] != "ok"
    }
    assert found.code == (1 if wrong else 0)
    return wrong


@contextmanager
def on(lab: labs.Lab, node: str, do: str, undo: str) -> Iterator[None]:
    """A fault on a node."""
    lab.on(node, do)
    try:
        yield
    finally:
        lab.on(node, undo)


@contextmanager
def bridge(below: Underlay, rule: str) -> Iterator[None]:
    """A rule for all that comes to the lab's bridges."""
    chain = f"chain in {{ type filter hook prerouting priority 0; {rule}; }}"
    below.on("", "nft", "-f", "-", stdin=f"table bridge {TABLE} {{\n{chain}\n}}\n")
    try:
        yield
    finally:
        below.heal()


def test_nothing_is_wrong_with_a_fresh_lab_and_everything_was_measured(lab: labs.Lab) -> None:
    seen = lab("mesh", "verify", "--format", "json").json
    (mesh,) = seen["meshes"]
    assert {check["verdict"] for check in mesh["checks"]} == {"ok"}
    assert mesh["wireguardPackets"] > 100
    pairs = [way for pair in mesh["pairs"] for way in pair["addresses"]]
    assert len(pairs) == 3 * 2 * 2
    assert {(way["received"], way["mtu"]) for way in pairs} == {(way["sent"], mesh["mtu"]) for way in pairs}
    assert "no plaintext" in lab("mesh", "verify").out
    assert 'swarmctl_mesh_verified{stack="lab"} 1' in lab("mesh", "verify", "--format", "prometheus").out


def test_packets_of_the_mesh_in_clear_are_seen(lab: labs.Lab, below: Underlay) -> None:
    target = below.mesh_address(OTHER)
    leak = f"nft flush chain inet swarmctl output; ip route add {target}/32 dev eth0"
    with on(lab, ONE, leak, f"ip route del {target}/32 dev eth0"):
        wrong = failed(lab)
    lab("apply", "--yes")
    assert any(line.startswith(f"{ONE}: ") and "in clear on eth0" in line for line in wrong["plaintext"]), wrong


def test_a_capture_that_can_not_be_made_is_not_ok(lab: labs.Lab) -> None:
    with on(lab, ONE, "ln -s /bin/false /usr/local/sbin/tcpdump", "rm /usr/local/sbin/tcpdump"):
        wrong = failed(lab)
    assert list(wrong) == ["plaintext"]
    assert wrong["plaintext"][0].startswith(f"{ONE}: eth0 could not be captured")


def test_a_peer_that_nobody_declared(lab: labs.Lab) -> None:
    key = "x25519unknownunknownunknownunknownunknownun0="
    with on(
        lab,
        ONE,
        f"wg genkey | wg pubkey >/tmp/{key[:6]}; wg set wg0 peer $(cat /tmp/{key[:6]}) allowed-ips 10.88.200.200/32",
        f"wg set wg0 peer $(cat /tmp/{key[:6]}) remove",
    ):
        wrong = failed(lab)
    assert list(wrong) == ["peers"]
    assert wrong["peers"][0].startswith(f"{ONE}: wg0 has a peer that nobody declared: ")


def test_a_key_that_others_may_read(lab: labs.Lab) -> None:
    with on(lab, ONE, f"chmod 0644 {KEY}", f"chmod 0600 {KEY}"):
        assert failed(lab) == {"keyFiles": [f"{ONE}: {KEY} has the mode 0644, not 0600"]}


def test_a_key_that_others_may_read_beside_the_private_one_is_drift_and_apply_closes_it(lab: labs.Lab) -> None:
    old = KEY.replace("private.key", ".old.key")
    lab.on(ONE, f"cp {KEY} {old}; chmod 0644 {old}; chmod 0755 {old.rpartition('/')[0]}")
    folder = f"{ONE}: {old.rpartition('/')[0]} has the mode 0755, not 0700"
    wrong = failed(lab)
    assert {*wrong.pop("keyFiles")} == {folder, f"{ONE}: {old} has the mode 0644, not 0600"}
    assert wrong == {}
    assert ".old.key 0644" in lab("drift", code=21).out
    lab("apply", "--yes")
    assert lab.on(ONE, f"stat -c %a {old} {old.rpartition('/')[0]}; shred -u {old}").split() == ["600", "700"]
    assert failed(lab) == {}


def test_an_underlay_that_carries_less_in_between(lab: labs.Lab, below: Underlay) -> None:
    cable = network.cable_name(ONE)
    below.on("", "ip", "link", "set", cable, "mtu", "1400")
    try:
        wrong = failed(lab)
    finally:
        below.on("", "ip", "link", "set", cable, "mtu", "1500")
        for node in below.nodes():
            lab.on(node, "ip route flush cache")  # they were told by the router between regions, and go by it for long
    assert list(wrong) == ["pathMtu"]
    # A port takes four bytes more, for a VLAN tag; WireGuard puts 60 around what it carries, in steps of 16.
    assert any(f"comes back from {ONE}" in line and "has 1344 bytes" in line for line in wrong["pathMtu"]), wrong


def test_what_is_dropped_one_way(lab: labs.Lab, below: Underlay) -> None:
    with bridge(below, f"ip saddr {below.address(ONE)} ip daddr {below.address(OTHER)} drop"):
        wrong = failed(lab)
    assert {line.split(" at ")[0] for line in wrong["reachability"]} == {
        f"{ONE}: no answer from {OTHER}",
        f"{OTHER}: no answer from {ONE}",
    }


def test_one_packet_in_twenty_lost(lab: labs.Lab, below: Underlay) -> None:
    with bridge(below, f"ip saddr {below.address(ONE)} numgen inc mod 20 < 1 drop"):
        wrong = failed(lab)
    assert list(wrong) == ["loss"], wrong


def test_watching_tells_what_comes_and_goes_and_ends_by_ctrl_c(lab: labs.Lab) -> None:
    process = lab.start("mesh", "verify", "--watch", "1s", "--format", "json")
    try:
        assert key_files(process) == "ok"
        lab.on(ONE, f"chmod 0644 {KEY}")
        until(lambda: key_files(process) == "failed")
        lab.on(ONE, f"chmod 0600 {KEY}")
        until(lambda: key_files(process) == "ok")
        process.send_signal(signal.SIGINT)
        labs.ended(process, ("mesh", "verify", "--watch"), code=None, timeout=60)
        assert process.returncode in (0, 1), "that of the last measurement"
    finally:
        process.kill()


def key_files(process: subprocess.Popen[str]) -> str:
    """The verdict in the next document."""
    assert process.stdout is not None
    (mesh,) = json.loads(process.stdout.readline())["meshes"]
    return next(str(check["verdict"]) for check in mesh["checks"] if check["name"] == "keyFiles")


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not what():
        assert time.monotonic() < deadline


def test_all_is_well_in_the_end(lab: labs.Lab) -> None:
    assert failed(lab) == {}
