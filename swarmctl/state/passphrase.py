"""Encrypts and decrypts secrets in a checkpoint as the engine does with a passphrase.

AES-256-GCM under a key by PBKDF2-SHA256 with 1,000,000 rounds (pkg/secrets/passphrase/manager.go and
sdk/go/common/resource/config/crypt.go of Pulumi 3.259). A ciphertext is `v1:NONCE:CIPHERTEXT` in base64; a salt is
`v1:SALT:` and the ciphertext of a known word, by which a wrong passphrase is told.
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from swarmctl.errors import SwarmError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ROUNDS = 1_000_000
_WORD = "pulumi"
_SALT, _NONCE, _KEY = 8, 12, 32
"""Lengths in bytes."""


class WrongPassphrase(SwarmError):
    """A secret was encrypted with another passphrase, or is damaged."""


@dataclass(frozen=True, slots=True)
class Crypter:
    """A passphrase with a salt."""

    salt: str
    """As it stands in the checkpoint and in the engine's settings."""
    _cipher: AESGCM = field(repr=False)

    @classmethod
    def new(cls, passphrase: str) -> Crypter:
        """With a new random salt; takes a third of a second."""
        salt = os.urandom(_SALT)
        cipher = _cipher(passphrase, salt)
        crypter = cls("", cipher)
        return cls(f"v1:{base64.b64encode(salt).decode()}:{crypter.encrypt(_WORD)}", cipher)

    @classmethod
    def of(cls, passphrase: str, salt: str) -> Crypter:
        """With the salt of a checkpoint. Raises `WrongPassphrase` when the two don't belong together."""
        version, _, rest = salt.partition(":")
        encoded, _, proof = rest.partition(":")
        if version != "v1":
            raise WrongPassphrase(f"secrets in the state are encrypted in a way that is not known: {version[:20]!r}")
        crypter = cls(salt, _cipher(passphrase, _bytes(encoded)))
        if crypter.decrypt(proof) != _WORD:
            raise WrongPassphrase(_WRONG)
        return crypter

    def encrypt(self, text: str) -> str:
        """`v1:NONCE:CIPHERTEXT`."""
        nonce = os.urandom(_NONCE)
        sealed = self._cipher.encrypt(nonce, text.encode(), None)
        return f"v1:{base64.b64encode(nonce).decode()}:{base64.b64encode(sealed).decode()}"

    def decrypt(self, ciphertext: str) -> str:
        """The text. Raises `WrongPassphrase`."""
        from cryptography.exceptions import InvalidTag

        version, _, rest = ciphertext.partition(":")
        nonce, _, sealed = rest.partition(":")
        try:
            if version != "v1":
                raise ValueError("unknown version")
            return self._cipher.decrypt(_bytes(nonce), _bytes(sealed), None).decode()
        except (InvalidTag, ValueError):
            # What it says might hold the secret.
            raise WrongPassphrase(_WRONG) from None


_WRONG = "the passphrase kept with the state does not fit what is encrypted in it"


def _cipher(passphrase: str, salt: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

    # The engine, too, leaves out white space around it.
    return AESGCM(PBKDF2HMAC(SHA256(), _KEY, salt, ROUNDS).derive(passphrase.strip().encode()))


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise WrongPassphrase(_WRONG) from None
