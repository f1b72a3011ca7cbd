"""An engine whose swarmctl was killed is left alone while it works, and ended when it hangs."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from swarmctl.provider.orphans import Calls, watch

PATIENCE = 0.2


@dataclass
class Family:
    """A process that stands for swarmctl, its child that stands for the engine, and what the provider does."""

    starter: subprocess.Popen[str]
    engine: int
    calls: Calls
    watcher: threading.Thread

    def orphan(self) -> None:
        self.starter.kill()
        self.starter.wait()

    def ended(self, seconds: float) -> bool:
        """Whether the watcher has ended, and with it the engine."""
        self.watcher.join(seconds)
        return not self.watcher.is_alive()


@pytest.fixture
def family() -> Iterator[Family]:
    # The shell waits for a second child, so that it does not become the first by exec.
    command = ["sh", "-c", "sleep 30 >/dev/null & echo $!; read answer; :"]
    starter = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert starter.stdout
    assert starter.stdin
    engine = int(starter.stdout.readline())
    calls = Calls()
    times = {"patience": PATIENCE, "tick": 0.01}
    watcher = threading.Thread(target=watch, args=(engine, starter.pid, calls), kwargs=times)
    watcher.start()
    with starter:
        yield Family(starter, engine, calls, watcher)
        subprocess.run(["kill", "-9", str(engine)], check=False, stderr=subprocess.DEVNULL)
        starter.kill()
    watcher.join(5)


def test_an_engine_that_hangs_alone_is_ended(family: Family) -> None:
    began = time.monotonic()
    family.orphan()
    assert family.ended(5)
    assert time.monotonic() - began >= PATIENCE


def test_an_engine_whose_swarmctl_lives_may_be_silent(family: Family) -> None:
    assert not family.ended(2 * PATIENCE)


def test_an_engine_that_finishes_what_it_has_begun_is_left_alone(family: Family) -> None:
    with family.calls:
        family.orphan()
        assert not family.ended(2 * PATIENCE)
    assert family.ended(5)


def test_silence_counts_from_the_last_answer(family: Family) -> None:
    family.orphan()
    for _ in range(8):
        assert not family.ended(PATIENCE / 4)
        with family.calls:
            pass
    assert family.ended(5)


def test_an_engine_that_ends_by_itself_needs_no_watching(family: Family) -> None:
    subprocess.run(["kill", "-9", str(family.engine)], check=True)
    family.orphan()
    assert family.ended(5)
