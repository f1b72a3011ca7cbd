"""The end of an engine that hangs after `swarmctl` was killed.

An engine whose parent dies is told to stop, saves the state and ends. When it hears of that in the moment in which it
is done anyway, it waits for ever: its note about the interruption comes after its last event, when nobody reads them
any more (Pulumi v3.259.0, pkg/backend/diy/backend.go, `<-eventsDone`). It holds the stack's lock, so that nobody could
work on the stack again. A `swarmctl` that lives ends such an engine at the second Ctrl-C; a dead one cannot.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

PATIENCE = 20.0
"""Seconds that an engine on its own may ask nothing of us: saving the state takes it less than one."""


class Calls(ThreadPoolExecutor):
    """Where the engine's calls are answered; knows for how long there has been none."""

    def __init__(self, workers: int) -> None:
        super().__init__(max_workers=workers)
        self._guard = Lock()
        self._running = 0
        self._last = time.monotonic()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As of every executor; the call counts from now on until it is answered."""
        with self._guard:
            self._running += 1
        future = super().submit(fn, *args, **kwargs)
        future.add_done_callback(self._done)
        return future

    def _done(self, _future: Future[Any]) -> None:
        with self._guard:
            self._running -= 1
            self._last = time.monotonic()

    def idle(self) -> float:
        """Seconds since the last answer; 0 while a call is being answered."""
        with self._guard:
            return 0.0 if self._running else time.monotonic() - self._last


def watch(engine: int, starter: int, calls: Calls, *, patience: float = PATIENCE, tick: float = 1.0) -> None:
    """Kill the process `engine` when its parent is not `starter` any more and it has asked nothing for `patience`
    seconds since. Returns then, or when it is gone by itself."""
    orphaned: float | None = None
    while True:
        parent = _parent(engine)
        if parent is None:
            return
        if parent != starter:
            orphaned = orphaned or time.monotonic()
            if min(time.monotonic() - orphaned, calls.idle()) >= patience:
                os.kill(engine, signal.SIGKILL)
                return
        time.sleep(tick)


def _parent(pid: int) -> int | None:
    """The process id of the parent; None when there is no such process."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None
