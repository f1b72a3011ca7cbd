"""Tells an engine that works from one that will never end.

The provider ends a step that takes longer than it may, and the engine tells of that. An engine or a provider that hangs
tells nothing: a step that goes on long after its time, or silence while nothing is begun, is the end of a run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from swarmctl.engine.events import Moment, Op, Step
from swarmctl.graph.model import Timeouts

GRACE = 30.0
"""Seconds that a step may go on after its time: the provider needs some of them to give up."""
QUIET = 120.0
"""Seconds in which an engine that has no step to wait for may tell nothing. Starting takes it one, and so does saving
10,000 resources."""
ENDING = 30.0
"""Seconds that an engine may take to end after it has told its last event."""


@dataclass(frozen=True, slots=True)
class _Begun:
    step: Step
    since: float
    limit: float


class Watchdog:
    """Follows the steps of one run; `on_step` and `overdue` may be called from different threads."""

    def __init__(
        self, timeouts: Callable[[str], Timeouts], *, changing: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`timeouts` by address. A run that is not `changing` tells of a step that fails by its error alone, so that
        the end of one is not always seen: it is given up only when it is silent, too."""
        self._timeouts = timeouts
        self._changing = changing
        self._clock = clock
        self._guard = threading.Lock()
        self._begun: dict[tuple[str, Op], _Begun] = {}

    def on_step(self, step: Step) -> None:
        """A step began, ended or failed."""
        with self._guard:
            if step.moment is Moment.BEGIN:
                limit = limit_of(self._timeouts(step.address), step.op)
                self._begun[step.address, step.op] = _Begun(step, self._clock(), limit)
            else:
                self._begun.pop((step.address, step.op), None)

    def overdue(self, silence: float, *, finished: bool) -> str:
        """Why the run must be ended, as a clause; empty while there is hope.

        `silence` is how many seconds ago the engine told anything, `finished` whether that was its last event.
        """
        if finished:
            return f"it did not end within {ENDING:.0f} s after it was done" if silence > ENDING else ""
        with self._guard:
            late = [it for it in self._begun.values() if self._clock() - it.since > it.limit + GRACE]
            waiting = bool(self._begun)
        if late and (self._changing or silence > GRACE):
            first = min(late, key=lambda it: it.since)
            return f"{first.step.address} did not answer within the {first.limit:.0f} s that it may take"
        if not waiting and silence > QUIET:
            return f"it has told nothing for {QUIET:.0f} s and waits for nothing"
        return ""


def limit_of(timeouts: Timeouts, op: Op) -> float:
    """Seconds that the provider may take to answer."""
    return float(getattr(timeouts, limit_name(op)))


def limit_name(op: Op) -> str:
    """Which of a resource's `timeouts` it is that holds for a step."""
    match op:
        case Op.CREATE | Op.CREATE_REPLACEMENT:
            return "create"
        case Op.UPDATE:
            return "update"
        case Op.DELETE | Op.DELETE_REPLACED:
            return "delete"
        case _:
            return "read"
