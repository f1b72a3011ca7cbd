"""The server of the provider, frame by frame: what no client that works sends, and what only some do."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from collections.abc import Callable, Coroutine
from typing import Any

import hpack
import pytest

from swarmctl.provider import frames, wire
from swarmctl.provider.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from swarmctl.provider.wire import PREFACE, Connection, Method
from tests.provider.listening import listening

Frame = tuple[int, int, int, bytes]
WHOLE = END_HEADERS | END_STREAM


def frame(kind: int, flags: int, number: int, payload: bytes = b"") -> bytes:
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, number) + payload


def block(path: str = "/t.T/Echo") -> bytes:
    """Headers that leave the table as it is."""
    return b"\x83\x86\x04" + bytes((len(path),)) + path.encode()


def message(content: bytes = b"x") -> bytes:
    return b"\0" + struct.pack(">I", len(content)) + content


def headers(number: int = 1, path: str = "/t.T/Echo", flags: int = END_HEADERS) -> bytes:
    return frame(HEADERS, flags, number, block(path))


def request(number: int = 1, content: bytes = b"x", path: str = "/t.T/Echo") -> bytes:
    return headers(number, path) + frame(DATA, END_STREAM, number, message(content))


def status(headers: bytes) -> int:
    return int(next(value for name, value in hpack.Decoder().decode(headers, raw=True) if name == b"grpc-status"))


class Peer:
    """A client that sends what it is told to; also the transport of the connection."""

    def __init__(self) -> None:
        self.called: list[tuple[str, bytes]] = []
        self.output = bytearray()
        self.closed = False
        names = ("Echo", "Other", "Slow")
        self.connection = Connection({f"/t.T/{name}": Method(self._answer(name), bytes, bytes) for name in names})
        self.connection.connection_made(self)  # type: ignore[arg-type]
        self.feed(PREFACE)
        self.sent()

    def _answer(self, name: str) -> Callable[[bytes], Any]:
        async def later(content: bytes) -> bytes:
            await asyncio.sleep(0)
            return content

        def answer(content: bytes) -> Any:
            self.called.append((name, content))
            return later(content) if name == "Slow" else content

        return answer

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.output += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def feed(self, *data: bytes) -> None:
        self.connection.data_received(b"".join(data))

    def sent(self) -> list[Frame]:
        """The frames since the last call."""
        found, place = [], 0
        while place < len(self.output):
            head, flags, number = struct.unpack_from(">IBI", self.output, place)
            end = place + 9 + (head >> 8)
            found.append((head & 0xFF, flags, number, bytes(self.output[place + 9 : end])))
            place = end
        self.output.clear()
        return found

    def received(self, number: int = 1) -> bytes:
        """The data of a stream since the last call."""
        return b"".join(payload for kind, _, of, payload in self.sent() if (kind, of) == (DATA, number))


def play(scene: Callable[[Peer], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        await scene(Peer())

    asyncio.run(run())


BROKEN = {
    "no path": (frame(HEADERS, WHOLE, 1, b"\x83\x86"), frames.PROTOCOL_ERROR),
    "trailers": (headers() + frame(HEADERS, WHOLE, 1, block()), frames.PROTOCOL_ERROR),
    "an older stream": (headers(5) + headers(3), frames.PROTOCOL_ERROR),
    "a stream of ours": (headers(2), frames.PROTOCOL_ERROR),
    "headers of no stream": (headers(0), frames.PROTOCOL_ERROR),
    "data of no stream": (frame(DATA, 0, 0, b"x"), frames.PROTOCOL_ERROR),
    "data before headers": (frame(DATA, END_STREAM, 1, message()), frames.PROTOCOL_ERROR),
    "nothing where padding is": (headers() + frame(DATA, PADDED, 1), frames.FRAME_SIZE_ERROR),
    "more padding than data": (headers() + frame(DATA, PADDED, 1, b"\x02x"), frames.PROTOCOL_ERROR),
    "no room for the priority": (frame(HEADERS, WHOLE | PRIORITY, 1, b"\x83\x86"), frames.FRAME_SIZE_ERROR),
    "odd settings": (frame(SETTINGS, 0, 0, b"12345"), frames.FRAME_SIZE_ERROR),
    "settings of a stream": (frame(SETTINGS, 0, 1), frames.PROTOCOL_ERROR),
    "an ACK with settings": (frame(SETTINGS, ACK, 0, bytes(6)), frames.FRAME_SIZE_ERROR),
    "frames of no bytes": (frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 0)), frames.PROTOCOL_ERROR),
    "frames of 16 MiB": (frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 1 << 24)), frames.PROTOCOL_ERROR),
    "windows of 2 GiB": (frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31)), frames.FLOW_CONTROL_ERROR),
    "an index of no table": (frame(HEADERS, WHOLE, 1, b"\xfe"), frames.COMPRESSION_ERROR),
    "half a header": (frame(HEADERS, WHOLE, 1, b"\x83\x86\x04\x7f"), frames.COMPRESSION_ERROR),
    "a header bomb": (
        frame(HEADERS, WHOLE, 1, b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000 + b"\xbe" * 40),
        frames.COMPRESSION_ERROR,
    ),
    "a second end": (request(path="/t.T/Slow") + frame(DATA, END_STREAM, 1, b""), frames.STREAM_CLOSED),
    "data within headers": (
        headers(1, flags=0) + frame(DATA, 0, 1, b"") + frame(CONTINUATION, END_HEADERS, 1),
        frames.PROTOCOL_ERROR,
    ),
    "headers within headers": (headers(1, flags=0) + headers(3), frames.PROTOCOL_ERROR),
    "headers that go on elsewhere": (
        headers(1, flags=0) + frame(CONTINUATION, END_HEADERS, 3),
        frames.PROTOCOL_ERROR,
    ),
    "headers that go on after their end": (headers() + frame(CONTINUATION, END_HEADERS, 1), frames.PROTOCOL_ERROR),
    "headers without end": (
        headers(1, flags=0) + frame(CONTINUATION, 0, 1, b"\x83" * 16000) * 5,
        frames.ENHANCE_YOUR_CALM,
    ),
    "half a ping": (frame(PING, 0, 0, b"1234"), frames.FRAME_SIZE_ERROR),
    "half a window": (frame(WINDOW_UPDATE, 0, 0, b"12"), frames.FRAME_SIZE_ERROR),
    "a window of nothing": (frame(WINDOW_UPDATE, 0, 0, bytes(4)), frames.PROTOCOL_ERROR),
    "a window too large": (frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), frames.FLOW_CONTROL_ERROR),
    "half a reset": (headers() + frame(RST_STREAM, 0, 1, b"1"), frames.FRAME_SIZE_ERROR),
    "a reset of nothing": (frame(RST_STREAM, 0, 1, bytes(4)), frames.PROTOCOL_ERROR),
    "a promise": (frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4)), frames.PROTOCOL_ERROR),
}


@pytest.mark.parametrize(("data", "code"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_http2_ends_the_connection_with_the_reason(data: bytes, code: int) -> None:
    async def scene(peer: Peer) -> None:
        peer.feed(data)
        kind, _, number, payload = peer.sent()[-1]
        assert (kind, number, int.from_bytes(payload[4:8], "big")) == (GOAWAY, 0, code)
        assert len(payload) > 8, "and says it in words"
        assert peer.closed
        peer.feed(request(101))
        await asyncio.sleep(0.01)
        assert peer.sent() == []
        assert len(peer.called) == (1 if b"/t.T/Slow" in data else 0)

    play(scene)


def test_of_what_it_need_not_know_it_takes_no_notice() -> None:
    async def scene(peer: Peer) -> None:
        peer.feed(
            frame(0x2, 0, 1, bytes(5)),
            frame(0xFA, 0xFF, 0, b"grease"),
            frame(SETTINGS, 0, 0, struct.pack(">HI", 0xFAFA, 7)),
            frame(GOAWAY, 0, 0, bytes(8)),
            request(),
        )
        assert peer.received() == message()

    play(scene)


def test_padding_and_priority_are_no_part_of_the_request() -> None:
    async def scene(peer: Peer) -> None:
        peer.feed(
            frame(HEADERS, END_HEADERS | PADDED | PRIORITY, 1, b"\x03" + bytes(5) + block() + bytes(3)),
            frame(DATA, END_STREAM | PADDED, 1, b"\x02" + message(b"abc") + bytes(2)),
        )
        assert peer.received() == message(b"abc")

    play(scene)


def test_headers_over_several_frames_end_the_request_that_they_began_with() -> None:
    async def scene(peer: Peer) -> None:
        whole = block("/t.T/None")
        peer.feed(frame(HEADERS, END_STREAM, 1, whole[:4]))
        peer.feed(frame(CONTINUATION, 0, 1, whole[4:7]), frame(CONTINUATION, END_HEADERS, 1, whole[7:]))
        ((kind, flags, number, payload),) = peer.sent()
        assert (kind, flags, number) == (HEADERS, WHOLE, 1)
        assert status(payload) == wire.UNIMPLEMENTED

    play(scene)


def test_an_index_means_what_the_table_has_by_now() -> None:
    """Headers of the same bytes name one method at first and another one later."""

    async def scene(peer: Peer) -> None:
        def introduce(path: bytes) -> bytes:
            return b"\x83\x86\x44" + bytes((len(path),)) + path  # becomes index 62, the one before 63

        number = 1
        for content in (introduce(b"/t.T/Echo"), b"\x83\x86\xbe", introduce(b"/t.T/Other"), b"\x83\x86\xbe"):
            peer.feed(frame(HEADERS, END_HEADERS, number, content), frame(DATA, END_STREAM, number, message()))
            number += 2
        peer.feed(frame(HEADERS, END_HEADERS, number, b"\x83\x86\xbf"), frame(DATA, END_STREAM, number, message()))
        assert [name for name, _ in peer.called] == ["Echo", "Echo", "Other", "Other", "Echo"]

    play(scene)


def test_what_was_received_opens_the_window_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "WINDOW", 100_000)

    async def scene(peer: Peer) -> None:
        window, opened = 100_000, 0
        for number in range(1, 201, 2):
            peer.feed(request(number, b"x" * 10_000))
            window -= 10_005
            for kind, _, stream, payload in peer.sent():
                if (kind, stream) == (WINDOW_UPDATE, 0):
                    window += int.from_bytes(payload, "big")
                    opened += 1
            assert 0 < window <= 100_000
        assert 5 < opened < 50, "not for every frame"
        assert len(peer.called) == 100

    play(scene)


def test_settings_move_the_windows_of_streams_that_are_open() -> None:
    async def scene(peer: Peer) -> None:
        content = bytes(range(256)) * 1000
        peer.feed(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 10_000_000)), request(1, content))
        first = peer.received()
        assert first == message(content)[:65535]
        peer.feed(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 100_000)))
        second = peer.received()
        assert first + second == message(content)[:100_000]
        peer.feed(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 50_000)))
        assert peer.received() == b"", "it has had more than that"
        peer.feed(frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 50_000)))
        assert peer.received() == b"", "now it has had just that"
        peer.feed(frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 1_000_000)))
        assert first + second + peer.received() == message(content)

    play(scene)


def test_a_large_answer_takes_as_long_as_copying_it_a_few_times() -> None:
    """It is cut into 2,000 frames; copying the rest of it for each would be 1,000 copies of the whole."""
    content = bytes(range(256)) * (1 << 17)

    def copied() -> float:
        began = time.process_time()
        bytearray(content)
        return time.process_time() - began

    def answered() -> float:
        took = 0.0

        async def scene(peer: Peer) -> None:
            nonlocal took
            peer.feed(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, frames.LARGEST_WINDOW)))
            peer.feed(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30)), headers())
            peer.sent()
            began = time.process_time()
            whole, part = message(content), 1 << 23
            for start in range(0, len(whole), part):
                last = END_STREAM if start + part >= len(whole) else 0
                peer.feed(frame(DATA, last, 1, whole[start : start + part]))
            took = time.process_time() - began
            assert peer.received() == message(content)

        play(scene)
        return took

    assert min(answered() for _ in range(2)) < 40 * min(copied() for _ in range(5))


def test_a_request_that_is_too_large_is_refused_and_kept_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LARGEST_BODY", 30_000)

    async def scene(peer: Peer) -> None:
        peer.feed(headers(), frame(DATA, 0, 1, message(bytes(40_000))[:20_000]), frame(DATA, 0, 1, bytes(20_000)))
        refusal, reset = peer.sent()
        assert status(refusal[3]) == wire.RESOURCE_EXHAUSTED
        assert reset[0] == RST_STREAM
        peer.feed(frame(DATA, END_STREAM, 1, b"the rest, on its way already"), request(3))
        assert peer.received(3) == message()
        assert peer.called == [("Echo", b"x")]

    play(scene)


def test_a_call_that_was_called_off_is_not_answered() -> None:
    async def scene(peer: Peer) -> None:
        peer.feed(request(1, path="/t.T/Slow"), frame(RST_STREAM, 0, 1, bytes(4)))
        peer.feed(headers(3), frame(RST_STREAM, 0, 3, bytes(4)), frame(DATA, END_STREAM, 3, message()))
        await asyncio.sleep(0.01)
        assert peer.sent() == []
        assert [name for name, _ in peer.called] == ["Slow"]

    play(scene)


def test_who_has_nothing_more_to_ask_still_gets_the_answers() -> None:
    async def scene() -> None:
        async def slow(content: bytes) -> bytes:
            await asyncio.sleep(0.05)
            return content * 100_000

        async with listening({"/t.T/Slow": Method(slow, bytes, bytes)}) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            windows = frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 20))
            windows += frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 20))
            half = headers(5)  # never asked to its end
            asked = request(1, path="/t.T/Slow") + request(3, path="/t.T/Slow")
            writer.write(PREFACE + windows + asked + half)
            writer.write_eof()
            answered = await asyncio.wait_for(reader.read(), 5)
            writer.close()
        assert answered.count(b"x") == 200_000 + 2 * b"application/grpc".count(b"x")

    asyncio.run(scene())


def test_who_opens_no_window_and_sends_nothing_more_is_not_waited_for() -> None:
    async def scene(peer: Peer) -> None:
        peer.feed(request(1, bytes(100_000)))
        assert not peer.closed
        assert peer.connection.eof_received()
        assert peer.closed

    play(scene)


def test_an_answer_to_who_has_gone_is_dropped() -> None:
    async def scene(peer: Peer) -> None:
        peer.feed(request(1, path="/t.T/Slow"))
        peer.connection.connection_lost(None)
        peer.closed = True
        await asyncio.sleep(0.01)
        assert peer.sent() == []

    play(scene)


def test_nothing_that_is_sent_raises_or_calls_a_method_twice() -> None:
    dice = random.Random(7)
    whole = b"".join(
        (
            frame(SETTINGS, 0, 0, struct.pack(">HIHI", 4, 100_000, 5, 20_000)),
            headers(1) + frame(DATA, 0, 1, message(b"1")) + frame(DATA, END_STREAM, 1),
            request(3, b"3", "/t.T/Slow"),
            frame(PING, 0, 0, bytes(8)),
            frame(HEADERS, 0, 5, block()[:5]) + frame(CONTINUATION, END_HEADERS, 5, block()[5:]),
            frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 70_000)),
            frame(DATA, END_STREAM | PADDED, 5, b"\x01" + message(b"5") + b"\0"),
            request(7, b"7"),
            frame(RST_STREAM, 0, 3, bytes(4)),
        )
    )

    async def scene(peer: Peer) -> None:
        asked: list[int] = []
        call = peer.connection._call

        def counted(number: int) -> None:
            asked.append(number)
            call(number)

        peer.connection._call = counted  # type: ignore[method-assign]
        data = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            place = dice.randrange(len(data))
            match dice.randrange(4):
                case 0:
                    data[place] ^= 1 << dice.randrange(8)
                case 1:
                    data[place] = dice.choice((0, 1, 0xFF))
                case 2:
                    del data[place : place + dice.randint(1, 12)]
                case 3:
                    data[place:place] = data[dice.randrange(len(data)) :][: dice.randint(1, 40)]
        for start in range(0, len(data), 50):
            peer.feed(bytes(data[start : start + 50]))
        peer.connection.eof_received()
        await asyncio.sleep(0)
        assert len(asked) == len(set(asked)) >= len(peer.called)

    async def many(first: Peer) -> None:
        await scene(first)
        for _ in range(1500):
            await scene(Peer())

    play(many)


def test_a_client_that_breaks_off_is_told_why() -> None:
    """Over a real socket: the reason arrives before the end does."""

    async def scene() -> bytes:
        async with listening({}) as port:
            return await asyncio.to_thread(ask, port)

    def ask(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(PREFACE + frame(SETTINGS, 0, 0, b"odd"))
            answer = b""
            while more := client.recv(4096):
                answer += more
            return answer

    assert b"settings of 3 bytes" in asyncio.run(scene())
