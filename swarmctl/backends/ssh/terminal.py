"""A command on a machine with this process's own streams, and with a terminal there when this process has one."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import threading
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from swarmctl.backends.ssh import answers, shell
from swarmctl.backends.ssh.address import Address
from swarmctl.backends.ssh.library import asyncssh
from swarmctl.backends.ssh.session import NUMBERS, Outcome
from swarmctl.backends.ssh.transport import Transport

_BLOCK = 1 << 15


def attached(transport: Transport, name: str, address: Address, argv: Sequence[str], nonce: str) -> int:
    """Run it until it ends; its status. Raises `HostUnreachable`, and OSError when our output can't be written."""
    with_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    term = os.environ.get("TERM", "dumb")
    script = shell.script(argv, nonce, None, sudo=address.user != "root", extra={"TERM": term, "LC_ALL": "C.UTF-8"})
    line = shell.by_argument(script)
    with _raw(with_terminal):
        outcome = transport.submit(_attached(transport, name, address, line, nonce, term if with_terminal else ""))
    if outcome is None:
        raise answers.cut_off(name, argv[0])
    if isinstance(outcome, Outcome):
        raise answers.not_begun(name, address, argv[0], nonce, outcome)
    return outcome


@contextmanager
def _raw(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSAFLUSH, before)


class _Relay(asyncssh.SSHClientSession[bytes]):
    """Passes on what the command writes, from where it has begun; keeps a little of what comes before."""

    def __init__(self, mark: bytes, terminal: bool) -> None:
        self._mark = mark
        self._before: dict[int, bytes | None] = {1: b"", 2: b""}
        self._terminal = terminal
        self.status: int | None = None
        self.failed: OSError | None = None
        self.ended = asyncio.Event()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        sink = 2 if datatype == asyncssh.EXTENDED_DATA_STDERR else 1
        if (before := self._before[sink]) is not None:
            noise, mark, data = (before + data).partition(self._mark)
            if not mark:
                self._before[sink] = noise[-answers.NOISE :]
                return
            self._before[sink] = None
            if self._terminal:  # one stream there, so that both marks are in it
                self._terminal = False
                self._before[1] = b""
                self.data_received(data, None)
                return
        try:
            while data:
                data = data[os.write(sink, data) :]
        except OSError as error:
            self.failed = error
            self.ended.set()

    def begun(self) -> bool:
        return self._before[1] is None

    def outcome(self) -> Outcome:
        return Outcome(self.status, self._before[1] or b"", self._before[2] or self._before[1] or b"")

    def exit_status_received(self, status: int) -> None:
        self.status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self.status = 128 + NUMBERS.get(signal, 0)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


async def _attached(
    transport: Transport, name: str, address: Address, line: str, nonce: str, term: str
) -> int | Outcome | None:
    connection = await transport.connected(name, address)
    newline = "\r\n" if term else "\n"
    relay = _Relay(f"{shell.MARK} {nonce} begin{newline}".encode(), bool(term))
    more: dict[str, Any] = (
        {"request_pty": "force", "term_type": term, "term_size": os.get_terminal_size(0)} if term else {}
    )
    channel, _ = await connection.create_session(lambda: relay, line, encoding=None, **more)
    loop = asyncio.get_running_loop()
    threading.Thread(target=_feed, args=(loop, channel), name="swarmctl-ssh-input", daemon=True).start()
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
        channel.close()
    if relay.failed is not None:
        raise relay.failed
    return relay.status if relay.begun() else relay.outcome()


def _feed(loop: asyncio.AbstractEventLoop, channel: asyncssh.SSHClientChannel[bytes]) -> None:
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
