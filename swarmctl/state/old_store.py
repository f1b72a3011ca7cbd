"""The store as it was before states were published: for callers that still work on the engine's own checkpoint."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from swarmctl.state import files, lock, safekeeping
from swarmctl.state.files import write
from swarmctl.state.migration import checkpoint_file
from swarmctl.state.recovery import adopted, put_back, readable, recovered, remove_locks, repair

Json = Any


class OldStore:
    """What works on the old layout."""

    identity: str
    folder: Path
    _descriptor = -1
    _depth = 0

    @property
    def root(self) -> Path:
        """The folder that the engine has as its state store."""
        return self.folder / "state"

    @property
    def project(self) -> Path:
        """The folder that the engine is started in."""
        return self.folder / "project"

    @property
    def checkpoint(self) -> Path:
        """The engine's record of the resources."""
        return checkpoint_file(self.root, self.identity)

    @property
    def copy(self) -> Path:
        """Our copy of the checkpoint from before the run that is going on, or that was cut off."""
        return self.folder / "checkpoint.before.json"

    @property
    def engine_locks(self) -> Path:
        """The engine's own lock files: one per run, left behind by one that was killed."""
        return self.root / ".pulumi" / "locks"

    @property
    def lock_descriptor(self) -> int:
        """The file descriptor of the lock, for the engine to inherit; -1 when the lock is not held."""
        return self._descriptor

    def read(self) -> dict[str, Json] | None:
        """The checkpoint as the next run will have it, None before the first. Raises `StateUnreadable`.

        What a run that was killed had begun to create is in it, and a broken one is passed over, see `recovery`.
        """
        try:
            return recovered(readable(self.checkpoint, self.copy).document)
        except FileNotFoundError:
            return None

    def damage(self) -> str:
        """Why the checkpoint can't be read, so that the one before it is read in its place; empty when all is well.

        Raises `StateUnreadable` when no copy can be read either.
        """
        try:
            return readable(self.checkpoint, self.copy).damage
        except FileNotFoundError:
            return ""

    def repair(self) -> list[str]:
        """Make the store fit for a run of the engine, with the lock held. Returns what to tell the user.

        Raises `StateUnreadable`, `DiskFull`.
        """
        with safekeeping.told(self.folder):
            return repair(self.checkpoint, self.copy, self.engine_locks)

    @contextlib.contextmanager
    def safe(self) -> Iterator[None]:
        """For the block, in which the engine works, keep a copy of the state that it can't spoil; and afterwards, if it
        is needed. Raises `DiskFull` before the block when it does not fit."""
        safekeeping.keep(self.checkpoint, self.copy)
        try:
            yield
        finally:
            safekeeping.release(self.checkpoint, self.copy)

    def remove_engine_locks(self) -> None:
        """Remove what an engine that has ended left of its own locks; call it with the lock held."""
        remove_locks(self.engine_locks)

    def put_back(self, before: Mapping[str, Json], wanted: Collection[str], unsettled: Collection[str]) -> None:
        """Record as applied what was applied `before`, see `recovery.put_back`; call it with the lock held."""
        document = self.read()
        if document is not None:
            changed = put_back(document, before, wanted, unsettled)
            if changed is not document:
                write(self.checkpoint, json.dumps(changed).encode())

    def adopt(self, resources: Sequence[Mapping[str, Json]]) -> None:
        """Record what may exist although its creation failed, see `recovery.adopted`; call it with the lock held."""
        document = self.read()
        if document is not None:
            write(self.checkpoint, json.dumps(adopted(document, resources)).encode())

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the stack's lock; within one `Store` it may be taken again. Raises `LockHeld`."""
        if self._depth == 0:
            files.make(self.folder)
            with safekeeping.told(self.folder):
                self._descriptor = lock.acquire(self.folder)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                # Not unlocked but closed: an engine that has inherited it holds it on.
                os.close(self._descriptor)
                self._descriptor = -1
