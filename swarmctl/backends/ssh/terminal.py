"""A command on a machine with this process's own streams, and with a terminal there when this process has one.

They are the command's only from where it begins: before that, a profile that reads would get what was meant for it,
and whoever waits can end this process with Ctrl-C.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import termios
import threading
import tty
from collections.abc import Callable, Sequence
from typing import Any

from swarmctl.backends.ssh import answers, session, shell
from swarmctl.backends.ssh.address import Address
from swarmctl.backends.ssh.library import asyncssh
from swarmctl.backends.ssh.session import NUMBERS, Outcome
from swarmctl.backends.ssh.transport import Transport

_BLOCK = 1 << 15
_Channel = asyncssh.SSHClientChannel[bytes]


def attached(transport: Transport, name: str, address: Address, argv: Sequence[str], nonce: str) -> int:
    """Run it until it ends; its status. Raises `HostUnreachable`, and OSError when our output can't be written."""
    with_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    term = os.environ.get("TERM", "dumb")
    script = shell.script(argv, nonce, None, sudo=address.user != "root", extra={"TERM": term, "LC_ALL": "C.UTF-8"})
    line = shell.by_argument(script)
    raw = _Raw(with_terminal)
    try:
        work = _attached(transport, name, address, line, nonce, term if with_terminal else "", raw.begin)
        outcome = transport.submit(work)
    finally:
        raw.end()
    if outcome is None:
        raise answers.cut_off(name, argv[0])
    if isinstance(outcome, Outcome):
        raise answers.not_begun(name, address, argv[0], nonce, outcome)
    return outcome


class _Raw:
    """Our terminal while the command has it: every key is passed on, Ctrl-C too."""

    def __init__(self, wanted: bool) -> None:
        self._over = not wanted
        self._before: list[Any] | None = None
        self._guard = threading.Lock()

    def begin(self) -> None:
        """From now on; not any more when it is over."""
        with self._guard:
            if not self._over:
                self._before = termios.tcgetattr(0)
                tty.setraw(0, termios.TCSADRAIN)  # what was typed already is for the command

    def end(self) -> None:
        """As it was before."""
        with self._guard:
            self._over = True
            if self._before is not None:
                termios.tcsetattr(0, termios.TCSAFLUSH, self._before)


class _Relay(asyncssh.SSHClientSession[bytes]):
    """Passes on what the command writes, from where it has begun; keeps a little of what comes before."""

    def __init__(self, mark: bytes, terminal: bool, begins: Callable[[_Channel], None]) -> None:
        """`mark` stands on a line of its own where the command begins; `begins` is called when it has, before anything
        of it is passed on."""
        # What a terminal makes of the end of a line is up to its settings, which a profile may change.
        self._mark = re.compile(re.escape(mark) + (rb"\r*\n" if terminal else rb"\n"))
        self._begins = begins
        self._before: dict[int, bytes | None] = {1: b"", 2: b""}
        self._terminal = terminal
        self.status: int | None = None
        self.stopped = ""
        self.failed: OSError | None = None
        self.ended = asyncio.Event()

    def connection_made(self, chan: _Channel) -> None:
        self._channel = chan

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        sink = 2 if datatype == asyncssh.EXTENDED_DATA_STDERR else 1
        if (before := self._before[sink]) is not None:
            before += data
            mark = self._mark.search(before)
            if mark is None:
                self._before[sink] = before[-answers.NOISE :]
                return
            data = before[mark.end() :]
            self._before[sink] = None
            if self._terminal:  # one stream there, so that both marks are in it
                self._terminal = False
                self._before[1] = b""
                self.data_received(data, None)
                return
            if sink == 1:
                self._begins(self._channel)
        try:
            while data:
                data = data[os.write(sink, data) :]
        except OSError as error:
            self.failed = error
            self.ended.set()

    def begun(self) -> bool:
        return self._before[1] is None

    def outcome(self) -> Outcome:
        streams = self._before[1] or b"", self._before[2] or self._before[1] or b""
        return Outcome(self.status, *streams, stopped=self.stopped)

    def must_have_begun(self) -> None:
        """Wait no longer for a command that is not begun by now."""
        if not self.begun():
            self.stopped = session.LATE
            self.ended.set()

    def exit_status_received(self, status: int) -> None:
        self.status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self.status = 128 + NUMBERS.get(signal, 0)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


async def _attached(
    transport: Transport, name: str, address: Address, line: str, nonce: str, term: str, begins: Callable[[], None]
) -> int | Outcome | None:
    connection = await transport.connected(name, address)
    loop = asyncio.get_running_loop()

    def begun(channel: _Channel) -> None:
        begins()
        threading.Thread(target=_feed, args=(loop, channel), name="swarmctl-ssh-input", daemon=True).start()

    relay = _Relay(shell.begin(nonce).rstrip(b"\n"), bool(term), begun)
    more: dict[str, Any] = (
        {"request_pty": "force", "term_type": term, "term_size": os.get_terminal_size(0)} if term else {}
    )
    due = loop.time() + answers.BEGINS  # for the session, the login shell, its profile and sudo together
    try:
        async with asyncio.timeout_at(due):
            channel, _ = await connection.create_session(lambda: relay, line, encoding=None, **more)
    except TimeoutError:
        return Outcome(None, b"", b"", stopped=session.LATE)
    clock = loop.call_at(due, relay.must_have_begun)
    try:
        size = more.get("term_size")
        while not relay.ended.is_set():
            try:
                await asyncio.wait_for(relay.ended.wait(), 0.5 if term else None)
            except TimeoutError:
                if (now := os.get_terminal_size(0)) != size:
                    size = now
                    channel.change_terminal_size(*now)
    finally:
        clock.cancel()
        channel.close()
    if relay.failed is not None:
        raise relay.failed
    return relay.status if relay.begun() else relay.outcome()


def _feed(loop: asyncio.AbstractEventLoop, channel: _Channel) -> None:
    """Pass our input on until it ends; nothing waits for it when the command has ended before."""

    def send(block: bytes) -> None:
        try:
            channel.write(block) if block else channel.write_eof()
        except OSError:
            pass  # the command is over

    while True:
        try:
            block = os.read(0, _BLOCK)
        except OSError:
            block = b""
        loop.call_soon_threadsafe(send, block)
        if not block:
            return
