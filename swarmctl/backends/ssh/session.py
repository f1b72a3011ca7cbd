"""One command over a connection: its input sent, its output kept up to a limit, its end awaited."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass

from swarmctl.backends.ssh.library import asyncssh

_QUIET = 0.5
"""Seconds of silence after a command's end that end the wait for what its children still write."""
_WINDOW = 2 << 20


NAMES = ("ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1", "USR2")
NUMBERS = {name: int(signal.Signals[f"SIG{name}"]) for name in NAMES}
"""Signals that SSH has names for (RFC 4254, section 6.10), and their numbers."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended, as the login shell's streams have it: noise included."""

    returncode: int | None
    """128 + N for a signal N; None when the connection ended before the command did."""
    stdout: bytes
    stderr: bytes
    cut: tuple[str, ...] = ()
    """The streams of which more came than was kept."""


class Session(asyncssh.SSHClientSession[bytes]):
    """Collects what a command writes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = {"stdout": bytearray(), "stderr": bytearray()}
        self._cut: set[str] = set()
        self._status: int | None = None
        self._ended = asyncio.Event()
        self._closed = asyncio.Event()
        self._heard = asyncio.Event()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        name = "stderr" if datatype == asyncssh.EXTENDED_DATA_STDERR else "stdout"
        room = self._limit - len(self._kept[name])
        if len(data) > room:
            self._cut.add(name)
        self._kept[name] += data[: max(0, room)]
        self._heard.set()

    def exit_status_received(self, status: int) -> None:
        self._status = status
        self._ended.set()

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self._status = 128 + NUMBERS.get(signal, 0)
        self._ended.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()
        self._ended.set()

    async def outcome(self) -> Outcome:
        """What came of it, once the command has ended; a child that keeps its streams open does not hold us up."""
        await self._ended.wait()
        while not self._closed.is_set():
            self._heard.clear()
            waits = [asyncio.create_task(event.wait()) for event in (self._closed, self._heard)]
            done, left = await asyncio.wait(waits, timeout=_QUIET, return_when=asyncio.FIRST_COMPLETED)
            for task in left:
                task.cancel()
            if not done:
                break
        return Outcome(self._status, bytes(self._kept["stdout"]), bytes(self._kept["stderr"]), tuple(sorted(self._cut)))


async def converse(connection: asyncssh.SSHClientConnection, line: str, stdin: bytes, limit: int) -> Outcome:
    """Have the login shell run `line`. Raises asyncssh.Error when it was not even begun."""
    session = Session(limit)
    channel, _ = await connection.create_session(lambda: session, line, encoding=None, window=_WINDOW)
    try:
        if stdin:
            channel.write(stdin)
        channel.write_eof()
    except OSError:
        pass  # it has ended already, without its input
    try:
        return await session.outcome()
    finally:
        channel.close()
