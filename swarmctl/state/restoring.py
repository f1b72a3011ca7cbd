"""Puts a copy of the state back: from a file, or from the store's own backups."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from swarmctl.errors import UsageError
from swarmctl.state import backups, files, published
from swarmctl.state.checkpoint import StateUnreadable, salt
from swarmctl.state.model import Published
from swarmctl.state.passphrase import Crypter, WrongPassphrase

if TYPE_CHECKING:
    from swarmctl.state.lease import Lease
    from swarmctl.state.store import Store


def source_of(store: Store, name: str) -> tuple[Path, Published]:
    """The copy that a user means: a file, or the generation of a backup.

    Raises UsageError when there is none, or it is none of this stack; `StateTooNew`.
    """
    file = Path(name)
    if name.isdecimal() and not file.exists():
        own = {backup.generation: backup.file for backup in backups.found(store.backups)}
        if int(name) not in own:
            known = ", ".join(map(str, own)) or "none"
            raise UsageError(f"there is no backup of generation {name}", f"there are: {known}; or name a file")
        file = own[int(name)]
    try:
        copy = published.decode(file.read_bytes())
    except OSError as error:
        raise UsageError(f"{name} can't be read: {error.strerror}") from None
    except StateUnreadable as error:
        raise UsageError(f"{file} is no copy of a state", error.message) from None
    if copy.stack != store.identity:
        raise UsageError(f"{file} is the state of another stack, {copy.stack[:80]}", f"this stack is {store.identity}")
    return file, copy


def put_back(store: Store, lease: Lease, copy: Published, passphrase: str | None) -> Published:
    """Publish a copy as a new generation. `passphrase` is the copy's own where the store has another.

    Raises `WrongPassphrase` when its secrets can't be decrypted; nothing has changed then.
    """
    its = salt(copy.checkpoint)
    with files.told(store.folder):
        if its:
            _fit(store, its, passphrase)
        return store.replace(lease, copy)


def _fit(store: Store, its: str, passphrase: str | None) -> None:
    if passphrase is not None:
        Crypter.of(passphrase, its)
        files.folder(store.keys.folder)
        files.write(store.keys.of(its), passphrase.encode() + b"\n")
        return
    kept = store.keys.passphrase(its)
    try:
        Crypter.of(kept.read_text() if kept.exists() else "", its)
    except WrongPassphrase:
        raise WrongPassphrase(
            "the secrets in the copy are encrypted with another passphrase than the one kept with the state",
            "give that passphrase with --passphrase-file FILE",
        ) from None
