"""The engine's two callers: it asks for the program to run, and tells what happens, both over gRPC on one port.

Pulumi's own language hosts are plugins that start an interpreter; ours is the very process that started the engine
(`--client=ADDRESS`), so the graph needs no detour over a file or a second process. Events come the same way
(`--event-log tcp://ADDRESS`): nothing is ever read from the engine's prose.

Both live on one event loop in a thread of its own: handing every call from thread to thread took longer than the calls.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from swarmctl import __version__
from swarmctl.engine.events import EngineEvent, decode
from swarmctl.provider.protocol import (
    OPTIONS,
    empty_pb2,
    events_pb2_grpc,
    grpc,
    language_pb2,
    language_pb2_grpc,
    plugin_pb2,
)

DRAIN = 60.0
"""Seconds that the events of an engine that has ended may take to be read."""
Program = Callable[[str, bool], Awaitable[bool]]
"""Called with the address of the engine's resource monitor and whether this is a preview; False when it broke off."""


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """Runs the one program it was given."""

    def __init__(self, program: Program) -> None:
        self._program = program

    async def Handshake(self, request: Any, context: Any) -> Any:
        """Nothing to agree on."""
        return language_pb2.LanguageHandshakeResponse()

    async def About(self, request: Any, context: Any) -> Any:
        """Nothing to tell."""
        return language_pb2.AboutResponse()

    async def GetPluginInfo(self, request: Any, context: Any) -> Any:
        """The host's version is swarmctl's."""
        return plugin_pb2.PluginInfo(version=__version__)

    async def GetRequiredPackages(self, request: Any, context: Any) -> Any:
        """The provider is in the engine's home already."""
        return language_pb2.GetRequiredPackagesResponse()

    async def Run(self, request: Any, context: Any) -> Any:
        """Register everything. "Bail" tells the engine that it knows already what went wrong."""
        return language_pb2.RunResponse(bail=not await self._program(request.monitor_address, request.dryRun))

    async def Cancel(self, request: Any, context: Any) -> Any:
        """The program ends by itself when the engine's monitor does."""
        return empty_pb2.Empty()


class EventSink(events_pb2_grpc.EventsServicer):
    """Takes the engine's events, in order."""

    def __init__(self, receive: Callable[[EngineEvent], None]) -> None:
        self._receive = receive
        self._open = threading.Event()
        self._through = threading.Event()
        self.heard = time.monotonic()
        """When the last event came, on the monotonic clock."""
        self.failure: Exception | None = None
        """The first that went wrong while an event was taken."""

    async def StreamEvents(self, request_iterator: Any, context: Any) -> Any:
        """One call lasts as long as the operation."""
        self._open.set()
        try:
            async for request in request_iterator:
                self.heard = time.monotonic()
                try:
                    self._receive(decode(request.event))
                except Exception as error:  # noqa: BLE001 - raised when the engine has ended: what follows still counts
                    self.failure = self.failure or error
        finally:
            self._through.set()
        return empty_pb2.Empty()

    def drain(self) -> None:
        """Wait until everything that the engine has told is taken; call it when the engine has ended."""
        if self._open.is_set():
            self._through.wait(DRAIN)


class Serving:
    """Both, being served."""

    def __init__(self, sink: EventSink, address: str) -> None:
        self._sink = sink
        self.address = address

    def silence(self) -> float:
        """Seconds since the last event, or since the start."""
        return time.monotonic() - self._sink.heard

    @property
    def failure(self) -> Exception | None:
        """What went wrong first while events were taken."""
        return self._sink.failure


@contextmanager
def serving(program: Program, receive: Callable[[EngineEvent], None]) -> Iterator[Serving]:
    """Serve both on this machine only. All events are through when the block has ended; then look at `failure`: a run
    whose events were not all taken must not look like a good one."""
    sink = EventSink(receive)
    started: Future[int] = Future()
    over = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(program, sink, started, over)), daemon=True)
    thread.start()
    try:
        yield Serving(sink, f"127.0.0.1:{started.result()}")
        sink.drain()
    finally:
        over.set()
        thread.join()


async def _serve(program: Program, sink: EventSink, started: Future[int], over: threading.Event) -> None:
    try:
        server = grpc.aio.server(options=(*OPTIONS, ("grpc.so_reuseport", 0)))
        language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageHost(program), server)
        events_pb2_grpc.add_EventsServicer_to_server(sink, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
    except BaseException as error:
        started.set_exception(error)
        raise
    started.set_result(port)
    await asyncio.get_running_loop().run_in_executor(None, over.wait)
    await server.stop(grace=1.0)
