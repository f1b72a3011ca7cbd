"""The server of the provider, asked by gRPC's own client; the engine's client asks it in tests/engine."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from swarmctl.provider.protocol import OPTIONS, grpc
from swarmctl.provider.wire import Connection, Method, Refused
from tests.provider.listening import listening


def method(answer: Callable[[bytes], Any]) -> Method:
    return Method(answer, bytes, bytes)


def refuse(request: bytes) -> bytes:
    raise Refused(9, "näht geht nicht: 100 %\n" + "x" * 5000, b"\0\xff" * 30_000)


async def slow(request: bytes) -> bytes:
    await asyncio.sleep(float(request))
    return request


def broken(request: bytes) -> bytes:
    raise KeyError("hunter2")


async def broken_later(request: bytes) -> bytes:
    raise KeyError("hunter2")


METHODS = {
    "/t.T/Echo": method(lambda request: request),
    "/t.T/Slow": method(slow),
    "/t.T/Refuse": method(refuse),
    "/t.T/Broken": method(broken),
    "/t.T/BrokenLater": method(broken_later),
}


@pytest.fixture
def port() -> Iterator[int]:
    async def serve() -> None:
        async with listening(METHODS) as port:
            ports.append(port)
            begun.set()
            await asyncio.to_thread(over.wait)

    ports: list[int] = []
    begun, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert begun.wait(5)
    yield ports[0]
    over.set()
    thread.join()


@pytest.fixture
def channel(port: int) -> Iterator[Any]:
    # gRPC's client for C takes 16 KiB of headers; the engine's, for Go, 16 MiB.
    options = [*OPTIONS, ("grpc.max_metadata_size", 1 << 24), ("grpc.absolute_max_metadata_size", 1 << 24)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        yield channel


def call(channel: Any, name: str, request: bytes, **options: Any) -> Any:
    return channel.unary_unary(f"/t.T/{name}")(request, **{"timeout": 10, **options})


@pytest.mark.parametrize("size", [0, 1, 16_379, 16_384, 65_535, 65_536, 5_000_000])
def test_messages_of_any_size_go_both_ways(channel: Any, size: int) -> None:
    message = (bytes(range(256)) * (size // 256 + 1))[:size]
    assert call(channel, "Echo", message) == message


def test_large_answers_of_many_calls_share_the_window(channel: Any) -> None:
    echo = channel.unary_unary("/t.T/Echo")
    messages = [bytes((n,)) * (200_000 + n) for n in range(20)]
    pending = [echo.future(message, timeout=20) for message in messages]
    assert [answer.result() for answer in pending] == messages


def test_a_thousand_calls_one_after_the_other(channel: Any) -> None:
    echo = channel.unary_unary("/t.T/Echo")
    for number in range(1000):
        metadata = (("x-number", str(number % 7)),) if number % 3 == 0 else ()
        assert echo(str(number).encode(), metadata=metadata, timeout=10) == str(number).encode()


def test_what_takes_long_keeps_nobody_waiting(channel: Any) -> None:
    pending = [channel.unary_unary("/t.T/Slow").future(b"0.3") for _ in range(50)]
    assert call(channel, "Echo", b"x") == b"x"
    assert not any(answer.done() for answer in pending)
    assert [answer.result() for answer in pending] == [b"0.3"] * 50


def test_a_refusal_has_its_text_and_details_whatever_their_size(channel: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, "Refuse", b"")
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == "näht geht nicht: 100 %\n" + "x" * 5000
    assert dict(caught.value.trailing_metadata())["grpc-status-details-bin"] == b"\0\xff" * 30_000


@pytest.mark.parametrize("name", ["Broken", "BrokenLater"])
def test_a_bug_is_answered_and_quotes_nothing(channel: Any, name: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, name, b"")
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "KeyError" in caught.value.details()
    assert "hunter2" not in caught.value.details()
    assert call(channel, "Echo", b"x") == b"x", "the connection lives on"


def test_what_is_not_implemented_is_said_so(channel: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, "Fly", b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_call_that_is_called_off_leaves_the_others_alone(channel: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, "Slow", b"0.3", timeout=0.05)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert call(channel, "Slow", b"0.4") == b"0.4"


def test_compressed_messages_are_refused(port: int) -> None:
    options = [*OPTIONS, ("grpc.default_compression_algorithm", 2)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            call(channel, "Echo", b"x" * 10_000)
    assert caught.value.code() is grpc.StatusCode.INTERNAL


def test_a_stranger_is_shown_out(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        try:
            while more := stranger.recv(4096):
                answer += more
        except ConnectionResetError:
            pass
    assert b"HTTP/1.1" not in answer


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_frames_come_in_pieces_of_any_size(port: int, step: int) -> None:
    """What a client sent, recorded, fed by pieces to a connection of its own."""

    def record(upstream: socket.socket) -> None:
        peer, _ = upstream.accept()
        with peer, socket.create_connection(("127.0.0.1", port)) as server:
            server.settimeout(5)
            thread = threading.Thread(target=relay, args=(server, peer))
            thread.start()
            while data := peer.recv(65536):
                for start in range(0, len(data), step):
                    server.sendall(data[start : start + step])
            server.shutdown(socket.SHUT_WR)
            thread.join()

    def relay(server: socket.socket, peer: socket.socket) -> None:
        try:
            while data := server.recv(65536):
                peer.sendall(data)
        except OSError:
            pass

    with socket.create_server(("127.0.0.1", 0)) as upstream:
        thread = threading.Thread(target=record, args=(upstream,))
        thread.start()
        with grpc.insecure_channel(f"127.0.0.1:{upstream.getsockname()[1]}", options=OPTIONS) as channel:
            for size in (0, 10, 3000):
                assert call(channel, "Echo", b"x" * size) == b"x" * size
        thread.join()


def test_long_headers_go_on_in_a_second_frame(channel: Any) -> None:
    metadata = tuple((f"x-{n}", "y" * 1000) for n in range(40))
    assert call(channel, "Echo", b"x", metadata=metadata) == b"x"
    assert call(channel, "Echo", b"z") == b"z"


def test_answers_of_one_moment_go_out_in_one_write() -> None:
    """The point of it all: a system call per call is what costs."""

    class Transport:
        def __init__(self) -> None:
            self.writes: list[bytes] = []

        def write(self, data: bytes) -> None:
            self.writes.append(data)

    async def feed() -> int:
        transport = Transport()
        connection = Connection(METHODS)
        connection.connection_made(transport)  # type: ignore[arg-type]
        transport.writes.clear()
        path = b"/t.T/Echo"
        block = b"\x83\x86\x04" + bytes((len(path),)) + path
        frames = itertools.chain.from_iterable(
            (
                len(block).to_bytes(3, "big") + b"\x01\x04" + number.to_bytes(4, "big") + block,
                (6).to_bytes(3, "big") + b"\x00\x01" + number.to_bytes(4, "big") + b"\0\0\0\0\x01x",
            )
            for number in range(1, 33, 2)
        )
        connection.data_received(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"".join(frames))
        return len(transport.writes)

    assert asyncio.run(feed()) == 1
