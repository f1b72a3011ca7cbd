"""The last published states before the one that is valid now, by generation."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from swarmctl.durable import NO_LINKS
from swarmctl.state import files, published
from swarmctl.state.checkpoint import StateUnreadable
from swarmctl.state.model import Published

KEPT = 10


@dataclass(frozen=True, slots=True)
class Backup:
    """One file."""

    generation: int
    file: Path
    written: float
    """Unix seconds: when it was published."""


def keep(folder: Path, state: Path, generation: int) -> None:
    """Keep a published state that is about to be replaced: a second name for the file, a copy where a file has but one
    name; the oldest go."""
    files.folder(folder)
    kept = folder / f"{generation:010d}.json"
    if not kept.exists():
        try:
            os.link(state, kept)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            facts = state.stat()
            files.write(kept, state.read_bytes())
            os.utime(kept, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    files.sync(folder)
    for old in list(found(folder))[KEPT:]:
        old.file.unlink(missing_ok=True)


def found(folder: Path) -> Iterator[Backup]:
    """All of them, the newest first."""
    for file in sorted(folder.glob("*.json"), reverse=True):
        if file.stem.isdecimal():
            yield Backup(int(file.stem), file, file.stat().st_mtime)


def newest(folder: Path) -> tuple[Backup, Published] | None:
    """The newest that can be read; None when there is none. Raises `StateTooNew`."""
    for backup in found(folder):
        with contextlib.suppress(StateUnreadable, FileNotFoundError):
            return backup, published.decode(backup.file.read_bytes())
    return None
