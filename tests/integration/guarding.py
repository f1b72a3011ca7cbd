"""A lab with guarded changes, and how to see what its nodes have; for the tests and the benchmark of them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from tests.integration import lab as labs
from tests.integration.underlay import Underlay
from tests.integration.watching import Watched

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
