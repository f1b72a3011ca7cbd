"""What happens while the engine works: a live board on a terminal, otherwise one plain line per finished step."""

from __future__ import annotations

import io
import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self, TextIO, cast

from swarmctl.declarations.duration import exactly
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
from swarmctl.reports.console import Console, duration, look, paint, remark, safe, wrapped
from swarmctl.reports.plan import COLORS

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.console import RenderableType
    from rich.live import Live

PAST = {
    Action.CREATE: "created",
    Action.ADOPT: "adopted",
    Action.UPDATE: "updated",
    Action.REPLACE: "replaced",
    Action.DELETE: "deleted",
    Action.SAME: "unchanged",
}
NEWLINE = "\n"
SILENCE = 30.0
"""Seconds without a line after which one says that work goes on, where there is no live board."""
_log = logging.getLogger(__name__)
_MOST_RUNNING = 12
_MOST_FINISHED = 5
_TURNING = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


@dataclass(slots=True)
class Board:
    """Where the work stands; times are seconds of one steady clock."""

    title: str = ""
    total: int = 0
    began: float = 0.0
    at_work: bool = False
    running: dict[str, tuple[StepStarted, float]] = field(default_factory=dict)
    finished: list[StepEnded] = field(default_factory=list)
    """The last few."""
    done: int = 0
    failed: int = 0
    fetched: Downloaded | None = None

    def take(self, event: Event, now: float) -> None:
        """Move on by one event."""
        match event:
            case PhaseStarted(title, total):
                self.title, self.total, self.began, self.at_work = title, total, now, True
                self.done = self.failed = 0
                self.running.clear()
                self.finished.clear()
                self.fetched = None
            case PhaseEnded():
                self.running.clear()
                self.at_work = False
            case StepStarted(address):
                self.running[address] = (event, now)
            case StepNotBegun(address):
                self.running.pop(address, None)
            case StepEnded(address, error=error):
                self.running.pop(address, None)
                self.done, self.failed = self.done + (not error), self.failed + bool(error)
                self.finished = [*self.finished[1 - _MOST_FINISHED :], event]
            case Downloaded():
                self.fetched = event
            case Note():
                pass


class Progress:
    """Takes events from any thread and shows them on a stream; use it as a context manager.

    A reader that goes away (`swarmctl apply 2>&1 | head`) or a terminal that closes never disturbs the work.
    """

    def __init__(
        self, stream: TextIO | None = None, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = Unbreakable(stream or sys.stderr)
        self._console = console or look(stream or sys.stderr)
        self._clock = clock
        # Re-entrant: drawing may run inside the handling of an event.
        self._lock = threading.RLock()
        self._board = Board()
        self._live: Live | None = None
        self._rich: RichConsole | None = None
        self._told = clock()
        """When the last plain line was written."""
        self._over = threading.Event()

    def __enter__(self) -> Self:
        if not self._console.live:
            threading.Thread(target=self._keep_telling, name="progress", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self.pause()

    def emit(self, event: Event) -> None:
        """Show one event, and leave it in the log of a `--debug` run."""
        if not isinstance(event, Downloaded):
            _log.debug("%s", event)
        with self._lock:
            self._board.take(event, self._clock())
            line = wrapped(self._line(event), self._console)
            if not self._console.live:
                if line:
                    self._write(line)
                return
            display = self._display()
            if line and (isinstance(event, Note) or (isinstance(event, StepEnded) and event.error)):
                from rich.text import Text

                display.console.print(Text.from_ansi(line))

    def pause(self) -> None:
        """Take the live display away, for a question or a report; the next event brings it back."""
        with self._lock:
            live, self._live = self._live, None
        # Not under the lock: stopping waits for the thread that draws, which takes it.
        if live:
            live.stop()

    def remind(self) -> float:
        """Where there is no live board: say what is at work when nothing was said for `SILENCE`. Returns how many
        seconds from now it may be time for that again."""
        with self._lock:
            now = self._clock()
            if now - self._told >= SILENCE:
                if self._board.at_work and not self._over.is_set():
                    self._write(still(self._board, now))
                self._told = now
            return SILENCE - (now - self._told)

    def _keep_telling(self) -> None:
        while not self._over.wait(self.remind()):
            pass

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()
        self._told = self._clock()

    def _line(self, event: Event) -> str:
        color = self._console.color
        match event:
            case PhaseStarted(title):
                return f"{safe(title)} …"
            case Note(text, warning):
                return remark(text, warning=warning, color=color)
            case StepEnded(action=Action.SAME, error=""):
                return ""
            case StepEnded():
                return f"  {self._count()}{step(event, color=color)}"
            case _:
                return ""

    def _count(self) -> str:
        if not self._board.total:
            return ""
        width = len(str(self._board.total))
        return f"[{self._board.done + self._board.failed:>{width}}/{self._board.total}] "

    def _display(self) -> Live:
        if self._live is None:
            from rich.console import Console as RichConsole
            from rich.live import Live

            if self._rich is None:
                self._rich = RichConsole(file=cast("IO[str]", self._stream), force_terminal=True, highlight=False)
            self._live = Live(
                console=self._rich,
                get_renderable=self._draw,
                refresh_per_second=8,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self._live

    def _draw(self) -> RenderableType:
        with self._lock:
            return draw(self._board, self._clock())


def step(event: StepEnded, *, color: bool) -> str:
    """`+ created   nodepool/workers[0] on workers-0  1.2s`, or why it failed."""
    where = f" on {safe(event.node)}" if event.node else ""
    if event.error:
        verb = paint(f"✗ {event.action.value} failed", "red", "bold", color=color)
        why = event.error.partition(NEWLINE)[0]
        return (
            f"{verb} {safe(event.address)}{where}: {safe(why.removeprefix(f'{event.node}: ') if event.node else why)}"
        )
    verb = paint(f"{event.action.glyph} {PAST[event.action]:<9}", COLORS[event.action], color=color)
    return f"{verb} {safe(event.address)}{where}  {paint(duration(event.seconds), 'dim', color=color)}"


def draw(board: Board, now: float) -> RenderableType:
    """The board as rich draws it: what finished last, what runs and for how long, how far the whole is."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    rows: list[RenderableType] = [Text.from_ansi("  " + step(event, color=True)) for event in board.finished]
    turning = _TURNING[int(now * 10) % len(_TURNING)]
    for event, since in sorted(board.running.values(), key=lambda item: item[1])[:_MOST_RUNNING]:
        where = f" on {safe(event.node)}" if event.node else ""
        text = f"  {turning} {event.action.value:<9} {safe(event.address)}{where}  {_spent(event, now - since)}"
        rows.append(Text(text, no_wrap=True, overflow="ellipsis"))
    if len(board.running) > _MOST_RUNNING:
        rows.append(Text(f"    and {len(board.running) - _MOST_RUNNING:,} more at work", style="dim"))
    foot = Table.grid(padding=(0, 1))
    title = Text(safe(board.fetched.title if board.fetched else board.title), style="bold")
    part, whole = (
        (board.fetched.done, board.fetched.total) if board.fetched else (board.done + board.failed, board.total)
    )
    bar: RenderableType = ProgressBar(total=whole, completed=part, width=30) if whole else Text(turning)
    foot.add_row(title, bar, Text(counts(board)), Text(duration(now - board.began), style="dim"))
    rows.append(foot)
    return Group(*rows)


def still(board: Board, now: float) -> str:
    """`still at it: create nodepool/workers[0] on workers-0, 1m 00s of 10m; and 3 more`, of those at work the one that
    began first; or what the phase is called."""
    if not board.running:
        return f"still at it: {safe(board.title)}, {duration(now - board.began)}"
    event, since = min(board.running.values(), key=lambda item: item[1])
    where = f" on {safe(event.node)}" if event.node else ""
    more = f"; and {len(board.running) - 1:,} more" if len(board.running) > 1 else ""
    return f"still at it: {event.action.value} {safe(event.address)}{where}, {_spent(event, now - since)}{more}"


def _spent(event: StepStarted, seconds: float) -> str:
    """How long a step takes already, and may take."""
    return duration(seconds) + (f" of {exactly(round(event.limit))}" if event.limit else "")


def counts(board: Board) -> str:
    """`12 of 23 done, 1 failed`; empty when nothing is counted."""
    if not (board.done or board.failed or board.total):
        return ""
    of = f" of {board.total:,}" if board.total else ""
    return f"{board.done:,}{of} done" + (f", {board.failed:,} failed" if board.failed else "")


class Unbreakable(io.TextIOBase):
    """A text stream that goes quiet when its reader has gone, in place of raising."""

    def __init__(self, stream: TextIO) -> None:
        self._wrapped = stream
        self._gone = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As of the stream underneath."""
        return self._wrapped.encoding or "utf-8"

    def write(self, text: str) -> int:
        """Write, or drop it."""
        if not self._gone:
            try:
                self._wrapped.write(text)
            except UnicodeEncodeError:
                self._wrapped.write(text.encode("ascii", "replace").decode())
            except (OSError, ValueError):  # EPIPE, EIO of a terminal that was closed; a closed stream
                self._gone = True
        return len(text)

    def flush(self) -> None:
        """Flush, or don't."""
        if not self._gone:
            try:
                self._wrapped.flush()
            except (OSError, ValueError):
                self._gone = True

    def isatty(self) -> bool:
        """As the stream underneath."""
        return not self._gone and self._wrapped.isatty()

    def fileno(self) -> int:
        """As of the stream underneath."""
        return self._wrapped.fileno()
