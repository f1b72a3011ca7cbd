"""Connections to servers, kept and shared: one each, with many commands at once over it.

They live in an event loop of its own thread, so that any thread can use them, also those of gRPC.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from swarmctl.backends.base import HostUnreachable
from swarmctl.backends.ssh import login, session
from swarmctl.backends.ssh.address import Address
from swarmctl.backends.ssh.errors import HostSilent, named
from swarmctl.backends.ssh.library import asyncssh
from swarmctl.backends.ssh.session import Outcome
from swarmctl.errors import SwarmError

T = TypeVar("T")
Talk = Callable[[asyncssh.SSHClientConnection], Coroutine[Any, Any, Outcome]]

TRIES = 5
"""How often a command is begun again when a server does not begin it."""
BUSY = 0.1
"""Seconds until then, and as much more every time."""
HELD = 2.0
"""Seconds after which a login that has not come to its end leaves its place: it waits, and has nothing to reckon."""
STUCK = 45.0
"""Seconds for which a login shell that began nothing in time counts as one that begins nothing, for the same reason."""
SHORT = 256 << 10
"""Bytes of input that arrive at once."""
SILENCE = 10.0
"""Seconds for which a server that said nothing counts as silent: waiting costs each who asks what it cost the first."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much at once."""

    commands: int = 64
    commands_per_host: int = 5
    """OpenSSH's default allows ten sessions a connection (MaxSessions), and a session that is over counts until its
    server comes round: as many new ones may have begun by then."""
    logins: int = 16
    """Servers that have spoken and are logged in to; each costs some milliseconds of arithmetic, and silence none."""
    connections: int = 256
    """Kept open while nothing uses them; the one that was used longest ago goes first."""


@dataclass(slots=True, eq=False)
class _Link:
    address: Address
    room: asyncio.Semaphore
    opening: asyncio.Task[asyncssh.SSHClientConnection] | None = None
    """Also when it has ended: with the connection. One that failed is taken away, so that the next caller tries."""
    silent: tuple[float, HostSilent] | None = None
    """Until when, by the loop's clock, nobody waits again for a server that said nothing, and what to say."""
    stuck: tuple[float, Outcome] | None = None
    """Until when, by the loop's clock, nobody waits again for a login shell that began nothing, and what came of it."""
    well: float = float("-inf")
    """When, by the loop's clock, the login shell was last seen to have begun a command."""
    users: int = 0
    """Commands under way or waiting for it, and connections through it that are being made."""

    @property
    def connection(self) -> asyncssh.SSHClientConnection | None:
        task = self.opening
        if task is None or not task.done() or task.cancelled() or task.exception():
            return None
        return None if task.result().is_closed() else task.result()


@dataclass(slots=True)
class Transport:
    """The connections of one process; safe for threads."""

    limits: Limits = Limits()
    patience: float = login.PATIENCE
    """Seconds that a connection may take to come about."""
    _links: dict[Address, _Link] = field(default_factory=dict)
    _loop: asyncio.AbstractEventLoop | None = None
    _thread: threading.Thread | None = None
    _commands: asyncio.Semaphore = field(init=False)
    _logins: asyncio.Semaphore = field(init=False)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._commands = asyncio.Semaphore(self.limits.commands)
        self._logins = asyncio.Semaphore(self.limits.logins)

    def run(
        self,
        name: str,
        address: Address,
        line: str,
        stdin: bytes,
        *,
        timeout: float,
        limit: int,
        mark: bytes = b"",
        begins: float | None = None,
    ) -> Outcome:
        """Have the login shell there run `line`; `name` is for errors, `limit` of bytes is for each stream.

        `mark` is what it prints when the command begins, at most `begins` seconds later; else it is given up.
        `timeout` in seconds begins with the command, not while others are in its way. Raises `HostUnreachable` when no
        connection comes about, TimeoutError when the command takes longer.
        """

        def talk(connection: asyncssh.SSHClientConnection) -> Coroutine[Any, Any, Outcome]:
            return session.converse(connection, line, stdin, limit, mark, begins)

        # Of a long input it may be the way there that is slow, and not the shell.
        return self.submit(self._run(name, address, talk, timeout, tells=len(stdin) <= SHORT))

    def submit(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop and wait for it; it is cancelled when the waiting is."""
        future = asyncio.run_coroutine_threadsafe(work, self._running())
        try:
            return future.result()
        except CancelledError:
            raise HostUnreachable("the connections have been closed") from None
        except BaseException:
            future.cancel()
            raise

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._guard:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="swarmctl-ssh", daemon=True)
                self._thread.start()
            return self._loop

    async def _run(self, name: str, address: Address, talk: Talk, seconds: float, *, tells: bool) -> Outcome:
        """`tells`: whether its beginning too late says something about the login shell."""
        link = self._link(address)
        link.users += 1
        try:
            async with link.room:
                for tries_left in range(TRIES, -1, -1):
                    connection = await self.connected(name, address)
                    clock = asyncio.get_running_loop().time
                    if link.stuck and link.stuck[0] > clock():
                        return link.stuck[1]
                    try:
                        async with self._commands, asyncio.timeout(seconds):
                            since = clock()
                            outcome = await talk(connection)
                        if outcome.stopped != session.LATE:
                            link.stuck, link.well = None, clock()
                        elif tells and link.well < since:  # else it is slow, and begins what others ask for
                            link.stuck = clock() + STUCK, outcome
                        return outcome
                    except asyncssh.Error as error:
                        # Not begun: the connection was a dead one, and nobody had noticed; or the server still
                        # counts sessions that are over.
                        busy = isinstance(error, asyncssh.ChannelOpenError)
                        if not tries_left or not (busy or connection.is_closed()):
                            raise HostUnreachable(
                                f"{name} ({address}) begins no command: {error.reason}",
                                "see whether its sshd allows sessions (MaxSessions), and try again",
                            ) from None
                        await asyncio.sleep(BUSY * (TRIES - tries_left))
            raise AssertionError
        finally:
            link.users -= 1

    def _link(self, address: Address) -> _Link:
        link = self._links.pop(address, None) or _Link(address, asyncio.Semaphore(self.limits.commands_per_host))
        self._links[address] = link  # the last in the dictionary is the one used last
        return link

    async def connected(self, name: str, address: Address) -> asyncssh.SSHClientConnection:
        """The connection to a server, made if there is none; all who ask meanwhile get the same, or its error."""
        try:
            return await self._connected(address)
        except SwarmError as error:
            raise named(error, name, address) from None

    async def _connected(self, address: Address) -> asyncssh.SSHClientConnection:
        """Its errors name the address alone: others get them, too."""
        link = self._link(address)
        if link.silent and link.silent[0] > asyncio.get_running_loop().time():
            raise link.silent[1]
        if link.connection is None and (link.opening is None or link.opening.done()):
            self._make_room()
            link.opening = asyncio.create_task(self._open(address))
        assert link.opening is not None
        try:
            return await asyncio.shield(link.opening)
        except HostSilent as error:
            link.silent = asyncio.get_running_loop().time() + SILENCE, error
            raise

    async def _open(self, address: Address) -> asyncssh.SSHClientConnection:
        if address.jump is None:
            return await login.connect(str(address), address, None, self.patience, self._place)
        through = self._link(address.jump)
        through.users += 1
        try:
            tunnel = await self.connected(f"{address}: its jump host {address.jump}", address.jump)
            return await login.connect(str(address), address, tunnel, self.patience, self._place)
        finally:
            through.users -= 1

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """One of the logins at once, for at most `HELD` seconds of what is done meanwhile."""
        held = True

        def leave() -> None:
            nonlocal held
            if held:
                held = False
                self._logins.release()

        await self._logins.acquire()
        timer = asyncio.get_running_loop().call_later(HELD, leave)
        try:
            yield
        finally:
            timer.cancel()
            leave()

    def _make_room(self) -> None:
        """Close the idle ones that are too many, but none that others go through."""
        kept = [link for link in self._links.values() if link.connection is not None]
        ways = {jump for link in self._links.values() if link.connection or link.users for jump in link.address.jumps}
        for link in kept[: max(0, len(kept) + 1 - self.limits.connections)]:
            if not link.users and link.address not in ways and link.connection is not None:
                link.connection.close()

    def close(self) -> None:
        """Close every connection; another call makes new ones. What still runs over them fails."""
        with self._guard:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        self.__post_init__()  # what waits belongs to one loop

    async def _close(self) -> None:
        links = list(self._links.values())
        self._links.clear()
        for connection in [link.connection for link in reversed(links)]:
            if connection is not None:
                connection.abort()
                await connection.wait_closed()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


@cache
def shared() -> Transport:
    """The one of this process."""
    return Transport()
