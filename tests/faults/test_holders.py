"""A holder that is gone, or stopped for longer than its lease: healed, and never two writers."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from bench.costless.world import overtaken_writers
from swarmctl.state.lease_rules import TTL
from tests.faults import elsewhere
from tests.faults.stack import HEAL, Stack
from tests.faults.test_kills import changed
from tests.integration.watching import Watched, alive

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.mark.parametrize("stopped", [("cli",), ("cli", "engine", "provider")], ids=["cli", "all three"])
def test_a_holder_stopped_for_longer_than_its_lease_is_ended(stack: Stack, stopped: tuple[str, ...]) -> None:
    stack.declare(web={"count": 40, "slow": 1000})
    run = stack.watch("apply", "--yes")
    run.until(changed(1))
    pids = {victim: run.find(victim) for victim in ("cli", "engine", "provider")}
    for victim in stopped:
        os.kill(pids[victim], signal.SIGSTOP)

    stack.declare(web={"count": 40})
    assert str(pids["cli"]) in stack("apply", "--yes", code=6).err
    started = time.monotonic()
    stack("apply", "--yes", "--lock-timeout", "60s")
    assert time.monotonic() - started < TTL + HEAL
    assert [victim for victim, pid in pids.items() if alive(pid)] == []
    assert run.end() != 0
    stack.assert_converged()
    stack("destroy", "--yes")
    stack.assert_gone()


@pytest.mark.parametrize("asleep", [("cli",), ("cli", "engine", "provider")], ids=["cli", "the whole machine"])
def test_a_machine_that_slept_for_longer_than_its_lease_does_nothing_more(
    stack: Stack, asleep: tuple[str, ...]
) -> None:
    """Another machine has taken over meanwhile: neither the world nor the state hears of it again."""
    stack.cli = Path(elsewhere.__file__)
    stack.declare(web={"count": 200, "slow": 1500})
    run = stack.watch("apply", "--yes", env={"ELSEWHERE": "mars"})
    run.until(changed(1))
    pids = [run.find(victim) for victim in asleep]
    # Not in the middle of a change: one that sleeps with the lock of the thing itself keeps everybody from it.
    with stack.world._locked():
        for pid in pids:
            fall_asleep(run, pid)
    made = stack.changes()

    stack.declare(web={"count": 200, "version": 2})
    stack("apply", "--yes", "--lock-timeout", "60s")
    assert alive(pids[0]), f"nobody here can end it: {run.out}\n{run.err}"
    assert made < 200
    effects, state = stack.world.effects(), (stack.store / "state.json").read_bytes()
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    assert run.end() == 6, run.out + run.err
    assert "has lost the lease" in run.err
    stack.quiet()
    assert stack.world.effects() == effects
    assert (stack.store / "state.json").read_bytes() == state
    stack.assert_converged()
    stack.declare(web={"count": 200, "version": 3})
    stack("apply", "--yes")
    assert list(stack.store.glob("runs/*")) == [], "what its engine has still left is taken away by the next run"
    stack.assert_converged()


def fall_asleep(run: Watched, pid: int) -> None:
    """Stop it, and see that all of it is stopped; that it has ended instead is a failure."""
    deadline = time.monotonic() + 30
    os.kill(pid, signal.SIGSTOP)
    while not stopped(pid):
        assert alive(pid), f"it has ended by itself: {run.out}\n{run.err}"
        assert time.monotonic() < deadline, "it does not stop"
        time.sleep(0.001)


def stopped(pid: int) -> bool:
    """Whether all threads of the process are."""
    try:
        states = [task.read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):
        return False  # one that has just ended
    return {*states} == {"T"}


def test_what_a_test_leaves_running_or_stopped_is_ended_and_waited_for(stack: Stack) -> None:
    stack.declare(web={"count": 200, "slow": 1500})
    run = stack.watch("apply", "--yes")
    run.until(changed(1))
    for victim in ("cli", "provider"):
        fall_asleep(run, run.find(victim))
    stack.end()
    assert stack.processes() == {}
    assert run.process.returncode == -signal.SIGKILL


def test_a_holder_that_is_killed_keeps_nobody_waiting(stack: Stack) -> None:
    """What it has left is given a few seconds to end; nobody has to wait for a lease to run out."""
    stack.declare(web={"count": 20, "slow": 200})
    run = stack.watch("apply", "--yes")
    run.until(changed(3))
    run.kill("cli")
    run.end()
    started = time.monotonic()
    stack("apply", "--yes")
    assert time.monotonic() - started < TTL
    stack.assert_converged()


def test_one_that_waits_is_told_for_whom_and_gets_its_turn(stack: Stack) -> None:
    stack.declare(web={"count": 160, "slow": 400})
    first = stack.watch("apply", "--yes")
    first.until(changed(1))
    second = stack.watch("apply", "--yes", "--lock-timeout", "60s")
    second.until(lambda run: str(first.process.pid) in run.err)
    assert first.process.poll() is None, "it is told while it waits"
    assert first.end() == 0, first.out + first.err
    assert second.end() == 0, second.out + second.err
    stack.assert_converged()


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_writers_never(stack: Stack) -> None:
    """Two runs at a time, over and over, one of them stopped at any moment for longer than its lease at times."""
    stack.declare(web={"count": 4, "slow": 50})
    for version in range(1, 61):
        stack.declare(web={"count": 4, "slow": 50, "version": version})
        runs = [stack.watch("apply", "--yes", "--lock-timeout", "120s") for _ in range(3)]
        if version % 3 == 0:
            time.sleep(0.3 + version / 60)
            victim = runs[version % 3].find(("cli", "engine", "provider")[version // 3 % 3])
            if victim:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGSTOP)
                    time.sleep(TTL + 5 if version % 2 else 2)
                    os.kill(victim, signal.SIGCONT)
        for run in runs:
            run.end(180)
        assert overtaken_writers(stack.world.effects()) == []
        stack("apply", "--yes")
        stack.assert_converged()
