"""A run killed at any point: the next one converges, and nothing that was made is forgotten."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmctl.errors import LockHeld
from swarmctl.state import lock
from tests.engine.world import World, file, graph

pytestmark = [pytest.mark.integration, pytest.mark.slow]

STEPS = ("a:0.3", "b:0.3", "c:0.3")
ROOT = Path(__file__).parents[2]


class Run:
    """An update that makes `a`, `b` and `c`, one after the other, taking its time."""

    def __init__(self, world: World) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.engine.run_update", world.engine.path, world.folder, *STEPS],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def descendants(self) -> dict[int, str]:
        """Processes below ours, with their command lines."""
        parents: dict[int, int] = {}
        commands: dict[int, str] = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    stat = (folder / "stat").read_text()
                    commands[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
                except OSError:
                    continue
                parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
        found: set[int] = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return {pid: commands[pid] for pid in found - {self.process.pid}}

    def find(self, word: str) -> int:
        """The process with `word` in its command line; the launcher, which has both, is neither yet."""
        found = (pid for pid, command in self.descendants().items() if word in command and "launch.py" not in command)
        return next(found, 0)


@pytest.fixture
def run(world: World) -> Iterator[Run]:
    started = Run(world)
    yield started
    started.process.kill()
    started.process.wait()


def wait_until(condition: object, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def settled(world: World) -> bool:
    """Nobody holds the lock any more: engine and provider are gone."""
    try:
        with world.store.lock():
            return True
    except LockHeld:
        return False


POINTS = [("engine starts", 0.0, "")] + [(f"{made} is being made", 0.15, made) for made in ("a", "c")]


@pytest.mark.parametrize("victim", ["cli", "engine", "provider"])
@pytest.mark.parametrize(("when", "delay", "made"), POINTS, ids=[point[0] for point in POINTS])
def test_the_next_run_goes_on(world: World, run: Run, victim: str, when: str, delay: float, made: str) -> None:
    wait_until(lambda: run.find("fake_kind") and run.find("--event-log") and (not made or made in world.files()))
    time.sleep(delay)
    provider = run.find("fake_kind")
    os.kill({"cli": run.process.pid, "engine": run.find("--event-log"), "provider": provider}[victim], signal.SIGKILL)
    run.process.wait(30)
    wait_until(lambda: settled(world))
    assert not alive(provider)
    at_death = world.files()
    assert at_death <= {f"{address.removeprefix('test/')}" for address in world.store.snapshot().resources}

    # What was being made has left the declarations in the meantime: it must not be forgotten.
    outcome = world.session().update(graph(file("a", x=1), file("d")))

    assert outcome.failures == ()
    assert world.files() == {"a", "d"}
    assert world.session().preview(graph(file("a", x=1), file("d"))).empty
    assert world.session().destroy().failures == ()
    assert world.files() == set()


def test_an_engine_that_is_left_alone_saves_what_it_has_begun(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.0)
    wait_until(lambda: "b" in world.files())
    run.process.kill()
    run.process.wait()

    with pytest.raises(LockHeld, match="although swarmctl itself is gone"), world.store.lock():
        pass
    wait_until(lambda: settled(world))

    assert world.files() == {"a", "b"}
    assert set(world.store.snapshot().resources) == {"test/a", "test/b"}
