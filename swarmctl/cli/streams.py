"""Standard streams that never turn against a run: those that are closed, and those that nothing can be written to."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import IO


def prepare() -> None:
    """Open the standard streams that the caller has closed, and make what is written to the others safe.

    A terminal without our letters gets question marks in their place, and bytes that are no text don't end a run.
    Standard error that can't be written is done without; standard output raises OSError (`Output`), once.
    """
    _open_closed()
    for name, kind in (("stdout", Output), ("stderr", Remarks)):
        stream = getattr(sys, name)
        if type(stream) is TextIOWrapper:
            encoding, buffered = stream.encoding, stream.line_buffering
            setattr(sys, name, kind(stream.detach(), encoding, "replace", line_buffering=buffered))


def finish() -> None:
    """Bring out what is still in the streams. Raises OSError when that can't be done on standard output."""
    sys.stderr.flush()
    sys.stdout.flush()


class Output(TextIOWrapper):
    """Standard output: the first failure is raised, with the stream as the file's name; the rest goes nowhere, so that
    Python does not complain a second time when it ends."""

    def write(self, text: str, /) -> int:
        """Write, or raise OSError."""
        try:
            return super().write(text)
        except OSError as error:
            raise _silenced(self, error) from None

    def flush(self) -> None:
        """Bring it out, or raise OSError."""
        try:
            super().flush()
        except OSError as error:
            raise _silenced(self, error) from None


class Remarks(TextIOWrapper):
    """Standard error: what can't be written is lost, and that is all. What a run does, and how it ends, must not depend
    on whether anybody listens."""

    def write(self, text: str, /) -> int:
        """Write, or drop it."""
        try:
            return super().write(text)
        except OSError as error:
            _silenced(self, error)
            return len(text)

    def flush(self) -> None:
        """Bring it out, or drop it."""
        try:
            super().flush()
        except OSError as error:
            _silenced(self, error)


def _silenced(stream: IO[str], error: OSError) -> OSError:
    """Put /dev/null in the place of the stream's file: what is still in its buffers has to go somewhere."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, stream.fileno())
    finally:
        os.close(devnull)
    error.filename = "standard output"
    return error


def _open_closed() -> None:
    """Open those that the caller has closed (`2>&-`) on nothing: else the next file that is opened gets their number,
    and what is meant for a terminal is written into it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is this one: those before it are open by now.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8"))
