"""Signatures in OpenSSH's own format, with Ed25519 keys only: `ssh-keygen -Y sign` makes them, `-Y verify` takes them.

The format is that of PROTOCOL.sshsig and, for keys on hardware, PROTOCOL.u2f, both part of OpenSSH.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

NAMESPACE = "swarmctl-plan"
"""Ties a signature to its purpose: one made for a Git commit or a login is none for a plan."""
PLAIN = "ssh-ed25519"
HARDWARE = "sk-ssh-ed25519@openssh.com"
_MAGIC = b"SSHSIG"
_VERSION = (1).to_bytes(4, "big")
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_LINE = 70
_HASHES = {b"sha512": hashlib.sha512, b"sha256": hashlib.sha256}
_TOUCHED = 1
"""Flag of a hardware key: somebody touched it."""


class Unusable(ValueError):
    """A key or a signature that can't be read, or doesn't fit; the text says why, as a clause."""


@dataclass(frozen=True, slots=True)
class _Parts:
    key: bytes
    namespace: bytes
    reserved: bytes
    hash: bytes
    signature: bytes


def public_blob(line: str) -> bytes:
    """The key in `ssh-ed25519 AAAA… comment`, as the file format of OpenSSH has it. Raises Unusable."""
    words = line.split()
    if len(words) < 2 or words[0] not in (PLAIN, HARDWARE):
        raise Unusable(f"not an Ed25519 public key of OpenSSH, `{PLAIN} AAAA…`")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except binascii.Error as error:
        raise Unusable("its second word is not Base64") from error
    if _key_type(blob) != words[0]:
        raise Unusable(f"it says {words[0]} and holds another sort of key")
    _raw_key(blob)
    return blob


def public_line(raw: bytes) -> str:
    """The line of a public key, given its 32 bytes."""
    return f"{PLAIN} {base64.b64encode(_packed(PLAIN.encode(), raw)).decode()}"


def fingerprint(blob: bytes) -> str:
    """`SHA256:…`, as `ssh-keygen -l` writes it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def seal(message: bytes, raw_public: bytes, sign: Callable[[bytes], bytes]) -> str:
    """A signature over `message`; `sign` makes the 64 bytes of Ed25519."""
    key = _packed(PLAIN.encode(), raw_public)
    signature = _packed(PLAIN.encode(), sign(_signed(message, b"sha512")))
    return _armored(_MAGIC + _VERSION + _packed(key, NAMESPACE.encode(), b"", b"sha512", signature))


def signing_key(text: str) -> bytes:
    """The public key that a signature says it was made with; nothing is verified. Raises Unusable."""
    key = _parts(text).key
    if _key_type(key) not in (PLAIN, HARDWARE):
        raise Unusable(f"it was made with a key of the sort {_key_type(key)!r}; plans are signed with Ed25519 keys")
    _raw_key(key)
    return key


def verify(text: str, message: bytes) -> bytes:
    """The public key that `message` was signed with. Raises Unusable when it was not, or not as a plan."""
    key, parts = signing_key(text), _parts(text)
    if parts.namespace != NAMESPACE.encode():
        raise Unusable(f"it was made for {parts.namespace.decode(errors='replace')!r}, not for {NAMESPACE!r}")
    if parts.reserved or parts.hash not in _HASHES:
        raise Unusable("it is of a form that is not known here")
    _check(key, parts.signature, _signed(message, parts.hash))
    return key


def _check(key: bytes, signature: bytes, signed: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    sort, rest = _string(signature)
    raw, rest = _string(rest)
    if sort.decode(errors="replace") != _key_type(key):
        raise Unusable("it is of another sort than its key")
    if _key_type(key) == HARDWARE:
        if len(rest) != 5 or not rest[0] & _TOUCHED:
            raise Unusable("nobody touched the key that made it")
        application = _string(_string(_string(key)[1])[1])[0]
        signed = hashlib.sha256(application).digest() + rest + hashlib.sha256(signed).digest()
    elif rest:
        raise Unusable("there is more in it than a signature")
    try:
        Ed25519PublicKey.from_public_bytes(_raw_key(key)).verify(raw, signed)
    except (InvalidSignature, ValueError) as error:
        raise Unusable("it does not fit what it should have signed") from error


def _signed(message: bytes, algorithm: bytes) -> bytes:
    return _MAGIC + _packed(NAMESPACE.encode(), b"", algorithm, _HASHES[algorithm](message).digest())


def _parts(text: str) -> _Parts:
    blob = _unarmored(text)
    head = _MAGIC + _VERSION
    if not blob.startswith(head):
        raise Unusable("it is no signature of OpenSSH, version 1")
    rest = blob[len(head) :]
    fields = []
    for _ in range(5):
        field, rest = _string(rest)
        fields.append(field)
    if rest:
        raise Unusable("there is more in it than a signature")
    return _Parts(*fields)


def _unarmored(text: str) -> bytes:
    lines = text.split("\n")
    if lines[0] != _BEGIN or lines[-2:] != [_END, ""]:
        raise Unusable(f"it does not stand between {_BEGIN!r} and {_END!r}")
    try:
        blob = base64.b64decode("".join(lines[1:-2]), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unusable("it is not Base64") from error
    if _armored(blob) != text:
        raise Unusable("it is not written as OpenSSH writes it")
    return blob


def _armored(blob: bytes) -> str:
    encoded = base64.b64encode(blob).decode()
    lines = [encoded[start : start + _LINE] for start in range(0, len(encoded), _LINE)]
    return "\n".join([_BEGIN, *lines, _END, ""])


def _packed(*fields: bytes) -> bytes:
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)


def _string(data: bytes) -> tuple[bytes, bytes]:
    """The first field, and what comes after it."""
    end = 4 + int.from_bytes(data[:4], "big")
    if len(data) < 4 or len(data) < end:
        raise Unusable("it breaks off")
    return data[4:end], data[end:]


def _key_type(blob: bytes) -> str:
    return _string(blob)[0].decode(errors="replace")


def _raw_key(blob: bytes) -> bytes:
    raw = _string(_string(blob)[1])[0]
    if len(raw) != 32:
        raise Unusable("its key is not one of Ed25519")
    return raw
