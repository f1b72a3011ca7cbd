"""Machines leave service and come back by hooks; drivers change on drained machines, one pool at a time.

On nodes of a lab, with real scripts that note when they were asked for what, and which driver was loaded then.

dpkg and apt are real; NVIDIA's programs, the bus and the kernel's files are stand-ins (`tests/gpu/standins`).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmctl.backends import load as backend
from swarmctl.backends.base import Host
from swarmctl.gpu.model import Wanted
from swarmctl.kinds.node_pool.draining.reading import FOLDER
from tests.debian import machines
from tests.debian.repository import Key, Repository
from tests.gpu import hosts as composed
from tests.gpu.standins import packages as standins
from tests.integration import lab as labs
from tests.integration.watching import Watched

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.soak,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("gpu drivers"),
]

OLD, NEW = "580.173.02", "595.91.07"
PLACE = "/srv/repository/debian12/x86_64"
NODES = ("a-0", "a-1", "b-0")
SCHEDULER = """#!/bin/sh
# A scheduler's agent: `log` has every order, with the time and the driver that was loaded then.
cd /srv/scheduler || exit 1
note() { echo "$(date +%s.%N) $1 $(head -n 1 /run/standin/loaded 2>/dev/null || echo none)" >>log; }
case $1 in
  state) cat state 2>/dev/null || echo active ;;
  cordon) note cordon; echo cordoned >state ;;
  drain) note drain; [ ! -e stuck ] || { echo 'job 7 does not end' >&2; exit 3; }
    [ ! -e hangs ] || sleep 654
    echo drained >state; note drained ;;
  uncordon) note uncordon; echo active >state ;;
esac
"""
STACK = """
apiVersion: swarmctl/v1alpha1
kind: Stack
metadata: {name: draining}
spec: {defaults: {cluster: core, region: eu-central}}
---
apiVersion: swarmctl/v1alpha1
kind: Cluster
metadata: {name: core}
spec: {mesh: backbone, securityPolicy: baseline}
---
apiVersion: swarmctl/v1alpha1
kind: Mesh
metadata: {name: backbone}
spec: {cidrs: [10.88.0.0/16]}
---
apiVersion: swarmctl/v1alpha1
kind: SecurityPolicy
metadata: {name: baseline}
spec: {}
"""
POOL = """
---
apiVersion: swarmctl/v1alpha1
kind: NodePool
metadata: {name: NAME}
spec:
  lab: {hosts: [HOSTS]}
  rollout: {canary: 1}
"""
REST = """\
  drain:
    cordon: [/srv/scheduler/agent, cordon]
    drain: [/srv/scheduler/agent, drain]
    uncordon: [/srv/scheduler/agent, uncordon]
    check: [/srv/scheduler/agent, state]
    timeout: 5s
  accelerators:
    - vendor: nvidia
      model: H100
      count: 2
      driver: {version: VERSION}
      source: mirror
      mirror: {url: "file:/srv/repository", fingerprint: FINGERPRINT, key: "file:PLACE/key.asc"}
"""


class World:
    """The lab, its declarations and its nodes, which are entered beside swarmctl."""

    def __init__(self, lab: labs.Lab, repository: Repository, patch: pytest.MonkeyPatch) -> None:
        self.lab = lab
        self.repository = repository
        patch.setenv("XDG_DATA_HOME", lab.env["XDG_DATA_HOME"])

    def declare(self, version: str = "", *, without: str = "", **states: str) -> None:
        """Both pools, with that driver (empty: with neither driver nor hooks) and these states of nodes; the pool
        `without` has hooks alone."""
        text = STACK
        for pool, nodes in {"a": ("a-0", "a-1"), "b": ("b-0",)}.items():
            hosts = [
                f"{{name: {node}{f', state: {state}' if (state := states.get(node.replace('-', ''))) else ''}}}"
                for node in nodes
            ]
            rest = REST.partition("  accelerators:")[0] if pool == without else REST
            text += POOL.replace("NAME", pool).replace("HOSTS", ", ".join(hosts)) + (rest if version else "")
        text = text.replace("VERSION", version).replace("PLACE", PLACE)
        text = text.replace("FINGERPRINT", self.repository.key.fingerprint)
        (self.lab.stack / "stack.yaml").write_text(text)

    def host(self, node: str) -> Host:
        there = backend("lab")
        return there.open_host(there.host_of("draining", node))

    def sh(self, node: str, script: str) -> str:
        return self.host(node).run(["sh", "-c", script]).text

    def equip(self) -> None:
        """Put the bus, the kernel's stand-ins, the repository and the scheduler onto the nodes."""
        for node in NODES:
            host = self.host(node)
            host.run(["sh", "-c", machines.BARE])
            self.repository.into(host, PLACE)
            host.put("/run/standin/pci", standins.pci().encode())
            host.put("/srv/scheduler/agent", SCHEDULER.encode(), mode=0o755)
            host.run(["dpkg", "-i", f"{PLACE}/{standins.kernel().file}"])

    def log(self) -> dict[str, list[tuple[float, str, str]]]:
        """Every order since the last look, by node: when, what, and which driver was loaded."""
        found = {}
        for node in NODES:
            lines = self.sh(node, "cat /srv/scheduler/log 2>/dev/null; rm -f /srv/scheduler/log").splitlines()
            found[node] = [(float(when), what, loaded) for when, what, loaded in map(str.split, lines)]
        return found

    def orders(self) -> dict[str, list[str]]:
        """The same in short: `drain 580.173.02`."""
        return {node: [f"{what} {loaded}" for _, what, loaded in lines] for node, lines in self.log().items()}

    def notes(self, node: str) -> str:
        """What swarmctl has noted there."""
        return self.sh(node, f"cd {FOLDER} 2>/dev/null && find . -type f | sort || :")


@pytest.fixture
def world(tmp_path: Path, engine: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    machines.require()
    key = Key()
    lab = labs.make(tmp_path)
    for file in lab.stack.iterdir():
        file.unlink()
    try:
        repository = Repository(tmp_path / "repository", key)
        small = composed.host(*["H100"] * 2, *["H100 NVSwitch"] * 4, system="debian 12")
        debs = [standins.kernel(), standins.headers()]
        for version in (OLD, NEW):
            debs += standins.debs(composed.decided(small, Wanted("nvidia", "H100", version=version)))
        repository.add(*{deb.file: deb for deb in debs}.values())
        yield World(lab, repository, monkeypatch)
    finally:
        key.close()
        lab("destroy", "--yes", code=None)
        labs.assert_nothing_left(lab)


def said(run: labs.Run) -> str:
    return " ".join((run.out + run.err).split())


def test_machines_are_drained_upgraded_and_come_back_whatever_happens(world: World) -> None:
    world.declare()
    world.lab("apply", "--yes")
    world.equip()
    drivers_come_one_pool_after_the_other(world)
    a_machine_is_drained_by_its_declaration(world)
    a_machine_that_does_not_drain_stops_its_pool_and_the_next(world)
    a_hook_that_hangs_is_ended(world)
    what_a_killed_run_has_left_drained_is_brought_back(world)


def drivers_come_one_pool_after_the_other(world: World) -> None:
    world.declare(OLD)
    plan = said(world.lab("plan"))
    assert "drivers change one pool at a time: a, then b" in plan
    world.lab("apply", "--yes")
    log = world.log()
    for node in NODES:
        assert [(what, loaded) for _, what, loaded in log[node]] == [
            ("cordon", "none"),
            ("drain", "none"),
            ("drained", "none"),
            ("uncordon", OLD),
        ]
        assert world.notes(node) == ""
    assert log["a-0"][-1][0] < log["a-1"][0][0], "the canary is back before the next one leaves"
    assert log["a-1"][-1][0] < log["b-0"][0][0], "one pool at a time"


def a_machine_is_drained_by_its_declaration(world: World) -> None:
    world.declare(OLD, a1="drained")
    assert "a-1 is drained: the work there ends or moves away" in said(world.lab("plan"))
    world.lab("apply", "--yes")
    assert world.orders() == {"a-0": [], "a-1": [f"cordon {OLD}", f"drain {OLD}", f"drained {OLD}"], "b-0": []}
    world.sh("a-1", "/srv/scheduler/agent uncordon")
    drift = world.lab("drift", "--format", "json", code=21).json["drift"]
    assert [(it["address"], it["path"]) for it in drift] == [("nodepool/a[a-1/drain]", "state")]
    status = world.lab("status", "--format", "json", code=1).json["nodes"]
    assert {it["name"]: it["state"] for it in status} == {"a-0": None, "a-1": "drained", "b-0": None}
    assert "not drained: it is active" in str(next(it for it in status if it["name"] == "a-1")["reasons"])
    world.lab("apply", "--yes")
    assert world.orders()["a-1"][-1] == f"drained {OLD}"
    world.lab("status")


def a_machine_that_does_not_drain_stops_its_pool_and_the_next(world: World) -> None:
    world.declare(NEW, a1="drained")
    world.sh("a-0", "touch /srv/scheduler/stuck")
    failed = world.lab("apply", "--yes", code=None)
    assert failed.code in (1, 7), said(failed)
    assert (
        "a-0: the hook `drain` failed: job 7 does not end (status 3); nothing was begun, and it is as declared"
        in said(failed)
    )
    assert (
        "the NodePool b is not begun, since drivers change one pool at a time, and the rollout of the NodePool a was"
        in (said(failed))
    )
    assert world.orders() == {"a-0": [f"cordon {OLD}", f"drain {OLD}", f"uncordon {OLD}"], "a-1": [], "b-0": []}
    assert world.notes("a-0") == ""
    world.sh("a-0", "rm /srv/scheduler/stuck")


def a_hook_that_hangs_is_ended(world: World) -> None:
    world.sh("b-0", "touch /srv/scheduler/hangs")
    begun = time.monotonic()
    failed = world.lab("apply", "--yes", code=7)
    assert time.monotonic() - begun < 150
    assert "b-0: the hook `drain` did not end within 5s; nothing was begun, and it is as declared again" in said(failed)
    orders = world.orders()
    assert orders["b-0"] == [f"cordon {OLD}", f"drain {OLD}", f"uncordon {OLD}"]
    assert world.sh("b-0", "pgrep -f '[s]leep 654' || echo none") == "none\n", "with all of its processes"
    assert orders["a-0"] == [f"cordon {OLD}", f"drain {OLD}", f"drained {OLD}", f"uncordon {NEW}"]
    assert orders["a-1"] == [], "it was drained, is changed, and stays as it is declared"
    assert world.sh("a-1", "cat /srv/scheduler/state; head -n 1 /run/standin/loaded") == f"drained\n{NEW}\n"
    world.sh("b-0", "rm /srv/scheduler/hangs")


def what_a_killed_run_has_left_drained_is_brought_back(world: World) -> None:
    run = Watched(world.lab, "apply", "--yes")
    run.until(lambda run: world.host("b-0").get(f"{FOLDER}/turns/driver") == b"changing")
    others = [run.find("engine"), run.find("provider")]
    run.kill("cli")
    for pid in others:  # they would end the step that they are at
        os.kill(pid, signal.SIGKILL)
    run.died()
    assert world.sh("b-0", "cat /srv/scheduler/state") == "drained\n"
    status = world.lab("status", "--format", "json", code=1).json["nodes"]
    reasons = next(it for it in status if it["name"] == "b-0")["reasons"]
    assert "out of service for a change of its driver, which has not ended" in str(reasons)
    assert "drained by a change of it that failed or was cut off" in said(world.lab("plan"))
    world.declare(NEW, without="b", a1="drained")
    plan = said(world.lab("plan"))
    assert "was never verified to work: its change failed or was cut off" in plan
    assert "b-0 stays out of service" in plan
    refused = said(world.lab("apply", "--yes", code=1))
    assert "it is not let go like that; it stays out of service" in refused
    assert world.sh("b-0", "cat /srv/scheduler/state") == "drained\n", "nobody puts it back into service"
    world.declare(NEW, a1="drained")
    world.lab("apply", "--yes")
    assert [order.split()[0] for order in world.orders()["b-0"]] == ["cordon", "drain", "drained", "uncordon"]
    assert world.sh("b-0", "cat /srv/scheduler/state; head -n 1 /run/standin/loaded") == f"active\n{NEW}\n"
    assert world.notes("b-0") == ""
    world.declare(NEW)
    assert "a-1 is in service: new work may begin there" in said(world.lab("plan"))
    world.lab("apply", "--yes")
    assert world.orders()["a-1"] == [f"uncordon {NEW}"]
    world.lab("plan", "--detailed-exitcode", code=0)
