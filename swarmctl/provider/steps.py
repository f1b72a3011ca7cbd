"""One change at a time and many beside each other: written down before it begins, tried again where that may help,
given up when its time is over.

Whatever blocks runs in threads; `Steps.run` is called on the event loop and waits there without blocking it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from swarmctl.backends.base import ForeignStack, HostGone, Untouched
from swarmctl.errors import SwarmError
from swarmctl.provider.errors import describe
from swarmctl.state.checkpoint import address_of
from swarmctl.state.journal import CREATE, DELETE, UPDATE, Journal, JournalFailed

Json = Any

READ = "read"
LIMITS = {CREATE: 600.0, UPDATE: 600.0, DELETE: 600.0, READ: 60.0}
"""Seconds that a step may take where its declaration says nothing."""
THREADS = 1024
"""More than ever work at a time: a thread that is stuck is given up and keeps nobody waiting."""
TRIES = {CREATE: 5, UPDATE: 5, DELETE: 5, READ: 3}
"""How often a step is tried in all when what stops it may pass."""
PATIENCE = 30.0
"""Seconds from its beginning after which no try begins: what takes so long to fail has waited for the host already."""
NOTHING_LEFT = (HostGone, ForeignStack, Untouched, JournalFailed)
"""Errors of a creation that has made nothing."""

NOT_BEGUN = "not begun: the run was interrupted"
"""All that is said of a `Cancelled` step: by it the engine's side knows that nothing has failed."""

OVERTIME = "took longer than its time limit"
"""Said of every step that is `TimedOut`."""


class TimedOut(SwarmError):
    """A step took longer than it may."""


class Cancelled(SwarmError):
    """The run was interrupted before the step began."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done to one resource."""

    op: str
    urn: str
    inputs: Mapping[str, Json] = field(default_factory=dict)
    """As the journal keeps them; see `state.journal.Intent`."""
    old: Mapping[str, Json] | None = None
    limit: float = 0.0
    """Seconds; 0 for the usual."""
    guarded: bool = False
    """The node undoes it unless it is confirmed."""

    @property
    def seconds(self) -> float:
        """How long it may take."""
        return self.limit or LIMITS[self.op]


Tell = Callable[[str, str], None]
"""Called with a URN and a sentence, from any thread."""


def silent(urn: str, text: str) -> None:
    """Tells nobody."""


class Steps:
    """All steps of this process. Belongs to one event loop; `tell` may be called from any thread."""

    def __init__(self, journal: Journal | None = None, tell: Tell = silent) -> None:
        """Without a journal (in tests, and where nothing is changed) nothing is written down."""
        self._journal = journal
        self.tell = tell
        self._threads = ThreadPoolExecutor(THREADS, "step")
        self._cancelled = False
        self._live: set[_Attempt] = set()
        self._told: set[str] = set()
        self._telling = threading.Lock()
        self._ended: deque[tuple[asyncio.Future[Any], Any, Exception | None]] = deque()
        self._waking = False

    def begin(self) -> None:
        """Another stage of the run: steps may begin."""
        self._cancelled = False
        with self._telling:
            self._told.clear()

    def tell_once(self, urn: str, sentence: str, more: str) -> None:
        """Say why something is tried again, once in a stage: a machine that is down stops all that is on it with the
        same words."""
        with self._telling:
            if sentence in self._told:
                return
            self._told.add(sentence)
        self.tell(urn, f"{sentence}; {more}")

    def cancel(self) -> None:
        """Begin nothing any more; what was begun is finished, and not tried again."""
        self._cancelled = True
        for attempt in self._live:
            attempt.stop()

    async def run(self, step: Step, work: Callable[[], Any]) -> Any:
        """Do `work` in a thread and return what it returns: of a change its outputs.

        Raises what it raises, `TimedOut`, `Cancelled`, `JournalFailed`.
        """
        if self._cancelled and step.op != READ:
            raise Cancelled(NOT_BEGUN)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        attempt = _Attempt(step, None if step.op == READ else self._journal, self)
        self._live.add(attempt)
        clock = loop.call_later(step.seconds, self._give_up, attempt, answer)
        self._threads.submit(self._in_thread, loop, attempt, work, answer)
        try:
            return await answer
        finally:
            clock.cancel()
            self._live.discard(attempt)

    def _in_thread(
        self, loop: asyncio.AbstractEventLoop, attempt: _Attempt, work: Callable[[], Any], answer: asyncio.Future[Any]
    ) -> None:
        result, failure = None, None
        try:
            result = attempt.run(work)
        except Exception as error:  # noqa: BLE001 - told to whoever waits for the answer
            failure = error
        self._ended.append((answer, result, failure))
        # Those that end while the loop is on its way to look need not wake it again.
        if not self._waking:
            self._waking = True
            loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._waking = False
        while self._ended:
            answer, result, failure = self._ended.popleft()
            if answer.done():
                continue  # it was given up, or the engine does not wait any more
            if failure is None:
                answer.set_result(result)
            else:
                answer.set_exception(failure)

    @staticmethod
    def _give_up(attempt: _Attempt, answer: asyncio.Future[Any]) -> None:
        if not answer.done():
            answer.set_exception(attempt.give_up())


class _Attempt:
    """One step in its thread. It ends once: by its result, or by the clock."""

    def __init__(self, step: Step, journal: Journal | None, steps: Steps) -> None:
        self._step = step
        self._journal = journal
        self._steps = steps
        self._n = 0
        self._guard = threading.Lock()
        self._over = False
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Do not begin it, and do not try it again; what was begun is finished."""
        self._stopped.set()

    def run(self, work: Callable[[], Any]) -> Any:
        """In the thread: write down what begins, do it, write down how it ended."""
        step = self._step
        if step.op != READ and self._stopped.is_set():
            raise Cancelled(NOT_BEGUN)
        if self._journal is not None:
            self._n = self._journal.intent(step.op, step.urn, step.inputs, step.old, guarded=step.guarded)
        if self._over:
            raise self._timed_out()  # nobody waits for it any more
        try:
            result = self._trying(work)
        except Exception as error:
            self._end(error)
            raise
        self._end(None, result)
        return result

    def give_up(self) -> TimedOut:
        """On the event loop: its time is over, whatever its thread still does."""
        error = self._timed_out()
        self.stop()
        self._end(error)
        return error

    def _trying(self, work: Callable[[], Any]) -> Any:
        """Do it; again while what stops it may pass."""
        began = time.monotonic()
        try:
            return work()
        except SwarmError as error:
            if not error.transient:
                raise
            from swarmctl.provider import again

            left = min(PATIENCE, self._step.seconds) - (time.monotonic() - began)
            tries, urn = TRIES[self._step.op], self._step.urn
            return again.trying(
                work, error, tries=tries, seconds=left, stopped=self._stopped, tell=partial(self._steps.tell_once, urn)
            )

    def _end(self, error: Exception | None, outputs: Mapping[str, Json] | None = None) -> None:
        """Write down how it ended, unless that was done."""
        with self._guard:
            if self._over:
                return
            self._over = True
        if self._journal is None or not self._n:
            return
        try:
            if error is None:
                self._journal.done(self._n, outputs or {})
            else:
                self._journal.failed(self._n, describe(error), left=not isinstance(error, NOTHING_LEFT))
        except JournalFailed as failure:
            # It counts as begun then, which the next run reads back; and the next step is refused.
            self._steps.tell(self._step.urn, failure.message)

    def _timed_out(self) -> TimedOut:
        step = self._step
        return TimedOut(
            f"{address_of(step.urn)}: {step.op} {OVERTIME} of {step.seconds:g} s and was given up",
            "what it had begun is read back by the next run",
        )
