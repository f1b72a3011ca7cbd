"""The frames of HTTP/2 (RFC 9113): their numbers, what one must look like, and headers as they are sent."""

from __future__ import annotations

import struct

DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 4, 5
"""Settings."""
PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR, COMPRESSION_ERROR = 1, 3, 5, 6, 9
ENHANCE_YOUR_CALM = 11
"""Why a connection is given up (7)."""
LARGEST_WINDOW = 2**31 - 1
LEAST_FRAME, LARGEST_FRAME = 2**14, 2**24 - 1
_SIZES = {RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
_OF_A_STREAM = frozenset({DATA, HEADERS, RST_STREAM, CONTINUATION})
_OF_NONE = frozenset({SETTINGS, PING, GOAWAY})


class Broken(Exception):
    """What the other side sends is not HTTP/2: nothing after it can be understood."""

    def __init__(self, code: int, message: str) -> None:
        """`code` is one of those above, such as `PROTOCOL_ERROR`."""
        super().__init__(message)
        self.code = code
        self.message = message


def check(kind: int, flags: int, number: int, payload: bytes) -> None:
    """Raise `Broken` for a frame that can't be one from a client, whatever came before it. Kinds that are not known
    are passed over (4.1)."""
    if kind == PUSH_PROMISE:
        raise Broken(PROTOCOL_ERROR, "a client promises nothing")
    if (kind in _OF_A_STREAM and number % 2 == 0) or (kind in _OF_NONE and number):
        raise Broken(PROTOCOL_ERROR, f"a frame of kind {kind} on stream {number}")
    if len(payload) != _SIZES.get(kind, len(payload)):
        raise Broken(FRAME_SIZE_ERROR, f"a frame of kind {kind} with {len(payload)} bytes")
    if kind == SETTINGS and (len(payload) % 6 or (flags & ACK and payload)):
        raise Broken(FRAME_SIZE_ERROR, f"settings of {len(payload)} bytes")


def unpadded(kind: int, flags: int, payload: bytes) -> bytes:
    """What a frame of data or headers carries. Raises `Broken`."""
    start = 1 if flags & PADDED else 0
    end = len(payload) - (payload[0] if start and payload else 0)
    if kind == HEADERS and flags & PRIORITY:
        start += 5
    if len(payload) < start:
        raise Broken(FRAME_SIZE_ERROR, f"a frame of kind {kind} with {len(payload)} bytes")
    if end < start:
        raise Broken(PROTOCOL_ERROR, "more padding than frame")
    return payload[start:end]


def settings(payload: bytes) -> list[tuple[int, int]]:
    """Name and value of each setting. Raises `Broken` for a value that there can't be (6.5.2)."""
    found = list(struct.iter_unpack(">HI", payload))
    for name, value in found:
        if name == INITIAL_WINDOW_SIZE and value > LARGEST_WINDOW:
            raise Broken(FLOW_CONTROL_ERROR, f"a window of {value} bytes")
        if name == MAX_FRAME_SIZE and not LEAST_FRAME <= value <= LARGEST_FRAME:
            raise Broken(PROTOCOL_ERROR, f"frames of {value} bytes")
    return found


def opened(payload: bytes, window: int) -> int:
    """A window after it was opened by a WINDOW_UPDATE. Raises `Broken` (6.9)."""
    more = int.from_bytes(payload, "big") & LARGEST_WINDOW
    if more == 0:
        raise Broken(PROTOCOL_ERROR, "a window is opened by nothing")
    if window + more > LARGEST_WINDOW:
        raise Broken(FLOW_CONTROL_ERROR, "a window is opened too far")
    return window + more


def literal(name: str, value: str) -> bytes:
    """A header that is in no table (RFC 7541, 6.2.2)."""
    return b"\0" + _string(name) + _string(value)


def _string(text: str) -> bytes:
    content = text.encode("ascii")
    if len(content) < 0x7F:
        return bytes((len(content),)) + content
    length, rest = bytearray((0x7F,)), len(content) - 0x7F
    while rest >= 0x80:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    length.append(rest)
    return bytes(length) + content
