"""Killed in the middle of an apply: applying again converges, destroying leaves nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import lab as labs

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SMALL = """
apiVersion: swarmctl/v1alpha1
kind: NodePool
metadata: {name: pair, labels: {role: worker}}
spec:
  region: eu-central
  lab: {count: 3}
"""


@pytest.fixture
def lab(tmp_path: Path, engine: object) -> Iterator[labs.Lab]:
    made = labs.make(tmp_path)
    (made.stack / "pools.yaml").write_text(SMALL)
    network = (made.stack / "network.yaml").read_text()
    start = network.index("    flows:")
    flow = "    flows:\n      - {name: talk, from: {role: worker}, to: {role: worker}, ports: [7000]}\n"
    (made.stack / "network.yaml").write_text(network[:start] + flow)
    try:
        yield made
    finally:
        made("destroy", "--yes", code=None)
        labs.assert_nothing_left(made)


def descendants(pid: int) -> dict[str, list[int]]:
    """Live descendants of `pid` by command name."""
    parents: dict[int, list[int]] = {}
    for proc in Path("/proc").iterdir():
        if proc.name.isdigit():
            try:
                stat = (proc / "stat").read_text()
            except OSError:
                continue
            parents.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(proc.name))
    found: dict[str, list[int]] = {}
    queue = [pid]
    while queue:
        for child in parents.get(queue.pop(), []):
            queue.append(child)
            try:
                command = (Path("/proc") / str(child) / "cmdline").read_text()
            except OSError:
                continue
            name = "provider" if "swarmctl.provider" in command else Path(command.split("\0")[0]).name
            found.setdefault(name, []).append(child)
    return found


POINTS = [("cli", delay) for delay in (0.4, 1.0, 1.6, 2.2, 2.8, 3.6)] + [
    ("engine", 1.8),
    ("engine", 2.6),
    ("provider", 2.0),
    ("provider", 2.8),
]


@pytest.mark.parametrize(("victim", "delay"), POINTS, ids=[f"{victim}-{delay}s" for victim, delay in POINTS])
def test_kill_9_in_the_middle_of_an_apply_heals(lab: labs.Lab, victim: str, delay: float) -> None:
    process = lab.start("apply", "--yes")
    time.sleep(delay)
    if victim == "cli":
        process.kill()
    else:
        wanted = "pulumi" if victim == "engine" else "provider"
        deadline = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < deadline:
            pids = [
                pid
                for name, found in descendants(process.pid).items()
                if (name.startswith(wanted) and "resource" not in name)
                for pid in found
            ]
            if pids:
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.02)
    out, err = process.communicate(timeout=60)
    assert "Traceback (most recent call last)" not in out + err, out + err

    lab("apply", "--yes")
    status = lab("status", "--format", "json").json
    assert all(node["ready"] for node in status["nodes"]), status["nodes"]
    lab("plan", "--detailed-exitcode", code=0)
    lab("drift", code=0)


def test_a_node_made_by_a_killed_apply_goes_away_although_its_declaration_left(lab: labs.Lab) -> None:
    process = lab.start("apply", "--yes")
    nodes = lab.data / "lab"
    deadline = time.monotonic() + 30
    while not list(nodes.glob("*/nodes/pair-2")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=60)
    lab.edit("pools.yaml", "lab: {count: 3}", "lab: {count: 1}")
    lab("apply", "--yes")
    left = [path.name for path in nodes.glob("*/nodes/*")]
    assert left == ["pair-0"]


def test_destroy_right_after_a_kill_leaves_nothing(lab: labs.Lab) -> None:
    process = lab.start("apply", "--yes")
    time.sleep(2.5)
    process.kill()
    process.communicate(timeout=60)
    lab("destroy", "--yes")
    labs.assert_nothing_left(lab)


def test_ctrl_c_finishes_what_is_in_flight_and_says_how_to_go_on(lab: labs.Lab) -> None:
    process = lab.start("apply", "--yes")
    nodes = lab.data / "lab"
    deadline = time.monotonic() + 30
    while not list(nodes.glob("*/nodes/*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "run the same command again to go on" in err
    lab("apply", "--yes")
    lab("plan", "--detailed-exitcode", code=0)


def test_a_second_apply_while_one_runs_is_told_who_holds_the_lock(lab: labs.Lab) -> None:
    first = lab.start("apply", "--yes")
    deadline = time.monotonic() + 30
    while not list((lab.data / "lab").glob("*/nodes/*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    second = lab("apply", "--yes", code=6)
    assert str(first.pid) in second.err
    out, err = first.communicate(timeout=120)
    assert first.returncode == 0, out + err
