"""A copy of the state from before a run that changes things, where the engine never writes.

On a full disk the engine cuts off its checkpoint, and in the same run its own copy of the one before.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from swarmctl.state.checkpoint import StateUnreadable, decode
from swarmctl.state.files import SPARE, DiskFull, told, write

__all__ = ["SPARE", "DiskFull", "told"]

TIMES = 3
"""How often the state has to fit into what is free: our copy, the engine's copy, and the one that it writes."""


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
