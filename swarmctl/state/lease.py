"""The lease of a stack: one run at a time changes it, and none can keep it by dying, hanging or sleeping.

`acquire` takes it or waits for it; `Lease` keeps it by a beat of its own thread, and notices when it is another's. The
rules are in `lease_rules`, the files in `lease_files`, the words in `lease_words`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from swarmctl.errors import LeaseLost, LockHeld
from swarmctl.state import lease_files, lease_rules, lease_words
from swarmctl.state.lease_admin import LeaseStatus, Released, release, status
from swarmctl.state.lease_files import Unreadable, locked
from swarmctl.state.lease_queue import Contender, OnWait, Timing, Waiting
from swarmctl.state.model import Holder

__all__ = [
    "Lease",
    "LeaseLost",
    "LeaseStatus",
    "LockHeld",
    "OnWait",
    "Released",
    "Timing",
    "Waiting",
    "acquire",
    "holds",
    "recorded",
    "release",
    "status",
]


class Lease:
    """A lease that was taken. A daemon thread beats for it until `release`; the end of the process ends it too."""

    def __init__(self, folder: Path, token: int, holder: Holder, timing: Timing) -> None:
        self.folder = folder
        self.token = token
        self.holder = holder
        self.lost = threading.Event()
        """Set as soon as it is known that the lease is another's."""
        self._timing = timing
        self._why: LeaseLost | None = None
        self._released = threading.Event()
        self._verified = time.monotonic()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Look at the record now. Raises `LeaseLost`, saying who has taken the lease, when it is not ours."""
        if not self.lost.is_set():
            try:
                self._compare(lease_files.read(self.folder))
            except Unreadable as error:
                self._lose(None, f"its record cannot be read: {error}")
        if self._why is not None:
            raise self._why

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """For the block, which publishes, nobody can take the lease. Raises `LeaseLost` before the block.

        The block holds `lease.lock`: it must be short, and must not wait for anybody.
        """
        self.check()
        try:
            with locked(self.folder, ttl=self._timing.ttl):
                self.check()
                yield
        except FileNotFoundError:
            self.check()
            raise

    def release(self) -> None:
        """Give it back; what is another's by now is left alone."""
        self._released.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
        if self.lost.is_set():
            return
        try:
            with locked(self.folder, ttl=self._timing.ttl):
                record = lease_rules.freed(lease_files.read(self.folder), self.token)
                if record is not None:
                    lease_files.write(self.folder, record, sync=True)
        except (OSError, Unreadable):
            # The whole store was taken away by its destroy, or nothing can be written. That makes no run fail at its
            # end: the lease is free for the next one as soon as this process has ended.
            return

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def _keep(self) -> None:
        while not self._released.wait(self._timing.beat) and not self.lost.is_set():
            self._beat()

    def _beat(self) -> None:
        """One sign of life: first compare, then write. Nothing is written over another's record."""
        try:
            with locked(self.folder, ttl=self._timing.ttl):
                record = lease_files.read(self.folder)
                self._compare(record)
                beaten = lease_rules.beaten(record, self.token, time.monotonic())
                if beaten is not None:
                    lease_files.write(self.folder, beaten, sync=False)
        except FileNotFoundError:
            self._lose(None, "")
        except Unreadable as error:
            self._lose(None, f"its record cannot be read: {error}")
        except OSError as error:
            # A full disk hinders the beat and not the look: as long as the record is ours, nobody has taken it.
            with contextlib.suppress(OSError, Unreadable):
                self._compare(lease_files.read(self.folder))
            silent = time.monotonic() - self._verified
            if silent >= self._timing.ttl:
                self._lose(None, f"the state could not be reached for {silent:.0f} s ({error.strerror or error})")

    def _compare(self, record: lease_rules.Record | None) -> None:
        if lease_rules.owns(record, self.token):
            self._verified = time.monotonic()
        else:
            self._lose(record, "")

    def _lose(self, record: lease_rules.Record | None, why: str) -> None:
        if self._why is None:
            self._why = lease_words.lost(self.token, record, why)
            self.lost.set()


def acquire(
    folder: Path,
    holder: Holder,
    *,
    timeout: float = 0.0,
    on_wait: OnWait | None = None,
    timing: Timing | None = None,
    floor: int = 0,
) -> Lease:
    """Take the lease of the stack in `folder`, made when it is missing; wait for it up to `timeout` seconds.

    A holder that is gone is healed at once, whatever `timeout` is: what it left gets `timing.patience` seconds to end.
    Of one on another machine that may be gone, a sign of life is waited for, for its time to live at most. The token
    is greater than `floor` and all before it. Raises `LockHeld`, DiskFull, ReadOnly, OSError.
    """
    timing = timing or Timing()
    contender = Contender(folder, holder, timing, timeout, on_wait or (lambda waiting: None), floor)
    return Lease(folder, contender.run(), holder, timing)


def recorded(folder: Path) -> bool:
    """Whether there is a record, so that it is known which tokens were given out."""
    try:
        return lease_files.read(folder) is not None
    except Unreadable:
        return False


def holds(folder: Path, token: int) -> bool:
    """Whether the lease is held under this token; to rely on it, ask with `lease.lock` held."""
    try:
        return lease_rules.owns(lease_files.read(folder), token)
    except Unreadable:
        return False
