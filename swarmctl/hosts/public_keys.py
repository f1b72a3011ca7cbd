"""Public SSH keys as text: whether one is well-formed, and its fingerprint. Pure, and without an SSH library."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct

KINDS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)
"""Kinds of host keys that OpenSSH makes by itself (ssh-keygen(1), -A)."""


def problem(text: str) -> str:
    """Why the text is no public key of the form `KIND BASE64`, as a clause; empty when it is one."""
    words = text.split()
    if text.strip() != text or "\n" in text:
        return "it begins or ends with blanks, or has several lines"
    if "PRIVATE KEY" in text:
        return "it is a private key, which must never stand in a file like this"
    if words and words[0].startswith("SHA256:"):
        return "it is a fingerprint, and the key itself is needed"
    if len(words) >= 3 and words[1] in KINDS:
        return f"it begins with the name of a host; leave `{words[0]}` out"
    if len(words) < 2 or words[0] not in KINDS:
        return f"it does not begin with one of {', '.join(KINDS)}"
    blob = _blob(words[1])
    if blob is None:
        return "what follows the kind is no base64"
    if len(words) > 2:
        return "there is something behind the key"
    size = struct.unpack(">I", blob[:4])[0] if len(blob) >= 4 else 0
    if blob[4 : 4 + size] != words[0].encode():
        return f"what follows is no key of the kind {words[0]}"
    if len(blob) < _least(words[0]):
        return "it was cut off"
    return ""


def may_be_private(content: bytes) -> bool:
    """Whether a file that begins so may be a private key: PEM (RFC 7468) and OpenSSH's say so, DER is a sequence."""
    return b"PRIVATE KEY" in content or content[:1] == b"\x30"


def fingerprint(text: str) -> str:
    """`SHA256:…` as `ssh-keygen -l` shows it, of a key that `problem` has nothing against."""
    digest = hashlib.sha256(_blob(text.split()[1]) or b"").digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _least(kind: str) -> int:
    """Bytes of the shortest key of a kind (RFC 8709, 5656, 4253); RSA from 1024 bits on."""
    return {"ssh-ed25519": 51, "ssh-rsa": 145}.get(kind, 104)


def _blob(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
