"""Takes over a stack's folder of the layout before: the engine's own store, with the passphrase and project beside."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from swarmctl.errors import LockHeld
from swarmctl.state import files
from swarmctl.state.keys import Keys
from swarmctl.state.model import Published
from swarmctl.state.recovery import readable, recovered

PROJECT = "swarmctl"
"""The Pulumi project that all stacks are in; the stack's name in it is the stack's identity."""
_COPY = "checkpoint.before.json"
_REST = ("state", "project", "passphrase", _COPY, "lock")
"""All that the layout before had in the folder."""


def checkpoint_file(root: Path, identity: str) -> Path:
    """Where the engine keeps its record of one stack in its state store `root`."""
    return root / ".pulumi" / "stacks" / PROJECT / f"{identity}.json"


def load(folder: Path, identity: str) -> Published | None:
    """What a folder of the layout before records, as generation 0; None when it is none. Raises `StateUnreadable`."""
    try:
        found = readable(checkpoint_file(folder / "state", identity), folder / _COPY)
    except FileNotFoundError:
        return None
    return Published(identity, 0, 0, "", recovered(found.document))


def take_keys(folder: Path, keys: Keys) -> None:
    """Keep the passphrase where the keys are now."""
    with contextlib.suppress(FileNotFoundError):
        files.create(keys.folder / "passphrase", (folder / "passphrase").read_bytes())


def clear(folder: Path) -> None:
    """Remove what was taken over."""
    for name in _REST:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def pending(folder: Path) -> bool:
    """Whether there is anything of the layout before."""
    return any((folder / name).exists() for name in _REST)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of the layout before. Raises `LockHeld` when an older swarmctl, or its engine, still works."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise LockHeld(
            f"an older version of swarmctl works on the state in {folder}", "Wait until it has ended and try again."
        ) from None
    finally:
        os.close(descriptor)
