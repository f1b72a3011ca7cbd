"""One run at a time works on a stack: an advisory lock that the kernel frees when its last holder is gone.

The lock belongs to the open file, not to the process: the engine inherits it, so that it is held until the engine has
ended, also when `swarmctl` itself was killed. There is no stale lock and nothing to break.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from pathlib import Path

from swarmctl.errors import LockHeld

FILE = "lock"
PATIENCE = 10.0
"""Seconds that the engine and provider of a run that is gone get to end: they do so by themselves."""
AFTERGLOW = 1.0
"""The same for an earlier run of this very process, which has waited for the engine and not for the provider."""


def acquire(folder: Path) -> int:
    """Take the lock of the stack in `folder` and return its file descriptor; closing the last copy frees it.

    Raises `LockHeld`, naming who holds it: at once when that is a run that works, and for one that is gone when what
    it started has not ended in time.
    """
    started = time.monotonic()
    while True:
        descriptor = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(descriptor, folder / FILE):
                _sign(descriptor)
                return descriptor
            # A destroy has taken the store away between our open and our lock: this is the lock of nothing.
            os.close(descriptor)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except BlockingIOError:
            holder = os.pread(descriptor, 4096, 0)
            os.close(descriptor)
            if time.monotonic() - started >= _patience(holder):
                raise _held(holder) from None
            time.sleep(0.02)


def _patience(holder: bytes) -> float:
    try:
        pid = int(json.loads(holder)["pid"])
    except (ValueError, KeyError, TypeError):
        return AFTERGLOW  # the other one has taken the lock and not signed yet
    if pid == os.getpid():
        return AFTERGLOW
    return 0.0 if _alive(pid) else PATIENCE


def _is(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(file))
    except FileNotFoundError:
        return False


def _sign(descriptor: int) -> None:
    """Leave a note about ourselves for those who find the lock taken."""
    command = " ".join(["swarmctl", *sys.argv[1:]])[:200]
    note = json.dumps({"pid": os.getpid(), "since": int(time.time()), "command": command}).encode()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, note, 0)


def _held(holder: bytes) -> LockHeld:
    try:
        note = json.loads(holder)
        pid, command = int(note["pid"]), str(note["command"])
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(note["since"]))
    except (ValueError, KeyError, TypeError):
        # The other one has taken the lock and not signed yet.
        return LockHeld("another run works on this stack", "Wait until it has ended and try again.")
    who = f"`{command}` (process {pid}, since {since})"
    if _alive(pid):
        return LockHeld(f"{who} works on this stack", "Wait until it has ended and try again.")
    return LockHeld(
        f"the engine of {who} still works on this stack, although swarmctl itself is gone",
        "It finishes the steps it has begun and ends by itself; try again in a moment.",
    )


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
