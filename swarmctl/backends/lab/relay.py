"""A command's streams, relayed to ours through pipes.

What runs in a node as root could change the mode of the file that our output goes to, read it back or empty it, and
go on reading our input when the command is over: descriptors of this process never reach a node.
"""

from __future__ import annotations

import os
import select
import selectors
import subprocess
from typing import IO

_BLOCK = 1 << 16
_LEFT = 16
"""Blocks taken out of a pipe after the end: what one can hold, however much its other end goes on writing."""


def relay(process: subprocess.Popen[bytes]) -> int:
    """Pass input and output on until the command ends; returns its status.

    What it leaves in the background then holds pipes that lead nowhere. Raises OSError when output can't be written.
    """
    ended = os.pidfd_open(process.pid)
    # Not epoll, which takes no regular files.
    with selectors.PollSelector() as selector:
        try:
            selector.register(ended, selectors.EVENT_READ)
            _Relay(process, selector).run(ended)
        finally:
            os.close(ended)
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
    return process.returncode


class _Relay:
    def __init__(self, process: subprocess.Popen[bytes], selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._sinks: dict[int, tuple[IO[bytes], int]] = {}
        for stream, sink in ((process.stdout, 1), (process.stderr, 2)):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            self._sinks[stream.fileno()] = stream, sink
            selector.register(stream.fileno(), selectors.EVENT_READ)
        assert process.stdin is not None
        self._feed, self._pending = process.stdin, b""
        os.set_blocking(self._feed.fileno(), False)
        self._listen()

    def run(self, ended: int) -> None:
        """Until the command ends, and then what it has written before."""
        while True:
            ready = {key.fd for key, _ in self._selector.select()}
            for source in ready & self._sinks.keys():
                self._pass(source)
            if not self._feed.closed:
                if self._feed.fileno() in ready:
                    self._write()
                elif 0 in ready:
                    self._read()
            if ended in ready:
                break
        for source in list(self._sinks):
            for _ in range(_LEFT):
                if not self._pass(source):
                    break

    def _pass(self, source: int) -> bool:
        """One block of output; False when there is none now."""
        stream, sink = self._sinks[source]
        try:
            block = os.read(source, _BLOCK)
        except BlockingIOError:
            return False
        try:
            _write_all(sink, block)
        except BrokenPipeError:
            block = b""  # as if the command had our pipe itself: its next writing fails
        if not block:
            self._selector.unregister(source)
            del self._sinks[source]
            stream.close()
        return bool(block)

    def _listen(self) -> None:
        """Wait for our input, or without one tell the command so."""
        try:
            os.fstat(0)
        except OSError:
            self._feed.close()
        else:
            self._selector.register(0, selectors.EVENT_READ)

    def _read(self) -> None:
        try:
            self._pending = os.read(0, _BLOCK)
        except BlockingIOError:
            return
        self._selector.unregister(0)  # until the command has taken this
        if self._pending:
            self._selector.register(self._feed.fileno(), selectors.EVENT_WRITE)
        else:
            self._feed.close()

    def _write(self) -> None:
        try:
            self._pending = self._pending[os.write(self._feed.fileno(), self._pending) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # the command reads no more
            self._selector.unregister(self._feed.fileno())
            self._feed.close()
            return
        if not self._pending:
            self._selector.unregister(self._feed.fileno())
            self._listen()


def _write_all(sink: int, block: bytes) -> None:
    while block:
        try:
            block = block[os.write(sink, block) :]
        except BlockingIOError:  # whoever gave us this descriptor wanted it so
            select.select((), (sink,), ())
