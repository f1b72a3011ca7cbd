"""A copy of the state from before a run that changes things, where the engine never writes.

On a full disk the engine cuts off its checkpoint, and in the same run its own copy of the one before.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from swarmctl.errors import SwarmError
from swarmctl.state.checkpoint import StateUnreadable, decode
from swarmctl.state.files import write

SPARE = 1 << 20
"""Bytes that are free before a run begins, besides what the state itself takes."""
TIMES = 3
"""How often the state has to fit into what is free: our copy, the engine's copy, and the one that it writes."""


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


@contextlib.contextmanager
def told(folder: Path) -> Iterator[None]:
    """Raises `DiskFull` for what the operating system says of a full file system or a used-up quota."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull.at(folder) from error
        raise


def require_room(folder: Path, checkpoint: Path, spare: int) -> None:
    """Raise `DiskFull` when a run could not save what it does; nothing is written."""
    needed = TIMES * (checkpoint.stat().st_size if checkpoint.exists() else 0) + spare
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    # Without a limit there are no blocks to count.
    if found.f_blocks and free < needed:
        raise DiskFull.at(folder, free, needed)


def keep(checkpoint: Path, copy: Path) -> None:
    """Copy a checkpoint that can be read to `copy`; raises `DiskFull` when it does not fit."""
    with told(copy.parent):
        write(copy, checkpoint.read_bytes())


def release(checkpoint: Path, copy: Path) -> None:
    """Remove the copy when the checkpoint can be read after the run; it is kept otherwise."""
    with contextlib.suppress(OSError, StateUnreadable):
        decode(checkpoint.read_bytes())
        copy.unlink(missing_ok=True)


def _kib(size: int) -> str:
    return f"{-(-size // 1024):,} KiB"
