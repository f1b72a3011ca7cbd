"""Changes the passphrase of a stack: every secret in the state and its backups is encrypted anew.

A crash at any moment leaves a state whose passphrase is there: the new passphrase's file, which is named after the new
salt, is on the disk before anything is encrypted with it, and the old one goes when nothing needs it any more (see
`state.keys`). What a crash has left to do is done by `settle` before the next run.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarmctl.errors import SwarmError
from swarmctl.state import backups, files, published
from swarmctl.state.checkpoint import SECRET, SIGNATURE, StateUnreadable, latest, salt
from swarmctl.state.passphrase import Crypter, WrongPassphrase

if TYPE_CHECKING:
    from swarmctl.state.keys import Keys
    from swarmctl.state.lease import Lease
    from swarmctl.state.store import Store

Json = Any


@dataclass(frozen=True, slots=True)
class Rotated:
    """What was done."""

    secrets: int
    """How many secrets of the state were encrypted anew."""
    backups: int
    """How many backups were."""
    left: tuple[Path, ...] = ()
    """Files that can't be read, or not decrypted, and may hold secrets under the old passphrase."""


def rotate(store: Store, lease: Lease, passphrase: str | None = None) -> Rotated:
    """Encrypt everything with `passphrase`, by default a new random one; call it after `Store.recover`.

    Raises `WrongPassphrase` when the old one does not fit; nothing has changed then. `LeaseLost`, `DiskFull`.
    """
    base = store.load()
    if base is None:
        raise SwarmError("nothing is recorded, so there is nothing to encrypt", "run `swarmctl apply` first")
    before = salt(base.checkpoint)
    new = passphrase or secrets.token_urlsafe(32)
    with files.told(store.folder):
        if not before:
            # Nothing was ever encrypted with the old one.
            files.folder(store.keys.folder)
            files.write(store.keys.folder / "passphrase", new.encode() + b"\n")
            return Rotated(0, 0)
        old = Crypter.of(_read(store.keys.passphrase(before)), before)
        crypter = Crypter.new(new)
        checkpoint, count = encrypted(base.checkpoint, old, crypter)
        files.write(store.keys.of(crypter.salt), new.encode() + b"\n")
        store.publish(lease, base.generation, checkpoint, applied=base.applied, plans=base.plans)
        lease.check()
        return replace(_settle(store, crypter, {before: old}), secrets=count)


def settle(store: Store) -> None:
    """End what a rotation that was cut off had begun: bring the backups to the passphrase of the state, and remove
    every other one. Call it with the lease held."""
    base = store.load()
    now = salt(base.checkpoint) if base else ""
    if len(store.keys.passphrases()) > 1 and now:
        # Without the fitting one nothing is removed: the engine will say what is wrong, if it needs it at all.
        with contextlib.suppress(WrongPassphrase):
            _settle(store, Crypter.of(_read(store.keys.passphrase(now)), now), {})


def _settle(store: Store, crypter: Crypter, known: Mapping[str, Crypter]) -> Rotated:
    crypters = dict(known)
    done = 0
    left: list[Path] = sorted(store.folder.glob(f"{published.FILE}.broken-*"))
    for backup in backups.found(store.backups):
        try:
            found = published.decode(backup.file.read_bytes())
        except StateUnreadable:
            left.append(backup.file)
            continue
        its = salt(found.checkpoint)
        if its not in ("", crypter.salt):
            try:
                if its not in crypters:
                    crypters[its] = Crypter.of(_read(store.keys.passphrase(its)), its)
            except WrongPassphrase:
                left.append(backup.file)
                continue
            checkpoint, _ = encrypted(found.checkpoint, crypters[its], crypter)
            files.write(backup.file, published.encode(replace(found, checkpoint=checkpoint)))
            os.utime(backup.file, (backup.written, backup.written))
            done += 1
    _remove_others(store.keys, store.keys.passphrase(crypter.salt))
    return Rotated(0, done, tuple(left))


def _remove_others(keys: Keys, kept: Path) -> None:
    for file in keys.passphrases():
        if file != kept:
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
    files.sync(keys.folder)


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        raise WrongPassphrase(
            f"the passphrase of the state is not in {file}", "put it back there, as the only line of the file"
        ) from None


def encrypted(checkpoint: Mapping[str, Json], old: Crypter, new: Crypter) -> tuple[dict[str, Json], int]:
    """The checkpoint with every secret under the new passphrase, and how many there are. Raises `WrongPassphrase`."""
    count = 0

    def anew(value: Json) -> Json:
        nonlocal count
        if isinstance(value, Mapping):
            if value.get(SIGNATURE) == SECRET and isinstance(value.get("ciphertext"), str):
                count += 1
                return {**value, "ciphertext": new.encrypt(old.decrypt(value["ciphertext"]))}
            return {key: anew(item) for key, item in value.items()}
        return [anew(item) for item in value] if isinstance(value, list) else value

    changed = anew(checkpoint)
    provider = latest(changed)["secrets_providers"]
    provider["state"] = {**provider["state"], "salt": new.salt}
    return changed, count
