"""gRPC as the engine speaks it to its provider: unary calls over HTTP/2 on the loopback, on an asyncio event loop.

gRPC's own servers for Python hand every call from thread to thread, or from one event loop to another: 0.2 to 0.4 ms of
processor time each, three times per resource and more than the engine itself takes. Making 10,000 resources took 64 s
with the one for asyncio where it takes 38 s with this (one machine, one hour, bench/costless). Here frames are read as
they come, what only computes is answered on the spot, and all answers of one moment go out in one write. There is one
client, the engine; what a general server has beside this (streams of messages, compression, deadlines, server push) it
never asks for.

RFC 9113 (HTTP/2), RFC 7541 (HPACK, by the library of that name), and gRPC's PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

import asyncio
import base64
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import hpack

from swarmctl.provider import frames
from swarmctl.provider.errors import describe
from swarmctl.provider.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LARGEST_FRAME,
    MAX_FRAME_SIZE,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Broken,
    literal,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WINDOW = frames.LARGEST_WINDOW
"""The largest there is: what the engine sends was made on this machine, and is read at once."""
LARGEST_BODY = 256 << 20
"""Bytes of one request; nobody declares that much in one resource."""
LARGEST_BLOCK = 1 << 16
"""Bytes of the headers of one request, over all their frames; the decoder takes as many."""
OK, CANCELLED, UNKNOWN, RESOURCE_EXHAUSTED, FAILED_PRECONDITION, UNIMPLEMENTED, INTERNAL = 0, 1, 2, 8, 9, 12, 13
"""Status codes of gRPC."""

Answer = Callable[[Any], Any]
"""Takes a request; returns the response or an awaitable of it. Raises `Refused`."""


class Refused(Exception):
    """A call is answered with a status other than OK."""

    def __init__(self, code: int, message: str, details: bytes = b"") -> None:
        """`details` is an encoded `google.rpc.Status`."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


@dataclass(frozen=True, slots=True)
class Method:
    """One unary method."""

    answer: Answer
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]


@dataclass(slots=True)
class _Stream:
    """One call that is not answered to its end."""

    window: int
    path: str = ""
    body: bytearray = field(default_factory=bytearray)
    asked: bool = False
    """The request is whole, and its method was called."""


class Connection(asyncio.Protocol):
    """One connection of the engine's."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        """`methods` by path, such as `/pulumirpc.ResourceProvider/Check`."""
        self._methods = methods
        self._input = bytearray()
        self._greeted = False
        self._headers = hpack.Decoder()
        self._paths: dict[bytes, str] = {}
        """By header block; only of blocks whose meaning depends on the table of headers and does not change it."""
        self._block: tuple[int, int, bytearray] | None = None
        """Stream, flags and beginning of headers that go on in the next frame."""
        self._streams: dict[int, _Stream] = {}
        self._last = 0
        """The last stream that was opened; numbers only grow."""
        self._window = 65535
        self._stream_window = 65535
        self._frame_size = 16384
        self._received = 0
        self._output: list[bytes | memoryview] = []
        self._flushing = False
        self._ended = False
        """The engine sends nothing more, and may still read."""
        self._closed = False
        self._waiting: deque[tuple[int, memoryview]] = deque()
        """What there is no window for yet: stream and bytes of its message."""
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what we take."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._loop = asyncio.get_running_loop()
        settings = struct.pack(">HIHI", INITIAL_WINDOW_SIZE, WINDOW, MAX_FRAME_SIZE, LARGEST_FRAME)
        self._send(SETTINGS, 0, 0, settings)
        self._send(WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW - 65535))
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        """The engine has gone: nobody waits for answers."""
        self._close()

    def eof_received(self) -> bool:
        """The engine has nothing more to ask: what it has asked is answered."""
        self._ended = True
        self._streams = {number: stream for number, stream in self._streams.items() if stream.asked}
        self._send_waiting()
        self._flush()
        return True

    def data_received(self, data: bytes) -> None:
        """Take every frame that is whole; give up what can't be understood."""
        if self._closed:
            return
        self._input += data
        try:
            self._read()
        except Broken as broken:
            reason = struct.pack(">II", self._last, broken.code) + broken.message.encode()
            self._send(GOAWAY, 0, 0, reason)
            self._flush()
            self._close()
            self._transport.close()
            return
        self._flush()

    def _close(self) -> None:
        self._closed = True
        self._streams.clear()
        self._waiting.clear()
        self._output.clear()

    def _read(self) -> None:
        received = self._input
        place = 0
        if not self._greeted:
            if len(received) < len(PREFACE):
                return
            if not received.startswith(PREFACE):
                self._close()
                self._transport.abort()
                return
            self._greeted, place = True, len(PREFACE)
        with memoryview(received) as view:
            while len(view) - place >= 9:
                head, flags, stream = struct.unpack_from(">IBI", view, place)
                end = place + 9 + (head >> 8)
                if len(view) < end:
                    break
                payload = bytes(view[place + 9 : end])
                place = end
                self._take(head & 0xFF, flags, stream & 0x7FFFFFFF, payload)
        del received[:place]

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        frames.check(kind, flags, number, payload)
        if (self._block is not None) is not (kind == CONTINUATION):
            raise Broken(frames.PROTOCOL_ERROR, "headers go on in the very next frame, and nowhere else")
        if kind in (DATA, RST_STREAM, WINDOW_UPDATE) and number > self._last:
            raise Broken(frames.PROTOCOL_ERROR, f"stream {number} was not opened")
        if kind == DATA:
            self._take_data(flags, number, payload)
        elif kind == HEADERS:
            if number <= self._last:
                raise Broken(frames.PROTOCOL_ERROR, f"headers for stream {number} once more")
            self._last = number
            self._block = (number, flags, bytearray())
            self._take_headers(flags, number, frames.unpadded(kind, flags, payload))
        elif kind == CONTINUATION:
            self._take_headers(flags, number, payload)
        elif kind == RST_STREAM:
            self._streams.pop(number, None)
        elif kind == SETTINGS and not flags & ACK:
            self._set(payload)
        elif kind == PING and not flags & ACK:
            self._send(PING, ACK, 0, payload)
        elif kind == WINDOW_UPDATE:
            if number == 0:
                self._window = frames.opened(payload, self._window)
            elif (stream := self._streams.get(number)) is not None:
                stream.window = frames.opened(payload, stream.window)
            self._send_waiting()

    def _take_headers(self, flags: int, number: int, more: bytes) -> None:
        assert self._block is not None
        begun, first, beginning = self._block
        if number != begun:
            raise Broken(frames.PROTOCOL_ERROR, f"headers of stream {begun} go on in stream {number}")
        beginning += more
        if len(beginning) > LARGEST_BLOCK:
            raise Broken(frames.ENHANCE_YOUR_CALM, f"headers of more than {LARGEST_BLOCK} bytes")
        if not flags & END_HEADERS:
            return
        self._block = None
        self._streams[number] = _Stream(self._stream_window, self._path(bytes(beginning)))
        if first & END_STREAM:
            self._call(number)

    def _path(self, block: bytes) -> str:
        path = self._paths.get(block)
        if path is None:
            try:
                headers = self._headers.decode(block, raw=True)
            except hpack.HPACKError as error:
                raise Broken(frames.COMPRESSION_ERROR, "headers that cannot be decoded") from error
            found = next((value for name, value in headers if name == b":path"), None)
            if found is None:
                raise Broken(frames.PROTOCOL_ERROR, "a request without a path")
            path = found.decode(errors="replace")
            # Indices of one byte only: such a block leaves the table as it is, any other may change it.
            if all(0x80 <= byte < 0xFF for byte in block):
                self._paths[block] = path
            else:
                self._paths.clear()
        return path

    def _take_data(self, flags: int, number: int, payload: bytes) -> None:
        self._received += len(payload)
        if self._received > WINDOW // 2:
            self._send(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._received))
            self._received = 0
        content = frames.unpadded(DATA, flags, payload)
        stream = self._streams.get(number)
        if stream is None:
            return  # it was called off, or refused
        if stream.asked:
            raise Broken(frames.STREAM_CLOSED, f"stream {number} goes on after its end")
        stream.body += content
        if len(stream.body) > LARGEST_BODY:
            self._refuse(number, Refused(RESOURCE_EXHAUSTED, f"a request of more than {LARGEST_BODY} bytes"))
            self._send(RST_STREAM, 0, number, bytes(4))  # no error: send no more of it
        elif flags & END_STREAM:
            self._call(number)

    def _set(self, payload: bytes) -> None:
        for name, value in frames.settings(payload):
            if name == INITIAL_WINDOW_SIZE:
                for stream in self._streams.values():
                    stream.window += value - self._stream_window
                self._stream_window = value
            elif name == MAX_FRAME_SIZE:
                self._frame_size = value
        self._send(SETTINGS, ACK, 0, b"")
        self._send_waiting()

    def _call(self, number: int) -> None:
        """The request is whole: answer it, now or in a task."""
        stream = self._streams[number]
        stream.asked = True
        method = self._methods.get(stream.path)
        if method is None:
            self._refuse(number, Refused(UNIMPLEMENTED, f"unknown method {stream.path}"))
            return
        if len(stream.body) < 5 or stream.body[0] or int.from_bytes(stream.body[1:5], "big") != len(stream.body) - 5:
            self._refuse(number, Refused(INTERNAL, "not one uncompressed message"))
            return
        try:
            answer = method.answer(method.decode(bytes(stream.body[5:])))
            if isinstance(answer, Awaitable):
                task = self._loop.create_task(self._later(number, method, answer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                self._respond(number, method.encode(answer))
        except Exception as error:  # noqa: BLE001 - whatever happens, nobody shall wait for an answer for ever
            self._refuse(number, _refused(error))

    async def _later(self, number: int, method: Method, answer: Awaitable[Any]) -> None:
        try:
            self._respond(number, method.encode(await answer))
        except Exception as error:  # noqa: BLE001 - as above
            self._refuse(number, _refused(error))
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _respond(self, number: int, message: bytes) -> None:
        stream = self._streams.get(number)
        if stream is None:
            return  # it was called off
        size = len(message) + 5
        framed = b"\0" + struct.pack(">I", len(message)) + message
        self._send(HEADERS, END_HEADERS, number, _RESPONSE)
        if self._waiting or size > self._window or size > stream.window or size > self._frame_size:
            self._waiting.append((number, memoryview(framed)))
            self._send_waiting()
        else:
            self._window -= size
            self._send(DATA, 0, number, framed)
            self._end(number, _DONE)

    def _send_waiting(self) -> None:
        """Send as much as there is window for; who has none of their own lets the others pass."""
        for _ in range(len(self._waiting)):
            number, rest = self._waiting.popleft()
            stream = self._streams.get(number)
            if stream is None:
                continue
            while rest and (size := min(self._window, stream.window, self._frame_size, len(rest))) > 0:
                self._send(DATA, 0, number, rest[:size])
                rest = rest[size:]
                self._window -= size
                stream.window -= size
            if rest:
                self._waiting.append((number, rest))
            else:
                self._end(number, _DONE)

    def _refuse(self, number: int, refused: Refused) -> None:
        if number in self._streams:
            trailers = literal("grpc-status", str(refused.code))
            trailers += literal("grpc-message", quote(refused.message, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"))
            if refused.details:
                trailers += literal("grpc-status-details-bin", base64.b64encode(refused.details).decode())
            self._end(number, _RESPONSE + trailers)

    def _end(self, number: int, trailers: bytes) -> None:
        del self._streams[number]
        for start in range(0, len(trailers), self._frame_size):
            end = start + self._frame_size
            last = END_HEADERS if end >= len(trailers) else 0
            kind, flags = (CONTINUATION, last) if start else (HEADERS, last | END_STREAM)
            self._send(kind, flags, number, trailers[start:end])

    def _send(self, kind: int, flags: int, number: int, payload: bytes | memoryview) -> None:
        self._output.append(struct.pack(">IBI", len(payload) << 8 | kind, flags, number))
        self._output.append(payload)

    def _flush(self) -> None:
        """All that is to be sent, in one write."""
        self._flushing = False
        if self._output:
            self._transport.write(b"".join(self._output))
            self._output.clear()
        # Who sends nothing more opens no window either.
        if self._ended and not self._closed and len(self._streams) == len(self._waiting):
            self._close()
            self._transport.close()


def _refused(error: Exception) -> Refused:
    return error if isinstance(error, Refused) else Refused(INTERNAL, describe(error))


_RESPONSE = b"\x88" + literal("content-type", "application/grpc")
"""`:status: 200`, which is in every table."""
_DONE = literal("grpc-status", str(OK))
