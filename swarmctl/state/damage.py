"""A published state that can't be read: what is told of it, and where it is kept."""

from __future__ import annotations

import os
import time
from pathlib import Path

from swarmctl.state import backups, files
from swarmctl.state.checkpoint import StateUnreadable
from swarmctl.state.model import Published


def unreadable(why: str, file: Path, kept: Path) -> StateUnreadable:
    """The error for the state in `file`, with the last good one in the folder `kept` and how to go on with it."""
    good = backups.newest(kept)
    if good is None:
        return StateUnreadable(
            f"{why} ({file}), and there is no earlier one",
            "put it back from a backup with `swarmctl state restore FILE`; or move it away, then `swarmctl apply` "
            "finds what is there and takes it over",
        )
    backup, _ = good
    return StateUnreadable(
        f"{why} ({file})",
        f"`swarmctl apply` keeps it aside and goes on from the last good one, generation {backup.generation} of "
        f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(backup.written))}; `swarmctl state restore "
        f"{backup.generation}` does only that",
    )


def following(copy: Published, kept: Path) -> int:
    """The generation that a copy of the state becomes in the place of a damaged one, whose backups are in `kept`."""
    newest = next((backup.generation for backup in backups.found(kept)), 0)
    # A damaged one was the generation after its backup.
    return max(newest + 1, copy.generation) + 1


def keep_aside(file: Path) -> Path | None:
    """Copy a state that can't be read, or move it where it is a folder; None when there is none."""
    if not file.exists():
        return None
    aside = file.with_name(f"{file.name}.broken-{time.strftime('%Y%m%dT%H%M%S')}")
    if file.is_dir():
        os.rename(file, aside)
    else:
        files.write(aside, file.read_bytes())
    return aside
