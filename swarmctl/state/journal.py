"""The journal of a changing run: what the provider begins, synced before it begins it, and how it ended.

One line per record: the CRC-32 of the rest in hex, a space, JSON. What a crash has left of a last line is passed over,
and so is a line that was damaged since: every line stands for itself. `replay` makes a state of it.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from swarmctl.durable import sync
from swarmctl.errors import SwarmError

Json = Any

CLOSED = "closed"
"""Beside a journal: it is being replayed, or was. Who recovers a run writes that before reading, and the run looks for
it after it has synced an intent: either the intent is read, or what it intends is not begun."""

CREATE, UPDATE, DELETE = "create", "update", "delete"
"""What an intent is about to do."""


class JournalFailed(SwarmError):
    """Nothing can be written down any more; what was not written down is not begun."""


@dataclass(frozen=True, slots=True)
class Intent:
    """A change that is about to begin."""

    n: int
    """Names it within the journal; counts from 1."""
    op: str
    """`create`, `update` or `delete`."""
    urn: str
    inputs: Mapping[str, Json] = field(default_factory=dict)
    """As they shall be; for a delete as they are recorded. Secrets are not in them."""
    old: Mapping[str, Json] | None = None
    """Of an update: the inputs that are recorded."""
    guarded: bool = False
    """The node undoes it by itself unless it is confirmed, which no journal tells."""


@dataclass(frozen=True, slots=True)
class Result:
    """How the change `n` ended."""

    n: int
    outputs: Mapping[str, Json] | None = None
    """What it came to; None when it failed."""
    error: str = ""
    left: bool = True
    """Of a creation that failed: it may have left something behind."""

    @property
    def done(self) -> bool:
        """It was done to its end."""
        return self.outputs is not None


Record = Intent | Result


def encode(record: Record) -> bytes:
    """One line of the journal."""
    if isinstance(record, Intent):
        plain = {"n": record.n, "op": record.op, "urn": record.urn, "inputs": record.inputs}
        if record.old is not None:
            plain["old"] = record.old
        if record.guarded:
            plain["guarded"] = True
    elif record.done:
        plain = {"n": record.n, "end": "done", "outputs": record.outputs}
    else:
        plain = {"n": record.n, "end": "failed", "error": record.error}
        if not record.left:
            plain["left"] = False
    text = msgspec.json.encode(plain, enc_hook=_plain)
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _plain(value: Json) -> Json:
    """What a resource type may put into its outputs beside plain data."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is no plain data")


def decode(line: bytes) -> Record | None:
    """A line without its end; None when it is not as it was written."""
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    plain = msgspec.json.decode(text)
    if "op" in plain:
        return Intent(
            plain["n"], plain["op"], plain["urn"], plain["inputs"], plain.get("old"), plain.get("guarded") is True
        )
    return Result(plain["n"], plain.get("outputs"), plain.get("error", ""), plain.get("left", True))


def read(path: Path) -> list[Record]:
    """Every record that is whole, in the order in which they were written; none when there is no file.

    Raises OSError.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    return [record for line in content.split(b"\n") if line and (record := decode(line)) is not None]


class _Group:
    """Lines that are synced together."""

    __slots__ = ("ended", "error", "led", "lines")

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.led = False
        """Someone has taken it upon itself to write it."""
        self.ended = threading.Event()
        self.error: OSError | None = None


class Journal:
    """Writes a new journal; safe for threads. Those who come while others wait for the disk are synced together."""

    def __init__(self, path: Path) -> None:
        """`path` must not exist. Raises `JournalFailed`."""
        self.path = path
        self._closed = path.parent / CLOSED
        self._next = 1
        self._size = 0
        self._broken: OSError | None = None
        self._group = _Group()
        self._guard = threading.Lock()
        self._syncing = threading.Lock()
        self._writing = threading.Lock()
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            sync(path.parent)
        except OSError as error:
            raise self._failed(error) from None

    def intent(
        self,
        op: str,
        urn: str,
        inputs: Mapping[str, Json],
        old: Mapping[str, Json] | None = None,
        *,
        guarded: bool = False,
    ) -> int:
        """Write down what is about to begin; returns its number once it is on the disk, also after a power cut.

        Raises `JournalFailed`: it is not written down, or nobody will read it any more; it must not begin.
        """
        with self._guard:
            n = self._next
            self._next += 1
        line = encode(Intent(n, op, urn, inputs, old, guarded))
        with self._guard:
            group = self._group
            group.lines.append(line)
            leads = not group.led
            group.led = True
        if leads:
            self._sync(group)
        else:
            group.ended.wait()
        if group.error is not None:
            raise self._failed(group.error)
        if os.path.exists(self._closed) or not os.path.exists(self.path):
            raise JournalFailed(
                "another run has taken the place of this one, so nothing more is begun",
                "What was done is in the state already; run the same command again to go on from there.",
            )
        return n

    def done(self, n: int, outputs: Mapping[str, Json]) -> None:
        """Write down that `n` was done; it outlives this process at once and a power cut with the next intent.

        Raises `JournalFailed`: it then counts as begun.
        """
        self._append(encode(Result(n, outputs)))

    def failed(self, n: int, error: str, *, left: bool = True) -> None:
        """Write down that `n` failed, and whether that may have left something behind. Raises as `done`."""
        self._append(encode(Result(n, error=error, left=left)))

    def close(self) -> None:
        """Nothing is written any more."""
        os.close(self._file)

    def _sync(self, group: _Group) -> None:
        """Write a group and sync it; who comes from now on is of the next one."""
        with self._syncing:
            with self._guard:
                self._group = _Group()
            try:
                self._write(b"".join(group.lines))
                try:
                    os.fdatasync(self._file)
                except OSError as error:
                    # What the disk has of the file is unknown from here on: a later sync would only claim success.
                    self._broken = error
                    raise
            except OSError as error:
                group.error = error
            finally:
                group.ended.set()

    def _append(self, line: bytes) -> None:
        try:
            self._write(line)
        except OSError as error:
            raise self._failed(error) from None

    def _write(self, content: bytes) -> None:
        """Add whole lines, or nothing of them."""
        with self._writing:
            if self._broken is not None:
                raise self._broken
            written = 0
            try:
                while written < len(content):
                    written += os.pwrite(self._file, content[written:], self._size + written)
            except OSError:
                # Some lines of a group may be whole: nobody begins what they intend, so nobody shall read them.
                os.ftruncate(self._file, self._size)
                raise
            self._size += written

    def _failed(self, error: OSError) -> JournalFailed:
        return JournalFailed(
            f"the journal of this run cannot be written: {error.strerror or error}, so nothing more is begun",
            f"See to it that {self.path.parent} can be written to and has room, then run the same command again.",
        )
