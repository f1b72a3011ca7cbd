"""The keys of one stack, kept with its state: the engine's passphrase, the key of digests of secrets, the signing key.

A passphrase belongs to a salt, which stands in the checkpoint that is encrypted with both. So its file is named after
that salt once it was changed (`passphrase-<digest of the salt>`): whichever checkpoint is read, before a change or
after it, its passphrase is found, also when a crash came in between.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path

from swarmctl.state import files


@dataclass(frozen=True, slots=True)
class Keys:
    """The folder with the keys; each is made when it is asked for and missing."""

    folder: Path
    before: Path | None = None
    """The passphrase's file in the layout before this one."""

    @property
    def signing(self) -> Path:
        """The Ed25519 key that plans are signed with; whoever signs makes it."""
        return self.folder / "signing"

    @property
    def digests(self) -> Path:
        """The key of digests of secrets."""
        return self.folder / "hmac.key"

    def passphrase(self, salt: str) -> Path:
        """The file with the passphrase of a checkpoint with this salt, empty for one without; may be missing."""
        own = self.of(salt)
        if salt and own.exists():
            return own
        first = self.folder / "passphrase"
        if not first.exists() and self.before is not None and self.before.exists():
            return self.before
        return first

    def of(self, salt: str) -> Path:
        """The file with a passphrase that was made together with this salt."""
        return self.folder / f"passphrase-{hashlib.sha256(salt.encode()).hexdigest()[:16]}"

    def make_passphrase(self, salt: str) -> Path:
        """The same file as `passphrase`; with a new random one in it when it is missing."""
        file = self.passphrase(salt)
        if not file.exists():
            files.create(file, secrets.token_urlsafe(32).encode() + b"\n")
        return file

    def hmac(self, value: bytes) -> str:
        """`hmac-sha256:` and the hex digest of a value under the stack's key: tells values apart, and not what they
        are to who has not the key."""
        key = files.create(self.digests, secrets.token_bytes(32))
        return "hmac-sha256:" + hmac.new(key, value, hashlib.sha256).hexdigest()

    def passphrases(self) -> list[Path]:
        """All files with passphrases."""
        return sorted(self.folder.glob("passphrase*"))
