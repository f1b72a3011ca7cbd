"""Changes that undo themselves: cut off, killed, restarted, or confirmed.

pytest -s tests/integration/test_guard.py    prints how long each takes
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest

from tests.integration import lab as labs
from tests.integration.underlay import Underlay
from tests.integration.watching import Watched, again

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("guard")]

WITHIN = 12
SLACK = 3.0
"""Seconds that looking at the nodes takes on a busy machine."""
NODES = ("pair-0", "pair-1", "pair-2")
POOL = """
apiVersion: swarmctl/v1alpha1
kind: NodePool
metadata: {name: pair, labels: {role: worker}}
spec:
  region: eu-central
  lab: {count: 3}
  rollout: {canary: 1, batch: 1}
"""
NETWORK = f"""
apiVersion: swarmctl/v1alpha1
kind: Mesh
metadata: {{name: backbone}}
spec:
  cidrs: [10.88.0.0/16]
  confirmWithin: {WITHIN}s
  #endpoints
---
apiVersion: swarmctl/v1alpha1
kind: SecurityPolicy
metadata: {{name: baseline}}
spec:
  network:
    flows:
      - {{name: talk, from: {{role: worker}}, to: {{role: worker}}, ports: [7000]}}
      - {{name: more, from: {{role: worker}}, to: {{role: worker}}, ports: [7001]}}
"""
MORE = "      - {name: more, from: {role: worker}, to: {role: worker}, ports: [7001]}\n"
NOWHERE = "endpoints: [" + ", ".join(f"{{node: {it}, host: 192.0.2.{n}}}" for n, it in enumerate(NODES, 1)) + "]"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, engine: object) -> Iterator[labs.Lab]:
    made = labs.make(tmp_path_factory.mktemp("guard"))
    (made.stack / "pools.yaml").write_text(POOL)
    try:
        (made.stack / "network.yaml").write_text(NETWORK)
        made("apply", "--yes")
        yield made
    finally:
        again(made, "destroy", "--yes")
        labs.assert_nothing_left(made)


@pytest.fixture
def lab(whole: labs.Lab) -> labs.Lab:
    """As it was declared at first, whatever the test before has done."""
    (whole.stack / "network.yaml").write_text(NETWORK)
    whole("apply", "--yes")
    return whole


def table(under: Underlay, node: str) -> str:
    """The firewall of a node without what it has counted; empty when it has none."""
    found = under.on(node, "nft", "list", "table", "inet", "swarmctl", check=False)
    return re.sub(r"packets \d+ bytes \d+", "", found)


def peers(lab: labs.Lab, node: str) -> list[str]:
    """The peers of a node with endpoints and networks."""
    return sorted(lab.on(node, "wg show wg0 endpoints; wg show wg0 allowed-ips", check=False).splitlines())


def seen(under: Underlay) -> list[str]:
    return [table(under, node) for node in NODES]


def reached(under: Underlay) -> bool:
    target = under.mesh_address(NODES[1])
    return all(
        "1 received" in under.on(node, "ping", "-c1", "-W1", target, check=False) for node in (NODES[0], NODES[2])
    )


def until(what: Callable[[], bool], seconds: float, told: Callable[[], str] = str) -> float:
    started = time.monotonic()
    while not what():
        assert time.monotonic() - started < seconds, f"not within {seconds} s\n{told()}"
        time.sleep(0.2)
    return time.monotonic() - started


def pending(lab: labs.Lab, node: str) -> bool:
    return "deadline" in lab.on(node, "ls /etc/swarmctl/guard 2>/dev/null || :")


def killed(lab: labs.Lab, victim: str) -> Watched:
    """An apply of which one process is killed when the first node is changed; others wait for their turn."""
    run = Watched(lab, "apply", "--yes")
    try:
        run.until(lambda run: run.progress >= 1)
        run.kill(victim)
    except BaseException:
        run.end()
        raise
    return run


def test_a_good_change_is_confirmed_and_leaves_nothing_pending(lab: labs.Lab) -> None:
    lab.edit("network.yaml", MORE, "")
    assert lab("plan", "--format", "json").json["changes"][0]["guarded"].endswith(f"within {WITHIN} s")
    started = time.monotonic()
    lab("apply", "--yes")
    print(f"\na good change of 3 nodes, one after the other: {time.monotonic() - started:.1f} s")
    assert [node for node in NODES if pending(lab, node)] == []
    time.sleep(WITHIN + 1)
    assert "more" not in table(Underlay.of(lab), NODES[0])
    assert "guard" not in lab.on(NODES[0], "ps -e -o args | grep '[s]warmctl-guard' || :")
    lab("plan", "--detailed-exitcode")


def test_a_change_that_cuts_nodes_off_is_undone_by_its_own_run(lab: labs.Lab) -> None:
    under = Underlay.of(lab)
    assert reached(under)
    before, had = seen(under), [peers(lab, node) for node in NODES]
    lab.edit("network.yaml", "#endpoints", NOWHERE)
    started = time.monotonic()
    run = lab("apply", "--yes", code=1)
    print(f"\ncut off and back again: {time.monotonic() - started:.1f} s")
    assert "does not reach" in run.err
    until(lambda: reached(under), SLACK + 5)
    assert (seen(under), [peers(lab, node) for node in NODES]) == (before, had)
    for how in ((), ("--no-refresh",)):
        assert lab("plan", *how, "--detailed-exitcode", "--format", "json", code=20).json["summary"]["update"] == 6
    lab("drift")


@pytest.mark.parametrize("victim", ["cli", "engine", "provider"])
def test_whoever_is_killed_the_nodes_are_back_in_time(lab: labs.Lab, victim: str) -> None:
    under = Underlay.of(lab)
    before = seen(under)
    lab.edit("network.yaml", MORE, "")
    run = killed(lab, victim)
    died = time.monotonic()
    run.end()
    until(lambda: seen(under) == before, WITHIN + SLACK, lambda: f"{run.err}\n{before}\n{seen(under)}")
    print(f"\nkill -9 of the {victim}: all nodes are back after {time.monotonic() - died:.1f} s")
    assert time.monotonic() - died < WITHIN + SLACK
    assert (
        lab("plan", "--no-refresh", "--detailed-exitcode", "--format", "json", code=20).json["summary"]["update"] == 3
    )
    again(lab, "apply", "--yes")
    assert "more" not in table(under, NODES[0])
    lab("plan", "--detailed-exitcode")


def test_a_node_that_is_restarted_comes_back_with_what_it_had(lab: labs.Lab) -> None:
    under = Underlay.of(lab)
    before, had = seen(under), [peers(lab, node) for node in NODES]
    lab.edit("network.yaml", MORE, "")
    run = killed(lab, "cli")
    died = time.monotonic()
    node = NODES[0]  # the canary
    under.reboot(node)
    run.end()
    assert table(under, node) == ""
    until(lambda: table(under, node) == before[0], WITHIN + SLACK)
    print(f"\nkill -9 of the cli, restart of {node}: back {time.monotonic() - died:.1f} s after the kill")
    until(lambda: reached(under), 10)
    assert peers(lab, node) == had[0]
    again(lab, "apply", "--yes")
    lab("plan", "--detailed-exitcode")


def test_a_new_run_undoes_at_once_what_a_dead_one_left(lab: labs.Lab) -> None:
    lab.edit("network.yaml", f"{WITHIN}s", "5m")
    lab("apply", "--yes")
    now = (lab.stack / "network.yaml").read_text()
    lab.edit("network.yaml", MORE, "")
    killed(lab, "cli").end()
    told = lab("drift", code=None)
    assert "undoes itself in" in told.err
    assert "undoes itself in" in lab("status", code=None).out
    (lab.stack / "network.yaml").write_text(now)
    run2 = lab("apply", "--yes")
    assert "had not confirmed its changes: undone on" in run2.err
    assert "more" in table(Underlay.of(lab), NODES[0])
    assert [node for node in NODES if pending(lab, node)] == []
