"""Progress: plain lines without a terminal, a live board on one, and never in the way of the work."""

from __future__ import annotations

import io
import threading
import time
from typing import TextIO

import pytest

from swarmctl.plans.events import (
    Downloaded,
    Event,
    Note,
    PhaseEnded,
    PhaseStarted,
    StepEnded,
    StepNotBegun,
    StepStarted,
)
from swarmctl.plans.model import Action
from swarmctl.reports.console import Console
from swarmctl.reports.progress import Board, Progress, draw

PLAIN = Console(color=False, width=100, live=False, terminal=False)
LIVE = Console(color=True, width=100, live=True, terminal=True)
EVENTS: list[Event] = [
    PhaseStarted("applying", 3),
    StepStarted("nodepool/workers[0]", "workers-0", Action.CREATE),
    StepStarted("mesh/backbone[workers-0]", "workers-0", Action.UPDATE),
    StepEnded("nodepool/workers[0]", "workers-0", Action.CREATE, 1.24),
    StepEnded("stack/lab", "", Action.SAME, 0),
    Note("the engine says something"),
    StepEnded("mesh/backbone[workers-0]", "workers-0", Action.UPDATE, 30, error="no answer\x1b[2J"),
    PhaseEnded("applying", 31),
]


def told(console: Console, stream: TextIO | None = None) -> str:
    """Everything that is printed for `EVENTS`."""
    stream = stream or io.StringIO()
    with Progress(stream, console) as progress:
        for event in EVENTS:
            progress.emit(event)
    return stream.getvalue() if isinstance(stream, io.StringIO) else ""


def test_plain_lines_are_one_per_finished_step() -> None:
    assert told(PLAIN).splitlines() == [
        "applying …",
        "  [1/3] + created   nodepool/workers[0] on workers-0  1.2s",
        "note: the engine says something",
        "  [3/3] ✗ update failed mesh/backbone[workers-0] on workers-0: no answer\\x1b[2J",
    ]


def test_a_live_display_leaves_only_what_must_stay() -> None:
    text = told(LIVE)
    assert "the engine says something" in text
    assert "no answer\\x1b[2J" in text
    # Cursor shown again, which is how rich says that the display has ended.
    assert text.rstrip().endswith("\x1b[?25h") or "\x1b[?25h" in text


def test_the_board_shows_what_runs_and_how_far_it_is() -> None:
    from rich.console import Console as RichConsole

    board = Board()
    for event in EVENTS[:4]:
        board.take(event, 10.0)
    rich = RichConsole(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    with rich.capture() as captured:
        rich.print(draw(board, 13.5))
    text = captured.get()
    assert "created   nodepool/workers[0] on workers-0" in text
    assert "update    mesh/backbone[workers-0] on workers-0  3.5s" in text
    assert "applying" in text
    assert "1 of 3 done" in text


def test_a_thousand_steps_at_once_stay_on_the_screen() -> None:
    from rich.console import Console as RichConsole

    board = Board(title="applying", total=1000)
    for number in range(1000):
        board.take(StepStarted(f"a/b[{number}]", f"n-{number}", Action.CREATE), 0.0)
    rich = RichConsole(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    with rich.capture() as captured:
        rich.print(draw(board, 1.0))
    assert len(captured.get().splitlines()) < 24
    assert "and 988 more at work" in captured.get()


@pytest.mark.parametrize("console", [PLAIN, LIVE])
def test_a_stream_that_fails_is_no_reason_to_stop(console: Console) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    assert told(console, Closed()) == ""


def test_a_terminal_of_few_letters_gets_what_it_can_show() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    told(PLAIN, stream)
    assert b"applying ?" in raw.getvalue()


def test_events_may_come_from_many_threads() -> None:
    stream = io.StringIO()
    with Progress(stream, PLAIN) as progress:

        def work(number: int) -> None:
            for step in range(50):
                progress.emit(StepEnded(f"a/b[{number}-{step}]", "", Action.CREATE, 0))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(stream.getvalue().splitlines()) == 400


def test_what_is_fetched_moves_the_bar() -> None:
    board = Board()
    board.take(Downloaded("engine", 5, 10), 0)
    assert board.fetched == Downloaded("engine", 5, 10)


def test_a_long_silence_is_broken_where_there_is_no_live_board() -> None:
    now, stream = [0.0], io.StringIO()
    progress = Progress(stream, PLAIN, clock=lambda: now[0])

    def said_at(seconds: float) -> list[str]:
        stream.truncate(stream.seek(0))
        now[0] = seconds
        assert progress.remind() == pytest.approx(30 if stream.getvalue() else 30 - seconds % 30)
        return stream.getvalue().splitlines()

    progress.emit(PhaseStarted("comparing"))
    assert said_at(29) == []
    assert said_at(30) == ["still at it: comparing, 30s"]
    progress.emit(StepStarted("nodepool/workers[0]", "workers-0", Action.CREATE, 600.0))
    progress.emit(StepStarted("nodepool/workers[1]", "workers-1", Action.CREATE, 600.0))
    assert said_at(60) == ["still at it: create nodepool/workers[0] on workers-0, 30s of 10m; and 1 more"]
    progress.emit(StepNotBegun("nodepool/workers[1]"))
    assert said_at(90) == ["still at it: create nodepool/workers[0] on workers-0, 1m 00s of 10m"]
    progress.emit(PhaseEnded("comparing", 90))
    now[0] = 300.0
    stream.truncate(stream.seek(0))
    progress.remind()
    assert stream.getvalue() == "", "nothing is at work: a question may be on the screen"


def test_the_silence_is_watched_for_as_long_as_a_command_works(monkeypatch: pytest.MonkeyPatch) -> None:
    from swarmctl.reports import progress as reports

    monkeypatch.setattr(reports, "SILENCE", 0.02)
    stream = io.StringIO()
    with Progress(stream, PLAIN) as progress:
        progress.emit(PhaseStarted("comparing"))
        end = time.monotonic() + 10
        while "still at it: comparing" not in stream.getvalue() and time.monotonic() < end:
            time.sleep(0.01)
    assert "still at it: comparing, 0.0s" in stream.getvalue()


def test_the_board_says_how_long_a_step_may_take() -> None:
    from rich.console import Console as RichConsole

    board = Board(title="applying", total=1)
    board.take(StepStarted("a/b", "", Action.CREATE, 600.0), 0.0)
    rich = RichConsole(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    with rich.capture() as captured:
        rich.print(draw(board, 65.0))
    assert "1m 05s of 10m" in captured.get()
