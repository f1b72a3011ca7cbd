"""Whose key a keyring file holds: fingerprints of OpenPGP keys, worked out here. Pure.

A repository is trusted by the fingerprint of its key, so the file is judged before a machine uses it. Only what vendors
hand out is read: public keys of version 4 (RFC 9580, 5.5.4.2), armored or not.
"""

from __future__ import annotations

import base64
import binascii
import re
import textwrap
from collections.abc import Iterator
from hashlib import sha1

MOST = 1 << 20
"""Bytes of a keyring; vendors' have some thousands."""
PUBLIC_KEY = 6
_ARMOR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]+\r?\n)*\r?\n(.*?)\r?\n?(?:=[A-Za-z0-9+/]{4}\r?\n)?-----END",
    re.DOTALL,
)


def binary(keyring: bytes) -> bytes:
    """The keyring without its armor. Raises ValueError when it is none."""
    if len(keyring) > MOST:
        raise ValueError("it is too large for a keyring")
    if not keyring.lstrip().startswith(b"-----BEGIN"):
        return keyring
    blocks = [match[1] for match in _ARMOR.finditer(keyring)]
    if not blocks:
        raise ValueError("it holds no public key")
    try:
        return b"".join(base64.b64decode(b"".join(block.split()), validate=True) for block in blocks)
    except binascii.Error:
        raise ValueError("its armor is damaged") from None


def armored(keyring: bytes) -> bytes:
    """The keyring as text, with the checksum that rpm asks for (RFC 4880, 6.1). Raises ValueError when it is none."""
    data = binary(keyring)
    lines = textwrap.wrap(base64.b64encode(data).decode(), 64)
    check = base64.b64encode(_crc24(data).to_bytes(3, "big")).decode()
    begin, end = (f"-----{word} PGP PUBLIC KEY BLOCK-----" for word in ("BEGIN", "END"))
    return "\n".join((begin, "", *lines, f"={check}", end, "")).encode()


def _crc24(data: bytes) -> int:
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc = (crc << 1) ^ (0x1864CFB if crc & 0x800000 else 0)
    return crc & 0xFFFFFF


def fingerprints(keyring: bytes) -> list[str]:
    """Fingerprints of all primary keys, 40 hex digits in capitals. Raises ValueError when it is no keyring."""
    found = []
    for tag, body in _packets(binary(keyring)):
        if tag == PUBLIC_KEY:
            if body[:1] != b"\x04":
                raise ValueError("it holds a key of another version than 4")
            prefix = b"\x99" + len(body).to_bytes(2, "big")
            found.append(sha1(prefix + body, usedforsecurity=False).hexdigest().upper())
    if not found:
        raise ValueError("it holds no public key")
    return found


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        head = data[at]
        at += 1
        if not head & 0x80:
            raise ValueError("it is no OpenPGP data")
        if head & 0x40:
            tag, (length, at) = head & 0x3F, _length(data, at)
        else:
            size = (1, 2, 4, 0)[head & 3]
            if not size:
                raise ValueError("it has a packet of unknown length")
            tag, length, at = (head >> 2) & 0xF, int.from_bytes(data[at : at + size], "big"), at + size
        if at + length > len(data):
            raise ValueError("it ends in the middle")
        yield tag, data[at : at + length]
        at += length


def _length(data: bytes, at: int) -> tuple[int, int]:
    first = data[at] if at < len(data) else 255
    if first < 192:
        return first, at + 1
    if first < 224 and at + 1 < len(data):
        return ((first - 192) << 8) + data[at + 1] + 192, at + 2
    if first == 255 and at + 5 <= len(data):
        return int.from_bytes(data[at + 1 : at + 5], "big"), at + 5
    raise ValueError("it has a packet of unknown length")
