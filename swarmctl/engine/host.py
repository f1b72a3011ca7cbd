"""The engine's two callers: it asks for the program to run, and tells what happens, both over gRPC on one port.

Pulumi's own language hosts are plugins that start an interpreter; ours is the very process that started the engine
(`--client=ADDRESS`), so the graph needs no detour over a file or a second process. Events come the same way
(`--event-log tcp://ADDRESS`): nothing is ever read from the engine's prose.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from swarmctl import __version__
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
Program = Callable[[str, bool], bool]
"""Called with the address of the engine's resource monitor and whether this is a preview; False when it broke off."""


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """Runs the one program it was given."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def Handshake(self, request: Any, context: Any) -> Any:
        """Nothing to agree on."""
        return language_pb2.LanguageHandshakeResponse()

    def About(self, request: Any, context: Any) -> Any:
        """Nothing to tell."""
        return language_pb2.AboutResponse()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        """The host's version is swarmctl's."""
        return plugin_pb2.PluginInfo(version=__version__)

    def GetRequiredPackages(self, request: Any, context: Any) -> Any:
        """The provider is in the engine's home already."""
        return language_pb2.GetRequiredPackagesResponse()

    def Run(self, request: Any, context: Any) -> Any:
        """Register everything. "Bail" tells the engine that it knows already what went wrong."""
        return language_pb2.RunResponse(bail=not self._program(request.monitor_address, request.dryRun))

    def Cancel(self, request: Any, context: Any) -> Any:
        """The program ends by itself when the engine's monitor does."""
        return empty_pb2.Empty()


class EventSink(events_pb2_grpc.EventsServicer):
    """Takes the engine's events, in order."""

    def __init__(self, receive: Callable[[dict[str, Any]], None]) -> None:
        self._receive = receive
        self._open = threading.Event()
        self._through = threading.Event()
        self.failure: Exception | None = None
        """The first that went wrong while an event was taken."""

    def StreamEvents(self, request_iterator: Any, context: Any) -> Any:
        """One call lasts as long as the operation."""
        self._open.set()
        try:
            for request in request_iterator:
                try:
                    self._receive(json.loads(request.event))
                except Exception as error:  # noqa: BLE001 - raised when the engine has ended: what follows still counts
                    self.failure = self.failure or error
        finally:
            self._through.set()
        return empty_pb2.Empty()

    def drain(self) -> None:
        """Wait until everything that the engine has told is taken; call it when the engine has ended."""
        if self._open.is_set():
            self._through.wait(DRAIN)


@contextmanager
def serving(program: Program, receive: Callable[[dict[str, Any]], None]) -> Iterator[str]:
    """Serve both on this machine only; gives the address. All events are through when the engine has ended.

    Raises at the end what `receive` has raised: a run whose events were not all taken must not look like a good one.
    """
    server = grpc.server(ThreadPoolExecutor(max_workers=4), options=(*OPTIONS, ("grpc.so_reuseport", 0)))
    sink = EventSink(receive)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageHost(program), server)
    events_pb2_grpc.add_EventsServicer_to_server(sink, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
        sink.drain()
    finally:
        server.stop(grace=1.0).wait()
    if sink.failure is not None:
        raise sink.failure
