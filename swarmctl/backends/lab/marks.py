"""What a lab leaves on disk so that everything it made can be found again, also after a crash at any point.

`paths.lab_dir(stack)` holds `fabric.json` and `nodes/NAME/node.json`; each is written before what it describes is
made. A process is known by its id, its start time and this boot: an id alone may belong to somebody else by now.
Every process of a lab carries the lab's tag in its environment, until a command of a node takes its place.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import select
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from swarmctl import paths
from swarmctl.errors import SwarmError

TAG = "SWARMCTL_LAB"
NODE = "SWARMCTL_NODE"
"""In the environment of a node's first process, beside the tag."""


class LabStuck(SwarmError):
    """A process of the lab does not end, or its folder can't be locked."""


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
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            return None
        fields = stat[stat.rindex(")") + 2 :].split()
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]), boot_id())

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

    def kill(self, timeout: float = 10.0) -> None:
        """End it and wait until it and everything in its process tree's namespace is gone. Raises `LabStuck`."""
        if not self._ends_by(signal.SIGKILL, timeout):
            raise LabStuck(f"process {self.pid} of the lab does not end", "try again")

    def end(self, patience: float = 3.0) -> None:
        """Ask it to end, then make it. Raises `LabStuck`."""
        if not self._ends_by(signal.SIGTERM, patience):
            self.kill()

    def _ends_by(self, number: signal.Signals, timeout: float) -> bool:
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


class Lab:
    """The folder of one stack's lab."""

    def __init__(self, stack: str) -> None:
        self.stack = stack
        self.folder = paths.lab_dir(stack)
        self.nodes = self.folder / "nodes"
        # Of the folder, so that labs of the same name under other data directories are others.
        self.tag = hashlib.sha256(os.fsencode(os.path.abspath(self.folder))).hexdigest()[:16]

    def node(self, name: str) -> Path:
        """The folder of one node. Raises ValueError when the name could lead elsewhere."""
        if not name or name in (".", "..") or "/" in name or "\0" in name:
            raise ValueError(f"not a node name: {name!r}")
        return self.nodes / name

    def names(self) -> list[str]:
        """The nodes that have a folder."""
        try:
            return sorted(entry.name for entry in os.scandir(self.nodes) if entry.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return []

    def read(self, path: Path) -> dict[str, Any]:
        """A mark; empty when it is missing or was cut off by a crash of the machine."""
        try:
            data = json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}

    def fabric(self) -> dict[str, Any]:
        """The fabric's mark."""
        return self.read(self.folder / "fabric.json")

    def record(self, name: str) -> dict[str, Any]:
        """A node's mark."""
        return self.read(self.node(name) / "node.json")


def write(path: Path, data: Mapping[str, Any]) -> None:
    """Write a mark atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        temporary.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def locked(folder: Path, *, create: bool = False, timeout: float = 120.0) -> Iterator[bool]:
    """Hold a folder for oneself, also against other processes; yields False when it does not exist (any more).

    Raises `LabStuck` at the timeout.
    """
    deadline = time.monotonic() + timeout
    while True:
        if create:
            make_folder(folder)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            if create:
                continue
            yield False
            return
        try:
            _wait_for_lock(descriptor, folder, deadline)
            if _same(descriptor, folder):  # not removed by the one who held it before
                yield True
                return
        finally:
            os.close(descriptor)


def _wait_for_lock(descriptor: int, folder: Path, deadline: float) -> None:
    pause = 0.001
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise LabStuck(f"{folder} is held by another run of swarmctl", "wait for it, or end it") from None
            time.sleep(pause)
            pause = min(pause * 2, 0.02)
        else:
            return


def _same(descriptor: int, folder: Path) -> bool:
    try:
        there = folder.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def make_folder(folder: Path) -> None:
    """Make a folder only its owner may enter, and those above it, although another run may be removing them."""
    for _ in range(100):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
        except (FileNotFoundError, FileExistsError):  # removed while we looked, or no folder at all
            continue
        return
    raise LabStuck(f"{folder} can't be made a folder", "see what stands there, and try again")


def tagged(tag: str) -> list[Process]:
    """Every process that carries the tag of a lab, but this one."""
    return [process for process, _ in _carrying(tag)]


def tagged_nodes(tag: str) -> list[str]:
    """The nodes of a lab whose first processes run, whatever marks there are."""
    start = f"{NODE}=".encode()
    entries = {entry for _, environment in _carrying(tag) for entry in environment if entry.startswith(start)}
    return sorted(os.fsdecode(entry[len(start) :]) for entry in entries)


def _carrying(tag: str) -> Iterator[tuple[Process, list[bytes]]]:
    mark = f"{TAG}={tag}".encode()
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        process = Process.of(int(entry.name))
        try:
            environment = Path(f"/proc/{entry.name}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if process is not None and mark in environment and process.alive():
            yield process, environment
