"""Killed in the middle of an apply: applying again converges, destroying leaves nothing.

Every kill is at a moment that was seen, of a process that is alive: a run that got away is a failed test.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration import lab as labs
from tests.integration.watching import Watched, again, nodes, pending

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SMALL = """
apiVersion: swarmctl/v1alpha1
kind: NodePool
metadata: {name: pair, labels: {role: worker}}
spec:
  region: eu-central
  lab: {count: 3}
"""
MACHINE, INTERFACE = "swarm:nodepool:Machine", "swarm:mesh:Interface"
THINGS = 1 + 4 * 3
"""How the keys of the mesh are rotated; and on each node a machine, an interface, its peers and a firewall."""


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
        again(made, "destroy", "--yes")
        labs.assert_nothing_left(made)


Moment = Callable[[Watched], object]


def previewing(victim: str) -> Moment:
    """It is there and the preview is not over: nothing is changed by then."""
    return lambda run: "Plan:" not in run.out and run.find(victim)


def changing(victim: str) -> Moment:
    """It is there for the update."""
    return lambda run: "changing …" in run.err and run.find(victim)


def told(steps: int) -> Moment:
    """So many steps are finished."""
    return lambda run: run.progress >= steps


def begun(kind: str) -> Moment:
    """The engine has noted that it begins one, and not that it is done."""
    return lambda run: kind in pending(run)


POINTS: dict[str, tuple[str, Moment]] = {
    "cli, the plan is shown": ("cli", lambda run: f"Plan: {THINGS} to create" in run.out),
    "cli, the update's engine runs": ("cli", changing("engine")),
    "cli, a machine is begun": ("cli", begun(MACHINE)),
    "cli, a node's folder is there": ("cli", nodes),
    "cli, 2 steps are done": ("cli", told(2)),
    "cli, an interface is begun": ("cli", begun(INTERFACE)),
    "cli, 10 steps are done": ("cli", told(10)),
    "engine, a machine is begun": ("engine", begun(MACHINE)),
    "engine, a node's folder is there": ("engine", nodes),
    "engine, 6 steps are done": ("engine", told(6)),
    "provider, a node's folder is there": ("provider", nodes),
    "provider, 8 steps are done": ("provider", told(8)),
}


OFTEN = {
    "cli, a machine is begun",
    "engine, 6 steps are done",
    "provider, a node's folder is there",
    "provider, 8 steps are done",
}
"""Those that every run of the tests has; `make soak` has them all."""
ALL = [pytest.param(*POINTS[at], id=at, marks=() if at in OFTEN else pytest.mark.soak) for at in POINTS]


@pytest.mark.parametrize(("victim", "moment"), ALL)
def test_kill_9_in_the_middle_of_an_apply_heals(lab: labs.Lab, victim: str, moment: Moment) -> None:
    run = Watched(lab, "apply", "--yes")
    run.until(moment)
    run.kill(victim)
    run.died()

    again(lab, "apply", "--yes")
    status = lab("status", "--format", "json").json
    assert len(status["nodes"]) == 3
    assert all(node["ready"] for node in status["nodes"]), status["nodes"]
    lab("plan", "--detailed-exitcode", code=0)


@pytest.mark.parametrize(
    "victim", ["engine", *(pytest.param(one, marks=pytest.mark.soak) for one in ("cli", "provider"))]
)
def test_kill_9_in_the_preview_of_an_apply_changes_nothing(lab: labs.Lab, victim: str) -> None:
    run = Watched(lab, "apply", "--yes")
    run.until(previewing("engine" if victim == "cli" else victim))
    run.kill(victim)
    run.died()
    assert "changing …" not in run.err
    assert nodes(run) == []
    assert lab("plan", "--format", "json").json["summary"]["create"] == THINGS


def test_kill_9_at_the_question_changes_nothing(lab: labs.Lab) -> None:
    with terminal() as stdin:
        run = Watched(lab, "apply", stdin=stdin)
        run.until(lambda run: "Apply these changes?" in run.err)
        run.kill("cli")
        run.died()
    assert nodes(run) == []
    assert not (lab.data / "lab").exists() or not list((lab.data / "lab").iterdir())
    lab("apply", "--yes")
    lab("plan", "--detailed-exitcode", code=0)


@contextmanager
def terminal() -> Iterator[int]:
    """Somebody sits there and types nothing."""
    outer, inner = os.openpty()
    try:
        yield inner
    finally:
        os.close(inner)
        os.close(outer)


def test_a_node_made_by_a_killed_apply_goes_away_although_its_declaration_left(lab: labs.Lab) -> None:
    run = Watched(lab, "apply", "--yes")
    run.until(lambda run: "pair-2" in nodes(run))
    run.kill("cli")
    run.died()
    lab.edit("pools.yaml", "lab: {count: 3}", "lab: {count: 1}")
    again(lab, "apply", "--yes")
    assert nodes(run) == ["pair-0"]


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(begun(MACHINE), id="machines begun", marks=pytest.mark.soak),
        pytest.param(told(3), id="3 done"),
        pytest.param(told(9), id="9 done", marks=pytest.mark.soak),
    ],
)
def test_destroy_right_after_a_kill_leaves_nothing(lab: labs.Lab, moment: Moment) -> None:
    run = Watched(lab, "apply", "--yes")
    run.until(moment)
    run.kill("cli")
    run.died()
    again(lab, "destroy", "--yes")
    labs.assert_nothing_left(lab)


@pytest.mark.parametrize(
    ("victim", "steps"),
    [
        pytest.param("cli", 1, marks=pytest.mark.soak),
        ("engine", 5),
        ("provider", 7),
        pytest.param("cli", 11, marks=pytest.mark.soak),
    ],
)
def test_kill_9_in_the_middle_of_a_destroy_heals(lab: labs.Lab, victim: str, steps: int) -> None:
    lab("apply", "--yes")
    run = Watched(lab, "destroy", "--yes")
    run.until(told(steps))
    run.kill(victim)
    run.died()
    again(lab, "destroy", "--yes")
    labs.assert_nothing_left(lab)


def test_ctrl_c_finishes_what_is_in_flight_and_says_how_to_go_on(lab: labs.Lab) -> None:
    run = Watched(lab, "apply", "--yes")
    run.until(nodes)
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 130, run.out + run.err
    assert "run the same command again to go on" in run.err
    lab("apply", "--yes")
    lab("plan", "--detailed-exitcode", code=0)


def test_a_second_apply_while_one_runs_is_told_who_holds_the_lock(lab: labs.Lab) -> None:
    first = Watched(lab, "apply", "--yes")
    first.until(nodes)
    second = lab("apply", "--yes", code=6)
    assert str(first.process.pid) in second.err
    assert first.end() == 0, first.out + first.err
