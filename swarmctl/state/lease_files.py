"""The lease on disk: `lease.json`, and `lease.lock`, which is flock'ed for every change of it and for publishing.

Whoever holds the flock has written into it who that is: one that was stopped just then is ended by whoever waits for
it for longer than the lease's TTL. All else that holds it does so for milliseconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from swarmctl.processes import Process
from swarmctl.state import files
from swarmctl.state.holder import me, process_of
from swarmctl.state.lease_rules import TTL, Party, Record
from swarmctl.state.model import Holder

FILE = "lease.json"
LOCK = "lease.lock"
SCHEMA = "swarmctl/lease/v1"
LONGEST = 4
"""TTLs after which one that holds the flock, works, and does not let go of it is given up on."""
_SIGNATURE = 160
"""Bytes of `lease.lock`."""


class Unreadable(ValueError):
    """The record is no record: cut off by a crash of the machine, or written over."""


def read(folder: Path) -> Record | None:
    """The record; None when there is none. Raises `Unreadable`."""
    try:
        content = (folder / FILE).read_bytes()
    except FileNotFoundError:
        return None
    return decode(content)


def write(folder: Path, record: Record, *, sync: bool) -> None:
    """Replace the record, with the flock held; `sync` for what must survive a crash of the machine, as a token must.

    A sign of life need not be, and must not wait for a busy disk.
    """
    if sync:
        files.write(folder / FILE, encode(record))
        return
    temporary = folder / f"{FILE}.beat"
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as stream:
            stream.write(encode(record))
        os.replace(temporary, folder / FILE)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def encode(record: Record) -> bytes:
    """The content of `lease.json`."""
    document = {
        "schema": SCHEMA,
        "token": record.token,
        "ttl": record.ttl,
        "owner": None if record.owner is None else asdict(record.owner),
        "queue": [asdict(party) for party in record.queue],
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def decode(content: bytes) -> Record:
    """What `encode` wrote. Raises `Unreadable`."""
    try:
        document = json.loads(content)
        if document["schema"] != SCHEMA:
            raise Unreadable(f"its schema is {document['schema']!r}")
        owner = document["owner"]
        return Record(
            token=int(document["token"]),
            owner=None if owner is None else _party(owner),
            ttl=float(document["ttl"]),
            queue=tuple(_party(it) for it in document["queue"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Unreadable(str(error)) from None


def _party(data: dict[str, Any]) -> Party:
    return Party(**{**data, "holder": Holder(**data["holder"])})


@contextlib.contextmanager
def locked(folder: Path, *, create: bool = False, ttl: float = TTL) -> Iterator[None]:
    """Hold the flock, against threads of this process too. With `create`, folder and lock are made when missing.

    Raises FileNotFoundError without `create`, TimeoutError when somebody does not let go of it.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    while True:
        if create:
            files.folder(folder)
        try:
            descriptor = os.open(folder / LOCK, flags, 0o600)
        except FileNotFoundError:
            if create and not folder.exists():
                continue  # taken away by a destroy, just now
            raise
        try:
            _wait(descriptor, folder, ttl)
            if not _same(descriptor, folder / LOCK):
                continue  # a destroy has taken it away between our open and our lock: this is the lock of nothing
            _sign(descriptor)
            yield
            return
        finally:
            # Not only closed: a child that was forked just now has the same open file.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _wait(descriptor: int, folder: Path, ttl: float) -> None:
    begun = since = time.monotonic()
    seen = b""
    pause = 0.0005
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            now = time.monotonic()
        signature = os.pread(descriptor, _SIGNATURE, 0)
        if signature != seen:
            seen, since = signature, now
        elif now - since >= ttl:
            _end_if_stopped(signature)
            if now - begun >= LONGEST * ttl:
                raise TimeoutError(f"somebody holds {folder / LOCK} and does not let go of it")
        time.sleep(pause)
        pause = min(pause * 2, 0.02)


def _sign(descriptor: int) -> None:
    """Say who holds the flock, and since when: each time is another."""
    mine = me()
    text = json.dumps([mine.pid, mine.start, mine.boot, mine.namespace, time.monotonic()])
    os.pwrite(descriptor, text.encode().ljust(_SIGNATURE)[:_SIGNATURE], 0)


def _end_if_stopped(signature: bytes) -> None:
    """End who holds the flock, when it has been stopped in the middle of it."""
    try:
        pid, start, boot, namespace, _ = json.loads(signature)
        found = Holder("", str(boot), str(namespace), int(pid), int(start), "", "", 0)
    except (ValueError, TypeError):
        return  # it has not signed yet
    process: Process | None = process_of(found)
    if process is not None and process.stopped():
        process.ends_by(signal.SIGKILL, 1.0)


def _same(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False
