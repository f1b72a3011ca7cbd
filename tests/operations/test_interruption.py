"""Ctrl-C, SIGTERM and SIGHUP: the first finishes what is in flight and saves, the second stops at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from swarmctl import cli
from tests.operations.world import World

Out = pytest.CaptureFixture[str]


def until(holds: Callable[[], bool]) -> None:
    """Wait for another thread; it needs no time, but a busy machine may let it wait."""
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


def pressing(world: World, *numbers: int) -> None:
    """While the engine updates, these signals arrive, each after the one before was heard."""
    looks = iter([(), numbers])

    def during() -> None:
        for count, number in enumerate(next(looks), 1):
            os.kill(os.getpid(), number)
            until(lambda count=count: world.interrupts == count)  # type: ignore[misc]

    world.during = during


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_lets_the_engine_finish_and_says_how_to_go_on(world: World, number: int, capsys: Out) -> None:
    pressing(world, number)
    assert cli.run(["apply", "--yes"]) == 130
    assert world.interrupts == 1
    shown = capsys.readouterr().err
    assert "interrupted after 1 of 1 changes" in shown
    assert "run the same command again to go on" in shown


def test_the_second_stops_at_once(world: World, capsys: Out) -> None:
    pressing(world, signal.SIGINT, signal.SIGINT)
    assert cli.run(["apply", "--yes"]) == 130
    assert world.interrupts == 2


def test_during_a_preview_nothing_was_changed(world: World, capsys: Out) -> None:
    def during() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        until(lambda: world.interrupts == 1)

    world.during = during
    assert cli.run(["apply", "--yes"]) == 130
    assert world.done == []
    assert "nothing was changed" in capsys.readouterr().err


def test_at_the_question_nothing_was_changed(world: World, monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            os.kill(os.getpid(), signal.SIGINT)
            return "y\n"

    monkeypatch.setattr("sys.stdin", Terminal())
    assert cli.run(["apply"]) == 130
    assert world.done == []


def test_an_ignored_signal_stays_ignored(world: World) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        world.during = lambda: os.kill(os.getpid(), signal.SIGHUP)
        assert cli.run(["apply", "--yes"]) == 0
        assert world.interrupts == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_put_back(world: World) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    cli.run(["apply", "--yes"])
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    assert not [thread for thread in threading.enumerate() if thread.name == "stop"]
