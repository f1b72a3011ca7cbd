"""A mesh with two hubs: when the first dies, traffic between spokes goes through the second, and back when it lives.

pytest -s tests/integration/test_failover.py    prints how long that takes
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from tests.integration import lab as labs

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("failover")]

FIRST, SECOND, SPOKE, OTHER = "control-0", "control-1", "workers-0", "workers-1"
DEAD, BACK = 5.0, 25.0
"""Seconds until traffic moves (three misses, one a second, and a second more on a busy machine), and until it is back
(ten answers, after a handshake that WireGuard tries every 5 s)."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, engine: object) -> Iterator[labs.Lab]:
    made = labs.make(tmp_path_factory.mktemp("failover"))
    made.edit("network.yaml", "topology: {full: {}}", "topology: {hubs: {select: {role: head}}}")
    made.edit("pools.yaml", "lab: {count: 3}", "lab: {count: 2}")
    try:
        made("apply", "--yes")
        yield made
    finally:
        made("destroy", "--yes")
        labs.assert_nothing_left(made)


def address(lab: labs.Lab, node: str) -> str:
    return lab.on(node, "ip -4 -o addr show dev wg0").split()[3].split("/")[0]


def active(lab: labs.Lab, node: str) -> str:
    """The hub that the agent of a node has decided for."""
    return lab.on(node, "sed -n 's/^active 1 //p' /run/swarmctl/failover/wg0").strip()


def until(what: Callable[[], bool], seconds: float) -> float:
    """How long it takes until it is so."""
    started = time.monotonic()
    while not what():
        assert time.monotonic() - started < seconds, f"not within {seconds} s"
        time.sleep(0.1)
    return time.monotonic() - started


def drifted(lab: labs.Lab) -> list[str]:
    """Resources that a reading finds otherwise."""
    found = lab("drift", "--format", "json", code=None).json
    return sorted({change["address"] for change in found["drift"]})


def test_traffic_between_spokes_outlives_a_hub(lab: labs.Lab) -> None:
    target = address(lab, OTHER)
    lab.on(SPOKE, f"ping -n -c2 -W5 {target}")
    assert (active(lab, SPOKE), active(lab, OTHER)) == (FIRST, FIRST)
    # Ten packets a second, each answer with the time at which it came.
    lab.on(SPOKE, f"ping -n -D -i 0.1 -W 1 -w 60 {target} >/tmp/pings 2>&1 &")
    time.sleep(2)
    lab.on(FIRST, "ip route show default >/tmp/route; ip link set eth0 down")
    died = time.time()
    until(lambda: (active(lab, SPOKE), active(lab, OTHER)) == (SECOND, SECOND), DEAD + 5)
    assert [it for it in drifted(lab) if it.startswith("mesh/") and "workers" in it] == [], "what moved is no drift"
    lab.on(FIRST, "ip link set eth0 up; ip route add $(cat /tmp/route)")
    lives = time.time()
    until(lambda: (active(lab, SPOKE), active(lab, OTHER)) == (FIRST, FIRST), BACK + 5)
    back = time.time() - lives
    time.sleep(1)
    out = lab.on(SPOKE, "cat /tmp/pings")
    times = [float(found) for found in re.findall(r"^\[([0-9.]+)\] \d+ bytes from", out, re.MULTILINE)]
    gaps = sorted((after - before, before) for before, after in pairwise(times))
    lost, at = gaps[-1]
    print(f"\nhub dead: nothing came for {lost:.1f} s; back: {back:.1f} s later, nothing came for {gaps[-2][0]:.1f} s")
    assert abs(at - died) < 2
    assert lost <= DEAD
    assert back <= BACK
    assert gaps[-2][0] <= 2.5, "both ends move back within a second or so of each other"
    said = lab("logs", SPOKE).out
    assert f"from {FIRST} to {SECOND}: {FIRST} does not answer" in said
    assert f"from {SECOND} to {FIRST}: {FIRST} answers again" in said
    lab("apply", "--yes")
    assert drifted(lab) == []


def test_an_agent_that_was_killed_or_lost_its_table_is_found_and_mended(lab: labs.Lab) -> None:
    lab.on(SPOKE, "kill -9 $(sed -n 's/^agent [^ ]* //p' /run/swarmctl/failover/wg0)")
    lab.on(OTHER, "rm /etc/swarmctl/failover/wg0/table")
    assert drifted(lab) == [f"mesh/backbone[{node}/failover]" for node in (SPOKE, OTHER)]
    lab("apply", "--yes")
    assert drifted(lab) == []
    assert "does not run and is started again" in lab.runs[-2].out


def test_a_hub_that_is_declared_no_more_while_traffic_is_with_another(lab: labs.Lab) -> None:
    """Its networks stay with the one that is left, and nothing of an agent stays anywhere."""
    lab.on(FIRST, "ip link set wg0 down")
    until(lambda: (active(lab, SPOKE), active(lab, OTHER)) == (SECOND, SECOND), DEAD + 5)
    lab.edit("pools.yaml", "lab: {count: 2}\n---", "lab: {hosts: [{name: control-1}]}\n---")
    lab("apply", "--yes")
    assert drifted(lab) == []
    lab.on(SPOKE, f"ping -n -c3 -i0.2 -W2 {address(lab, OTHER)}")
    for node in (SPOKE, OTHER):
        left = lab.on(
            node, "ls -d /run/swarmctl/failover /etc/swarmctl/failover; ps ax | grep '[a]gent.sh'", check=False
        )
        assert left == ""
