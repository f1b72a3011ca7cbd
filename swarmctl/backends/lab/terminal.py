"""A terminal for a command in a node, relayed to ours: a command that held ours could type into the shell behind it."""

from __future__ import annotations

import fcntl
import os
import selectors
import signal
import struct
import subprocess
import sys
import termios
import threading
import tty
from types import TracebackType


class Terminal:
    """A pseudo terminal; `inner` is the command's end of it."""

    def __init__(self) -> None:
        self._outer, self.inner = os.openpty()

    def __enter__(self) -> Terminal:
        self._resize()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._outer)

    def _resize(self) -> None:
        size = fcntl.ioctl(sys.stdin.fileno(), termios.TIOCGWINSZ, struct.pack("4H", 24, 80, 0, 0))
        fcntl.ioctl(self._outer, termios.TIOCSWINSZ, size)

    def relay(self, process: subprocess.Popen[bytes]) -> int:
        """Pass keys and output on until the command ends; returns its status."""
        os.close(self.inner)
        source, sink = sys.stdin.fileno(), sys.stdout.fileno()
        before = termios.tcgetattr(source)
        resized = None
        if threading.current_thread() is threading.main_thread():
            resized = signal.signal(signal.SIGWINCH, lambda *_: self._resize())
        ended = os.pidfd_open(process.pid)
        try:
            tty.setraw(source)
            with selectors.DefaultSelector() as selector:
                for descriptor in (source, self._outer, ended):
                    selector.register(descriptor, selectors.EVENT_READ)
                while self._step(selector, source, sink, ended):
                    pass
        finally:
            termios.tcsetattr(source, termios.TCSAFLUSH, before)
            if resized is not None:
                signal.signal(signal.SIGWINCH, resized)
            os.close(ended)
            if process.poll() is None:
                process.kill()
            process.wait()
        return process.returncode

    def _step(self, selector: selectors.BaseSelector, source: int, sink: int, ended: int) -> bool:
        """One round; False when there is nothing more to come."""
        ready = {key.fd for key, _ in selector.select()}
        if self._outer in ready:
            try:
                block = os.read(self._outer, 1 << 16)
            except OSError:  # EIO: nobody holds the command's end any more
                block = b""
            if not block:
                return False
            while block:
                block = block[os.write(sink, block) :]
            return True
        if source in ready:
            keys = os.read(source, 1 << 12)
            if keys:
                os.write(self._outer, keys)
            else:
                selector.unregister(source)
        return ended not in ready
