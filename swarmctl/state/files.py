"""The files of the store: says what a disk lacks, and removes what a crash has left. They are written by `durable`."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

from swarmctl.durable import create, folder, sync, write
from swarmctl.errors import SwarmError

__all__ = [
    "DiskFull",
    "ReadOnly",
    "create",
    "folder",
    "make",
    "require_room",
    "sweep",
    "sync",
    "told",
    "write",
]

SPARE = 1 << 20
"""Bytes that are free before a run begins, besides what the state itself takes."""


class DiskFull(SwarmError):
    """The file system with the state has no room for it."""

    @classmethod
    def at(cls, folder: Path, free: int | None = None, needed: int | None = None) -> DiskFull:
        """The error for the file system that `folder` is on; sizes in bytes, where they are known."""
        room = "" if free is None or needed is None else f": {_kib(free)} are free, {_kib(needed)} are needed"
        return cls(
            f"the file system with the state in {folder} is full{room}",
            "make room on it, then run the same command again",
        )


class ReadOnly(SwarmError):
    """The file system with the state can't be written."""

    @classmethod
    def at(cls, folder: Path) -> ReadOnly:
        """The error for the file system that `folder` is on."""
        return cls(
            f"the file system with the state in {folder} is read-only",
            "mount it so that it can be written, then run the same command again; nothing was lost",
        )


@contextlib.contextmanager
def told(folder: Path) -> Iterator[None]:
    """Raises `DiskFull` or `ReadOnly` for what the operating system says of a full file system, a used-up quota, or
    one that can't be written."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull.at(folder) from error
        if error.errno == errno.EROFS:
            raise ReadOnly.at(folder) from error
        raise


def require_room(folder: Path, needed: int) -> None:
    """Raise `DiskFull` when fewer than `needed` bytes are free, `ReadOnly` when none can be written at all."""
    found = os.statvfs(folder)
    if found.f_flag & os.ST_RDONLY:
        raise ReadOnly.at(folder)
    free = found.f_bavail * found.f_frsize
    # Without a limit there are no blocks to count.
    if found.f_blocks and free < needed:
        raise DiskFull.at(folder, free, needed)


def sweep(folder: Path, pattern: str, age: float = 0.0) -> None:
    """Remove what who was killed has left of writing files of this pattern, if it is older than `age` seconds: who
    still writes would miss it."""
    for torn in folder.glob(f"{pattern}.new"):
        with contextlib.suppress(FileNotFoundError):
            if not age or time.time() - torn.stat().st_mtime > age:
                torn.unlink()


def make(path: Path) -> None:
    """Make the folder of a store. Raises `DiskFull`, `ReadOnly`, and `SwarmError` for whatever else is in the way."""
    try:
        with told(path):
            folder(path)
    except OSError as error:
        raise SwarmError(f"the state store cannot be made in {path}: {error.strerror}") from None


def _kib(size: int) -> str:
    return f"{-(-size // 1024):,} KiB"
