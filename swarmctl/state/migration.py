"""Takes over a stack's folder of the layout before: the engine's own store, with the passphrase and project beside.

There the engine wrote down what it began before it began it ("pending operations") and took the note away when it had
recorded the result. A note that is still there is from a run that was killed in between: what was being created may
exist and nobody knows it, so it is put among the resources as one whose creation failed, and the next refresh reads
the truth. What was being updated or deleted is recorded anyway.
"""

from __future__ import annotations

import contextlib
import copy as copying
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swarmctl.errors import LockHeld
from swarmctl.state import files
from swarmctl.state.checkpoint import PREFIX, StateUnreadable, address_of, decode, latest
from swarmctl.state.keys import Keys
from swarmctl.state.model import Published

Json = Any
PROJECT = "swarmctl"
"""The Pulumi project that all stacks are in; the stack's name in it is the stack's identity."""
_COPY = "checkpoint.before.json"
"""Our copy of the checkpoint from before the last run that was cut off."""
_REST = ("state", "project", "passphrase", _COPY, "lock")
"""All that the layout before had in the folder."""
_BEGUN = {"initErrors": ["a run that was cut off had begun to create it"]}
"""As the engine marks what failed while it was created; the next refresh takes the mark away."""


def checkpoint_file(root: Path, identity: str) -> Path:
    """Where the engine keeps its record of one stack in its state store `root`."""
    return root / ".pulumi" / "stacks" / PROJECT / f"{identity}.json"


def load(folder: Path, identity: str) -> Published | None:
    """What a folder of the layout before records, as generation 0; None when it is none.

    A checkpoint that a full disk has cut off is passed over for one of the two copies of the one before it. Raises
    `StateUnreadable` when none of them can be read.
    """
    file = checkpoint_file(folder / "state", identity)
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    try:
        document = decode(content)
    except StateUnreadable as error:
        document = _copy_of(file, folder / _COPY, error)
    return Published(identity, 0, 0, "", _recovered(document))


def _copy_of(file: Path, ours: Path, error: StateUnreadable) -> dict[str, Json]:
    for other in (file.with_name(f"{file.name}.bak"), ours):
        with contextlib.suppress(OSError, StateUnreadable):
            return decode(other.read_bytes())
    raise StateUnreadable(
        f"{error.message} ({file}); nor is there a readable copy of the one before it",
        "put it back from a backup; or move it away, then `swarmctl apply` finds what is there and takes it over; or "
        "`swarmctl destroy`, which removes everything that carries the stack's mark",
    ) from None


def _recovered(document: dict[str, Json]) -> dict[str, Json]:
    """The checkpoint without pending operations."""
    if not latest(document).get("pending_operations"):
        return document
    document = copying.deepcopy(document)
    deployment = latest(document)
    resources: list[dict[str, Json]] = deployment.setdefault("resources", [])
    for operation in deployment.pop("pending_operations"):
        resource = operation["resource"]
        if operation["type"] == "creating" and resource["type"].startswith(PREFIX):
            _insert(resources, resource | {"id": address_of(resource["urn"]), **_BEGUN})
    return document


def _insert(resources: list[dict[str, Json]], resource: dict[str, Json]) -> None:
    """Add what was being created; its dependencies were recorded before it was begun, so the end is the right place."""
    same = [known for known in resources if known["urn"] == resource["urn"]]
    if any(not known.get("pendingReplacement") and not known.get("delete") for known in same):
        return  # the creation was recorded and only the note is left
    for known in same:
        # The predecessor of a replacement: it was removed before its successor was begun.
        resources.remove(known)
    resources.append(resource)


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
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockHeld(
                f"an older version of swarmctl works on the state in {folder}", "Wait until it has ended and try again."
            ) from None
        yield
    finally:
        os.close(descriptor)
