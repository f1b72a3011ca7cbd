"""Processes of this machine, known by more than their ids, found by what their environment says.

A process is known by its id, its start time and this boot: an id alone may belong to somebody else by now.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from swarmctl.errors import SwarmError


class ProcessStuck(SwarmError):
    """A process does not end, not even when it is killed."""


@cache
def boot_id() -> str:
    """Names this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True, slots=True)
class Process:
    """One process of this boot; `start` is its start time in clock ticks since boot (proc_pid_stat(5), field 22)."""

    pid: int
    start: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has this id now; None when there is none, or only its remains."""
        found = _stat(pid)
        return None if found is None or found[0] in "ZX" else cls(pid, found[1], boot_id())

    @classmethod
    def load(cls, data: Any) -> Process | None:
        """From a mark; None when the mark has none."""
        match data:
            case [int(pid), int(start), str(boot)]:
                return cls(pid, start, boot)
        return None

    def dump(self) -> list[int | str]:
        """For a mark."""
        return [self.pid, self.start, self.boot]

    def alive(self) -> bool:
        """Whether it still runs, and isn't another one with the same id."""
        return self.boot == boot_id() and Process.of(self.pid) == self

    def stopped(self) -> bool:
        """Whether it lives and does nothing until it is continued (SIGSTOP, Ctrl-Z, a debugger)."""
        found = _stat(self.pid)
        return found is not None and found[0] in "Tt" and found[1] == self.start and self.boot == boot_id()

    def kill(self, timeout: float = 10.0) -> None:
        """End it and wait until it is gone, with its whole process id namespace when it is the first one of that.

        Raises `ProcessStuck`, and PermissionError for a process of somebody else.
        """
        if not self.ends_by(signal.SIGKILL, timeout):
            raise ProcessStuck(f"process {self.pid} does not end", "try again")

    def end(self, patience: float = 3.0) -> None:
        """Ask it to end, then make it. Raises like `kill`."""
        if not self.ends_by(signal.SIGTERM, patience):
            self.kill()

    def ends_by(self, number: signal.Signals, timeout: float) -> bool:
        """Send it a signal, never to another process that got its id; whether it is gone within `timeout` seconds."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if not self.alive():
                return True
            signal.pidfd_send_signal(descriptor, number)
            return bool(select.select([descriptor], [], [], timeout)[0])
        except ProcessLookupError:
            return True
        finally:
            os.close(descriptor)

    @contextmanager
    def namespaces(self, *names: str) -> Iterator[dict[str, int]]:
        """Open descriptors of its namespaces, surely its own. Raises ProcessLookupError when it is gone."""
        opened: dict[str, int] = {}
        try:
            for name in names:
                try:
                    opened[name] = os.open(f"/proc/{self.pid}/ns/{name}", os.O_RDONLY)
                except FileNotFoundError:
                    if name != "cgroup":  # a kernel without them
                        raise ProcessLookupError(self.pid) from None
            if not self.alive():
                raise ProcessLookupError(self.pid)
            yield opened
        finally:
            for descriptor in opened.values():
                os.close(descriptor)


def environments() -> Iterator[tuple[Process, list[bytes]]]:
    """Every process that we may look into, but this one, with the `NAME=value` entries of its environment."""
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        process = Process.of(int(entry.name))
        try:
            environment = Path(f"/proc/{entry.name}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if process is not None and process.alive():
            yield process, environment


def _stat(pid: int) -> tuple[str, int] | None:
    """State letter and start time of what has this id now."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return fields[0], int(fields[19])
