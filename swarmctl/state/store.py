"""The state store of one stack: a folder with the engine's state, its passphrase and the lock."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from swarmctl import paths
from swarmctl.errors import SwarmError
from swarmctl.state import lock, safekeeping
from swarmctl.state.checkpoint import EMPTY, Recorded, Snapshot, latest, snapshot
from swarmctl.state.files import write
from swarmctl.state.recovery import adopted, put_back, readable, recovered, remove_locks, repair

__all__ = ["PROJECT", "Recorded", "Snapshot", "Store", "checkpoint_file"]

Json = Any
PROJECT = "swarmctl"
"""The Pulumi project that all stacks are in; the stack's name in it is the stack's identity."""


class Store:
    """Where the state of one stack is kept.

    Everything is below `folder`: `state/` is what the engine reads and writes, `project/` what it is started in.
    """

    def __init__(self, identity: str, url: str | None = None) -> None:
        """`url` is None for the user's data directory, or `file:///folder`, in which the stack gets a folder.

        Raises `SwarmError` for any other URL.
        """
        self.identity = identity
        self.folder = paths.stack_dir(identity) if url is None else _folder(url) / identity
        self._descriptor = -1
        self._depth = 0

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

    def exists(self) -> bool:
        """Whether anything is recorded: the stack was applied, at least in part, and not destroyed since."""
        document = self.read()
        return document is not None and bool(latest(document).get("resources"))

    def snapshot(self) -> Snapshot:
        """What is recorded. Raises `StateUnreadable`."""
        document = self.read()
        return Snapshot(digest=EMPTY) if document is None else snapshot(document)

    def repair(self) -> list[str]:
        """Make the store fit for a run of the engine, with the lock held. Returns what to tell the user.

        Raises `StateUnreadable`, `DiskFull`.
        """
        with safekeeping.told(self.folder):
            return repair(self.checkpoint, self.copy, self.engine_locks)

    def require_room(self, spare: int = safekeeping.SPARE) -> None:
        """Raise `DiskFull` when a run that changes things could not save them, with `spare` bytes left over."""
        safekeeping.require_room(self.folder, self.checkpoint, spare)

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
            _make(self.folder)
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

    def passphrase_file(self) -> Path:
        """The file with the random passphrase that the engine encrypts secrets with; made when it is missing."""
        file = self.folder / "passphrase"
        if not file.exists():
            write(file, secrets.token_urlsafe(32).encode() + b"\n")
        return file


def checkpoint_file(root: Path, identity: str) -> Path:
    """Where the engine keeps its record of one stack in the state store `root`."""
    return root / ".pulumi" / "stacks" / PROJECT / f"{identity}.json"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SwarmError(f"the state store cannot be made in {folder}: {error.strerror}") from None


def _folder(url: str) -> Path:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not path.startswith("/"):
        raise SwarmError(f"{url} is no state store", "Write file:// and an absolute path, such as file:///srv/state.")
    return Path(path)
