"""A run killed at any point: the next one converges, and nothing that was made is forgotten."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

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


POINTS = [("engine starts", 0.0, "")] + [(f"{made} is being made", 0.15, made) for made in ("a", "c")]


@pytest.mark.parametrize("victim", ["cli", "engine", "provider", "all"])
@pytest.mark.parametrize(("when", "delay", "made"), POINTS, ids=[point[0] for point in POINTS])
def test_the_next_run_goes_on(world: World, run: Run, victim: str, when: str, delay: float, made: str) -> None:
    wait_until(lambda: run.find("fake_kind") and run.find("--event-log") and (not made or made in world.files()))
    time.sleep(delay)
    processes = {"cli": run.process.pid, "engine": run.find("--event-log"), "provider": run.find("fake_kind")}
    if victim == "all":
        for pid in processes.values():
            with suppress(ProcessLookupError):  # they die with the first
                os.kill(pid, signal.SIGKILL)
    else:
        os.kill(processes[victim], signal.SIGKILL)
    run.process.wait(30)
    store = world.store
    with store.lease(timeout=20):
        assert not any(map(alive, processes.values()))
        # What the journal knows is what a plan goes by, before anyone has put the state right.
        assert world.files() <= {address.removeprefix("test/") for address in store.snapshot().resources}

    # What was being made has left the declarations in the meantime: it must not be forgotten.
    outcome = world.update(graph(file("a", x=1), file("d")))

    assert outcome.failures == ()
    assert world.files() == {"a", "d"}
    assert world.session().preview(graph(file("a", x=1), file("d"))).empty
    assert not list(store.runs_folder.iterdir())
    assert world.destroy().failures == ()
    assert world.files() == set()


def test_no_checkpoint_of_the_engine_is_needed(world: World, run: Run) -> None:
    wait_until(lambda: "b" in world.files())
    (folder,) = world.store.runs_folder.iterdir()
    checkpoint = folder / "state/.pulumi/stacks/swarmctl/files.json"
    assert "latest" not in json.loads(checkpoint.read_text())["checkpoint"]
    assert not world.store.file.exists()
    engine = run.find("--event-log")
    for pid, signum in (run.process.pid, signal.SIGSTOP), (engine, signal.SIGKILL), (run.process.pid, signal.SIGKILL):
        os.kill(pid, signum)
    run.process.wait(30)
    checkpoint.write_bytes(b"nonsense")

    recorded = world.store.snapshot().resources

    assert {"test/a", "test/b"} == recorded.keys()
    assert recorded["test/a"].outputs == {"token": "token of a 0"}
