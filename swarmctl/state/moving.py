"""Moves a stack's state to another place. Where it was, a note says where it went, so that nobody begins there anew.

The note is written when the new place has everything, and the old files go after it: a crash in between leaves the old
place in force, or the new one and a note, never neither.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from swarmctl.errors import SwarmError
from swarmctl.state import backups, files, published

if TYPE_CHECKING:
    from swarmctl.state.lease import Lease
    from swarmctl.state.store import Store

NOTE = "moved.json"
_KEY_FILES = ("passphrase*", "hmac.key", "signing*")


class StateMoved(SwarmError):
    """The state is not here any more."""


def check(folder: Path) -> None:
    """Raises `StateMoved`, naming where to, for a folder that the state was moved away from."""
    try:
        to = json.loads((folder / NOTE).read_bytes())["to"]
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        to = "another place"
    raise StateMoved(f"the state was moved from {folder} to {to}", f"Write `state: {to}` into the Stack's spec.")


def move(store: Store, lease: Lease, target: Store, target_lease: Lease) -> None:
    """Move everything that `store` holds into `target`, with both leases held and nothing to recover.

    Raises `SwarmError` when there is another state in `target`, `LeaseLost`, `DiskFull`, `ReadOnly`. The leases' own
    files stay.
    """
    content = store.file.read_bytes()
    if not _free(target, content):
        raise SwarmError(
            f"there is a state of this stack in {target.folder} already",
            "Name another folder; or, if it is left over and nobody needs it, remove it.",
        )
    with files.told(target.folder):
        for pattern in _KEY_FILES:
            for key in sorted(store.keys.folder.glob(pattern)):
                files.folder(target.keys.folder)
                files.write(target.keys.folder / key.name, key.read_bytes())
        # Before the backups: with them alone it would look as if the state was lost.
        with target_lease.guard():
            files.write(target.file, content)
        for backup in backups.found(store.backups):
            files.folder(target.backups)
            copied = target.backups / backup.file.name
            files.write(copied, backup.file.read_bytes())
            os.utime(copied, (backup.written, backup.written))
        target_lease.check()
        (target.folder / NOTE).unlink(missing_ok=True)
        files.sync(target.folder)
    with files.told(store.folder), lease.guard():
        files.write(store.folder / NOTE, json.dumps({"to": url(target.folder.parent)}).encode() + b"\n")
        for folder in (store.keys.folder, store.backups):
            shutil.rmtree(folder, ignore_errors=not folder.exists())
        for file in store.folder.glob(f"{published.FILE}*"):
            file.unlink()


def require_elsewhere(store: Store, target: Store) -> None:
    """Raises `SwarmError` when both are the same place: call it before the leases are taken."""
    if os.path.realpath(store.folder) == os.path.realpath(target.folder):
        raise SwarmError(f"the state is in {target.folder} already", "Name another folder.")


def _free(target: Store, content: bytes) -> bool:
    """Whether nothing is there, or just what a move that was cut off has left."""
    if (target.folder / NOTE).exists():
        return True
    if target.file.exists():
        return target.file.read_bytes() == content
    return target.load() is None and not target.runs()


def url(folder: Path) -> str:
    """`file://` and the folder."""
    return f"file://{quote(str(folder))}"
