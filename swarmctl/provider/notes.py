"""Notes for the user, on the way of the engine's events."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

from swarmctl.provider.errors import LIMIT
from swarmctl.provider.protocol import OPTIONS, engine_pb2, engine_pb2_grpc, grpc

_LOG = logging.getLogger(__name__)


class Notes:
    """Says what happens while a step goes on. The engine tells it as a diagnostic with severity `info`."""

    def __init__(self) -> None:
        self._address = ""
        self._stub: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._guard = threading.Lock()

    def connect(self, address: str) -> None:
        """On the event loop: the engine listens there; no connection is made before there is something to say."""
        if address and address != self._address:
            self._address, self._stub = address, None
            self._loop = asyncio.get_running_loop()

    def tell(self, urn: str, text: str) -> None:
        """From any thread: a sentence about a resource. It is no more than a note: nobody waits for it to arrive."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._send(urn, text), self._loop)

    async def told(self, urn: str, text: str) -> None:
        """On the event loop: the same, once it has arrived. What is said at the end of a run's last step arrives in no
        other way: the engine ends when that has."""
        if self._loop is not None:
            await self._send(urn, text)

    async def _send(self, urn: str, text: str) -> None:
        if self._stub is None:
            self._stub = engine_pb2_grpc.EngineStub(grpc.aio.insecure_channel(self._address, options=OPTIONS))
        request = engine_pb2.LogRequest(severity=engine_pb2.INFO, urn=urn, message=text[:LIMIT])
        try:
            await self._stub.Log(request, timeout=5)
        except grpc.RpcError as error:
            _LOG.debug("a note did not reach the engine: %s: %s", error, text)
