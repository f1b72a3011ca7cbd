"""The main road: a declared cluster comes up, changes, drifts, heals and goes away, through the real engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration import lab as labs

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KILL_WIREGUARD = """
for proc in /proc/[0-9]*; do
  case $(tr '\\0' ' ' <$proc/cmdline) in wireguard-go*) kill -9 ${proc#/proc/}; gone=1 ;; esac
done
[ "${gone:-}" ] || ip link del wg0   # in the kernel there is no process to kill
"""
REKEY = 115
"""Seconds: WireGuard makes new keys of a session after 120; a timer may be a little early."""
AGAIN = 6
"""Seconds: after these no handshake is tried again."""
NODES = ["control-0", "control-1", "workers-0", "workers-1", "workers-2"]


@pytest.fixture
def lab(tmp_path: Path, engine: object) -> Iterator[labs.Lab]:
    made = labs.make(tmp_path)
    try:
        yield made
    finally:
        made("destroy", "--yes", code=None)


def test_a_lab_comes_up_changes_drifts_heals_and_goes_away(lab: labs.Lab) -> None:
    comes_up(lab)
    applying_again_changes_and_writes_nothing(lab)
    scales_up_and_down(lab)
    drifts_and_heals(lab)
    goes_away(lab)


def comes_up(lab: labs.Lab) -> None:
    plan = lab("plan", "--format", "json", "--detailed-exitcode", code=20).json
    assert plan["schema"] == "swarmctl/plan/v1"
    # On each node a machine, an interface, its peers and a firewall; and of the whole mesh, how its keys are rotated.
    assert plan["summary"]["create"] == len(plan["changes"]) == 4 * len(NODES) + 1

    lab("apply", "--yes")

    status = lab("status", "--format", "json").json
    assert [node["name"] for node in status["nodes"]] == NODES
    assert all(node["ready"] for node in status["nodes"]), status["nodes"]
    assert len(status["links"]) == len(NODES) * (len(NODES) - 1)
    assert all(link["reachable"] and link["handshakeAge"] < 180 for link in status["links"]), status["links"]
    assert status["flows"], "declared flows are probed"
    assert all(flow["ok"] for flow in status["flows"]), [flow for flow in status["flows"] if not flow["ok"]]


def applying_again_changes_and_writes_nothing(lab: labs.Lab) -> None:
    before = labs.tree(lab.data)
    run = lab("apply", "--yes")
    assert "nothing to change" in (run.out + run.err).lower()
    after = labs.tree(lab.data)
    on_nodes = {path: value for path, value in after.items() if before.get(path) != value and path.startswith("lab/")}
    assert on_nodes == {}, "applying again wrote to a node"
    lab("plan", "--detailed-exitcode", code=0)


def scales_up_and_down(lab: labs.Lab) -> None:
    lab.edit("pools.yaml", "lab: {count: 3}", "lab: {count: 4}")
    plan = lab("plan", "--format", "json").json
    created = {change["address"] for change in plan["changes"] if change["action"] == "create"}
    updated = {change["address"] for change in plan["changes"] if change["action"] == "update"}
    assert "nodepool/workers[3]" in created
    assert len(created) == 4
    assert plan["summary"]["replace"] == plan["summary"]["delete"] == 0
    assert {f"mesh/backbone[{node}/peers]" for node in NODES} <= updated
    before = at_rest(lab)
    assert len(before) == len(NODES) * (len(NODES) - 1)
    assert all(tunnel.handshake for tunnel in before.values()), "all are up"
    lab("apply", "--yes")
    assert_undisturbed(before, tunnels(lab))
    status = lab("status", "--format", "json").json
    assert len(status["nodes"]) == 6
    assert all(node["ready"] for node in status["nodes"])

    lab.edit("pools.yaml", "lab: {count: 4}", "lab: {count: 3}")
    text = lab("plan").out
    assert "workers-3" in text
    before = at_rest(lab)
    lab("apply", "--yes")
    after = tunnels(lab)
    assert after.keys() < before.keys()
    assert_undisturbed({end: before[end] for end in after}, after)
    status = lab("status", "--format", "json").json
    assert [node["name"] for node in status["nodes"]] == NODES
    assert all(flow["ok"] for flow in status["flows"])


@dataclass(frozen=True)
class Tunnel:
    """One end of a WireGuard session, as `wg show wg0 dump` tells it."""

    handshake: int
    """When the keys of the session were agreed upon, in seconds since 1970. A peer set anew has 0, then a later one."""
    received: int
    sent: int


def tunnels(lab: labs.Lab) -> dict[tuple[str, str], Tunnel]:
    """Every tunnel by (node, public key of the peer)."""
    found = {}
    for node in NODES:
        for line in lab.on(node, "wg show wg0 dump").splitlines()[1:]:
            key, _, _, _, handshake, received, sent, _ = line.split("\t")
            found[node, key] = Tunnel(int(handshake), int(received), int(sent))
    return found


def at_rest(lab: labs.Lab) -> dict[tuple[str, str], Tunnel]:
    """Once no handshake may follow any more: one that has crossed another is tried again after 5 s (WireGuard, 6.1)."""
    for _ in range(30):
        found = tunnels(lab)
        if all(time.time() - tunnel.handshake > AGAIN for tunnel in found.values()):
            break
        time.sleep(1)
    return found


def assert_undisturbed(before: dict[tuple[str, str], Tunnel], after: dict[tuple[str, str], Tunnel]) -> None:
    """The sessions of `before` live on: their counters go on, their keys are as old as they were.

    Both ends make new keys by themselves when theirs are 120 s old (WireGuard, 5.4); only then they may be younger.
    """
    for end, was in before.items():
        now = after[end]
        assert now.received >= was.received, f"{end}: counted from nothing again"
        assert now.sent >= was.sent, f"{end}: counted from nothing again"
        unchanged = now.handshake == was.handshake
        assert unchanged or now.handshake - was.handshake >= REKEY, f"{end}: shaken hands anew, {was} → {now}"


def drifts_and_heals(lab: labs.Lab) -> None:
    lab("drift", code=0)
    peer = lab.on("workers-0", "wg show wg0 peers").split()[0]
    lab.on("workers-0", f"wg set wg0 peer {peer} remove")
    lab.on("workers-1", "nft flush ruleset")
    lab.on("workers-2", "ip link set wg0 mtu 1300")
    lab.on("control-1", KILL_WIREGUARD)

    drift = lab("drift", "--format", "json", code=21).json
    found = {(entry["address"], entry["path"]) for entry in drift["drift"]}
    addresses = {address for address, _ in found}
    assert "mesh/backbone[workers-0/peers]" in addresses
    assert "securitypolicy/baseline[workers-1]" in addresses
    assert ("mesh/backbone[workers-2]", "mtu") in found
    assert "mesh/backbone[control-1]" in addresses
    untouched = {address for address in addresses if "control-0" in address}
    assert untouched == set()

    keys = {node: lab.on(node, "cat /etc/swarmctl/mesh/backbone/public.key 2>/dev/null || true") for node in NODES}
    lab("apply", "--yes")
    lab("drift", code=0)
    assert keys == {
        node: lab.on(node, "cat /etc/swarmctl/mesh/backbone/public.key 2>/dev/null || true") for node in NODES
    }
    status = lab("status", "--format", "json").json
    assert all(node["ready"] for node in status["nodes"]), status["nodes"]


def goes_away(lab: labs.Lab) -> None:
    lab("destroy", "--yes")
    labs.assert_nothing_left(lab)
    again = lab("destroy", "--yes")
    assert "nothing to destroy" in (again.out + again.err).lower()
