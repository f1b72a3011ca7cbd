"""`status`, `exec`, `logs` and `graph` on a real lab: what is broken by hand is what they show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration import lab as labs

pytestmark = [pytest.mark.integration, pytest.mark.slow]


SILENT = """
use IO::Socket::IP;
my $s = IO::Socket::IP->new(LocalHost => "::", LocalPort => 7946, Proto => "udp", V6Only => 0) or die $@;
sleep 20;
"""
LISTENING = f"until grep -q :{7946:04X} /proc/net/udp6; do sleep 0.05; done"

DEAFENED = """
set -eu
read -r key endpoint allowed <<end
$(wg show wg0 dump | awk -v own="$ADDRESS/32" '$4 ~ own {print $1, $3, $4}')
end
nft -f - <<end
table inet deaf {
  chain input {
    type filter hook prerouting priority -300
    ip saddr ${endpoint%:*} udp sport ${endpoint##*:} @th,64,8 4 drop
  }
}
end
wg set wg0 peer "$key" remove
wg set wg0 peer "$key" endpoint "$endpoint" allowed-ips "$allowed" persistent-keepalive 25
setsid sh -c 'sleep 13; nft delete table inet deaf' >/dev/null 2>&1 </dev/null &
"""
"""A new session over which nothing is heard from the node with `ADDRESS`, until shortly before WireGuard would replace
it. Data packets are of WireGuard's type 4."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[labs.Lab]:
    made = labs.make(tmp_path_factory.mktemp("look"))
    assert "not applied" in made("status", code=1).out
    made("apply", "--yes")
    yield made
    made("destroy", "--yes", code=None)
    labs.assert_nothing_left(made)


def status(lab: labs.Lab, code: int) -> Any:
    return lab("status", "--format", "json", code=code).json


def reasons(seen: Any) -> dict[str, list[str]]:
    return {node["name"]: node["reasons"] for node in seen["nodes"] if not node["ready"]}


def test_a_fresh_lab_is_healthy_by_real_traffic(lab: labs.Lab) -> None:
    seen = status(lab, 0)
    assert seen["healthy"] is True
    assert len(seen["nodes"]) == 5
    assert all(link["reachable"] and link["rttMs"] < 1000 and link["sent"] for link in seen["links"])
    opened = {flow["flow"] for flow in seen["flows"] if flow["observed"] == "open"}
    assert opened == {"ray-head", "metrics", "gossip"}
    closed = {(flow["over"], flow["observed"]) for flow in seen["flows"] if flow["flow"] is None}
    assert closed == {("mesh", "closed"), ("underlay", "closed")}


def test_what_is_broken_by_hand_is_told_and_apply_heals_it(lab: labs.Lab) -> None:
    lab.on("workers-0", "nft flush ruleset")
    lab.on("workers-2", "ip link set wg0 down")
    address = {node["name"]: node["addresses"][0] for node in status(lab, 1)["nodes"]}["workers-1"]
    lab.on("control-1", f"wg set wg0 peer $(wg show wg0 allowed-ips | grep -F {address}/32 | cut -f1) remove")
    seen = status(lab, 1)
    told = reasons(seen)
    # That workers-2 does not answer is nobody else's fault.
    assert told == {
        "control-1": ["no tunnel to workers-1"],
        "workers-0": ["no firewall: nothing drops what is not declared"],
        "workers-1": ["no answer over the mesh from control-1"],
        "workers-2": ["interface wg0 is down"],
    }
    open_ = {flow["to"] for flow in seen["flows"] if flow["ok"] is False and flow["observed"] == "open"}
    assert open_ == {"workers-0"}
    cut = {(link["from"], link["to"]) for link in seen["links"] if not link["reachable"]}
    assert {pair for pair in cut if "workers-2" not in pair} == {("control-1", "workers-1"), ("workers-1", "control-1")}
    lab("apply", "--yes")
    assert status(lab, 0)["healthy"] is True


def test_a_new_session_that_works_one_way_only_is_waited_for(lab: labs.Lab) -> None:
    address = {node["name"]: node["addresses"][0] for node in status(lab, 0)["nodes"]}["workers-1"]
    lab.on("workers-0", f"ADDRESS={address}\n{DEAFENED}")
    run = lab("status", "--format", "json")
    assert run.json["healthy"] is True
    assert "waiting up to" in run.err


def test_a_udp_listener_that_keeps_quiet_is_unknown(lab: labs.Lab) -> None:
    lab.on("workers-0", f"setsid perl -e '{SILENT}' >/dev/null 2>&1 </dev/null & {LISTENING}")
    seen = status(lab, 0)
    unknown = [flow for flow in seen["flows"] if flow["ok"] is None]
    assert {(flow["to"], flow["port"], flow["protocol"]) for flow in unknown} == {("workers-0", 7946, "udp")}


def test_probes_leave_no_process_on_the_nodes(lab: labs.Lab) -> None:
    lab("status")
    assert "swarmctl-probe" not in lab.on("control-0", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").replace(
        "cat /proc", ""
    )


def test_exec_passes_status_and_arguments_on(lab: labs.Lab) -> None:
    assert lab("exec", "workers-1", "--", "sh", "-c", "hostname; exit 7", code=7).out == "workers-1\n"


def test_logs_of_a_node_are_there(lab: labs.Lab) -> None:
    lab("logs", "control-0", "--tail", "5")


def test_the_picture_has_the_addresses_that_were_applied(lab: labs.Lab) -> None:
    drawn = json.loads(lab("graph", "--format", "json").out)
    applied = {node["name"]: node["addresses"] for node in status(lab, 0)["nodes"]}
    assert {node["name"]: node["addresses"] for node in drawn["nodes"]} == applied
