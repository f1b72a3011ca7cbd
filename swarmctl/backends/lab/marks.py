"""What a lab leaves on disk so that everything it made can be found again, also after a crash at any point.

`paths.lab_dir(stack)` holds `fabric.json` and `nodes/NAME/node.json`; each is written before what it describes is
made. Every process of a lab carries the lab's tag in its environment, until a command of a node takes its place.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from swarmctl import paths
from swarmctl.errors import SwarmError
from swarmctl.processes import Process, environments

TAG = "SWARMCTL_LAB"
NODE = "SWARMCTL_NODE"
"""In the environment of a node's first process, beside the tag."""
HELD_BY = "SWARMCTL_HELD_BY"
"""In the environment of what enters a node for a command, beside the tag: the swarmctl that runs the command."""


class LabStuck(SwarmError):
    """The folder of a lab can't be made, or locked."""


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
                with _holding(descriptor):
                    yield True
                return
        finally:
            os.close(descriptor)


def held() -> list[int]:
    """Descriptors of the folders that this thread holds. A program that gets them holds these folders as well until it
    ends: of a run that is killed it goes on, and the next run must not begin beside it."""
    return list(getattr(_mine, "descriptors", ()))


_mine = threading.local()


@contextmanager
def _holding(descriptor: int) -> Iterator[None]:
    before = held()
    _mine.descriptors = [*before, descriptor]
    try:
        yield
    finally:
        _mine.descriptors = before


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


def left(tag: str) -> list[Process]:
    """The same without what a living swarmctl runs commands in nodes by."""
    return [process for process, environment in _carrying(tag) if not _held(environment)]


def holder() -> str:
    """This process, as `HELD_BY` names it."""
    me = Process.of(os.getpid())
    return json.dumps(me.dump() if me else None)


def _held(environment: Iterable[bytes]) -> bool:
    start = f"{HELD_BY}=".encode()
    for entry in environment:
        if entry.startswith(start):
            try:
                process = Process.load(json.loads(entry[len(start) :]))
            except ValueError:
                return False
            return process is not None and process.alive()
    return False


def tagged_nodes(tag: str) -> list[str]:
    """The nodes of a lab whose first processes run, whatever marks there are."""
    start = f"{NODE}=".encode()
    entries = {entry for _, environment in _carrying(tag) for entry in environment if entry.startswith(start)}
    return sorted(os.fsdecode(entry[len(start) :]) for entry in entries)


def _carrying(tag: str) -> Iterator[tuple[Process, list[bytes]]]:
    mark = f"{TAG}={tag}".encode()
    return ((process, environment) for process, environment in environments() if mark in environment)
