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
from pathlib import Path

PATIENCE = 20.0
"""Seconds that an engine on its own may ask nothing of us: saving the state takes it less than one."""


class Calls:
    """The engine's calls: how many are being answered, and for how long there has been none.

    Kept by one thread, looked at by others.
    """

    def __init__(self) -> None:
        self._running = 0
        self._last = time.monotonic()

    def __enter__(self) -> None:
        """A call has come."""
        self._running += 1

    def __exit__(self, *exception: object) -> None:
        """It is answered."""
        self._last = time.monotonic()
        self._running -= 1

    def idle(self) -> float:
        """Seconds since the last answer; 0 while a call is being answered."""
        return 0.0 if self._running else time.monotonic() - self._last


def watch(engine: int, starter: int, calls: Calls, *, patience: float = PATIENCE, tick: float = 1.0) -> None:
    """Kill the process `engine` when its parent is not `starter` any more and it has asked nothing for `patience`
    seconds since. Returns then, or when it is gone by itself."""
    orphaned: float | None = None
    while True:
        parent = parent_of(engine)
        if parent is None:
            return
        if parent != starter:
            orphaned = orphaned or time.monotonic()
            if min(time.monotonic() - orphaned, calls.idle()) >= patience:
                os.kill(engine, signal.SIGKILL)
                return
        time.sleep(tick)


def parent_of(pid: int) -> int | None:
    """The process id of the parent; None when there is no such process."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None
