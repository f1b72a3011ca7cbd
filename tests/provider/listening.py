"""Serves methods on a port of this machine, for the time of a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from swarmctl.provider.wire import Connection, Method


@asynccontextmanager
async def listening(methods: Mapping[str, Method]) -> AsyncIterator[int]:
    """The port; connections that are left over are closed in the end."""
    connections: list[Connection] = []
    lost: list[asyncio.Event] = []

    class Kept(Connection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            connections.append(self)
            lost.append(asyncio.Event())
            self.lost = lost[-1]
            super().connection_made(transport)

        def connection_lost(self, error: Exception | None) -> None:
            super().connection_lost(error)
            self.lost.set()

    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: Kept(methods), "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        for connection in connections:
            connection._transport.abort()
        await asyncio.gather(*(event.wait() for event in lost))
