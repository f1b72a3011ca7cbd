"""The lease on disk: `lease.json`, and `lease.lock`, which is flock'ed for every change of it and for publishing.

It is held for milliseconds. One that was stopped just then is ended by whoever waits for it for as long as the lease's
TTL: the kernel says who it is (`/proc/locks`).
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

from swarmctl.errors import SwarmError
from swarmctl.processes import Process
from swarmctl.state import files
from swarmctl.state.lease_rules import TTL, Party, Record
from swarmctl.state.model import Holder

FILE = "lease.json"
LOCK = "lease.lock"
SCHEMA = "swarmctl/lease/v1"
LONGEST = 60.0
"""Seconds after which one that holds the flock, works, and does not let go of it is given up on."""


class Unreadable(ValueError):
    """The record is no record: cut off by a crash of the machine, or written over."""


def read(folder: Path) -> Record | None:
    """The record; None when there is none. Raises `Unreadable`."""
    try:
        content = (folder / FILE).read_bytes()
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        raise Unreadable(f"{folder / FILE} is a folder") from None
    return decode(content)


def write(folder: Path, record: Record, *, sync: bool) -> None:
    """Replace the record, with the flock held; `sync` for what must survive a crash of the machine, as a token must.

    A sign of life need not be, and must not wait for a busy disk. Raises SwarmError where a folder stands in its place.
    """
    if (folder / FILE).is_dir():
        raise SwarmError(
            f"{folder / FILE} is a folder, and the record of the stack's lease belongs there",
            "remove it, or move it away, then run the same command again",
        )
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
            yield
            return
        finally:
            # Not only closed: a child that was forked just now has the same open file.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _wait(descriptor: int, folder: Path, ttl: float) -> None:
    waited = asleep = 0.0
    pause = 0.0005
    found: Process | None = None
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            before = time.monotonic()
        time.sleep(pause)
        pause = min(pause * 2, 0.02)
        # Time in which this process was stopped itself counts for little: it has not looked.
        step = min(time.monotonic() - before, 5 * pause)
        waited += step
        if pause < 0.02:
            continue
        holder = _stopped_holder(descriptor)
        asleep = asleep + step if holder == found else 0.0
        found = holder
        if found is not None and asleep >= ttl:
            found.ends_by(signal.SIGKILL, 1.0)
        elif waited >= LONGEST:
            raise TimeoutError(f"somebody holds {folder / LOCK} and does not let go of it")


def _stopped_holder(descriptor: int) -> Process | None:
    """The process that holds the flock of this file and is stopped; None when it works, or can't be seen from here."""
    mine = os.fstat(descriptor)
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    for line in lines:  # such as `3: FLOCK  ADVISORY  WRITE 4711 fe:00:131090 0 EOF`
        fields = line.split()
        if fields[1] != "FLOCK" or not fields[5].endswith(f":{mine.st_ino}"):
            continue
        process = Process.of(int(fields[4]))
        if process is not None and process.stopped() and _has_open(process.pid, mine):
            return process
    return None


def _has_open(pid: int, file: os.stat_result) -> bool:
    """Whether a process has this very file open: the number alone may be a file's of another file system."""
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            return any(os.path.samestat(entry.stat(), file) for entry in entries)
    except OSError:
        return False


def _same(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False
