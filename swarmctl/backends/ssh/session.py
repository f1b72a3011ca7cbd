"""One command over a connection: its input sent, its output kept up to a limit, its end awaited."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass

from swarmctl.backends.ssh.library import asyncssh

_QUIET = 0.5
"""Seconds of silence after a command's end that end the wait for what its children still write."""
_WINDOW = 2 << 20
FLOOD = 4 << 20
"""Bytes of a stream that are dropped before whoever prints them is given up."""
LATE, FLOODED = "late", "flooded"
"""Why a command was given up: the login shell did not begin it in time; more came than anybody takes."""


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
    stopped: str = ""
    """Why it was given up: `LATE`, `FLOODED` or, when it was not, empty. Then the status is None."""


class Session(asyncssh.SSHClientSession[bytes]):
    """Collects what a command writes."""

    def __init__(self, limit: int, mark: bytes) -> None:
        """`limit`: bytes of each stream that are kept; `mark` is in standard output where the command begins."""
        self._limit = limit
        self._mark = mark
        self.begun = False
        self._kept = {"stdout": bytearray(), "stderr": bytearray()}
        self._dropped = 0
        self._cut: set[str] = set()
        self._stopped = ""
        self._status: int | None = None
        self._ended = asyncio.Event()
        self._closed = asyncio.Event()
        self._heard = asyncio.Event()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        name = "stderr" if datatype == asyncssh.EXTENDED_DATA_STDERR else "stdout"
        kept = self._kept[name]
        room = self._limit - len(kept)
        if len(data) > room:
            self._cut.add(name)
            self._dropped += len(data) - max(0, room)
        kept += data[: max(0, room)]
        if not self.begun and name == "stdout":
            self.begun = kept.find(self._mark, max(0, len(kept) - len(data) - len(self._mark))) >= 0
        self._heard.set()
        if self._dropped > FLOOD:
            self._stop(FLOODED)

    def must_have_begun(self) -> None:
        """Wait no longer for a command that is not begun by now."""
        if not self.begun:
            self._stop(LATE)

    def _stop(self, why: str) -> None:
        if not self._ended.is_set():
            self._stopped = why
            self._ended.set()
            self._closed.set()

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
        streams = bytes(self._kept["stdout"]), bytes(self._kept["stderr"])
        return Outcome(self._status, *streams, tuple(sorted(self._cut)), self._stopped)


async def converse(
    connection: asyncssh.SSHClientConnection,
    line: str,
    stdin: bytes,
    limit: int,
    mark: bytes = b"",
    patience: float | None = None,
) -> Outcome:
    """Have the login shell run `line`; it is given up when it has not printed `mark` after `patience` seconds.

    Raises asyncssh.Error when it was not even begun.
    """
    session = Session(limit, mark)
    channel, _ = await connection.create_session(lambda: session, line, encoding=None, window=_WINDOW)
    try:
        if stdin:
            channel.write(stdin)
        channel.write_eof()
    except OSError:
        pass  # it has ended already, without its input
    loop = asyncio.get_running_loop()
    clock = None if patience is None else loop.call_later(patience, session.must_have_begun)
    try:
        return await session.outcome()
    finally:
        if clock is not None:
            clock.cancel()
        channel.close()
