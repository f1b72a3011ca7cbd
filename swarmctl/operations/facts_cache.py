"""What machines told about themselves, kept on this computer for a while, so that a plan need not ask them all again.

A file for each machine of each stack, for its user alone. Whatever is wrong with one, it counts as not there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from swarmctl.backends import ways
from swarmctl.graph.model import Json
from swarmctl.hosts.system import SystemFacts
from swarmctl.paths import cache_home, data_home

VERSION = 2
"""Of the files. Those of another one count as not there; raise it when a field of the facts changes its meaning."""
LARGEST = 16 << 20
"""Bytes of a file that are read at most."""
MAX_AGE = 24 * 3600.0
"""Seconds for which facts count unless told otherwise."""
_WHO = ("backend", "stack", "address", "port", "hostKeys", "jump")
"""What of the way to a machine says which it is; how one logs in there does not."""
_PLAIN = re.compile(r"[a-z0-9][a-z0-9.-]{0,200}")


@dataclass(frozen=True, slots=True)
class Kept:
    """Facts, and when they were read."""

    facts: SystemFacts
    read: float
    """By this computer's clock, Unix time in seconds."""


class _File(msgspec.Struct, frozen=True):
    version: int
    host: str
    read: float
    facts: SystemFacts


def identity(host: Mapping[str, Json]) -> str:
    """A digest of what the machine that a `host` input names is known by: with another host key or address it is
    another machine. So it is in another data folder, where another stack of that name is, and its labs."""
    way = ways.declared_for(host) or ways.recorded_for(host) or host
    known = {key: sorted(value) if key == "hostKeys" else value for key in _WHO if (value := way.get(key)) is not None}
    known["data"] = str(data_home())
    return sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()


class Cache:
    """The kept facts of one stack. What can't be written is not kept, and nobody need know."""

    def __init__(self, stack: str, clock: Callable[[], float] = time.time) -> None:
        """`stack` is the stack's identity."""
        self.folder = cache_home() / "facts" / _plain(stack)
        self._clock = clock

    def get(self, node: str, host: Mapping[str, Json], max_age: float = MAX_AGE) -> Kept | None:
        """What this machine told at most `max_age` seconds ago. What another one told under its name is removed."""
        file = self._file(node)
        found = _load(file)
        if found is None:
            return None
        if found.host != identity(host):
            _remove(file)
            return None
        # What was read in the future was read before the clock was set back: nobody knows how long ago.
        return Kept(found.facts, found.read) if 0 <= self._clock() - found.read < max_age else None

    def put(self, node: str, host: Mapping[str, Json], facts: SystemFacts) -> Kept:
        """Keep what it told just now. What a machine holds is let go by hand, and must not be in the way after that:
        such facts are asked for every time."""
        now = self._clock()
        content = msgspec.json.encode(_File(VERSION, identity(host), now, facts))
        if facts.held:
            _remove(self._file(node))
        else:
            with contextlib.suppress(OSError):
                _write(self._file(node), content)
        return Kept(facts, now)

    def forget(self, nodes: Iterable[str] | None = None) -> None:
        """Nothing is known any more of these machines, or of all."""
        if nodes is None:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        for node in nodes:
            _remove(self._file(node))

    @contextlib.contextmanager
    def changing(self, nodes: Iterable[str]) -> Iterator[None]:
        """Machines are changed in the block: what is known of them before it is not known after it, also when nobody
        comes to its end, or somebody else reads them meanwhile."""
        names = sorted(set(nodes) - {""})
        self.forget(names)
        try:
            yield
        finally:
            self.forget(names)

    def _file(self, node: str) -> Path:
        return self.folder / f"{_plain(node)}.json"


def _plain(name: str) -> str:
    """A name as one of a file: names that the declarations allow stay as they are."""
    return name if _PLAIN.fullmatch(name) else sha256(name.encode()).hexdigest()


def _load(file: Path) -> _File | None:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_size > LARGEST:
                return None
            content = stream.read(LARGEST)
    except OSError:
        return None
    try:
        loaded = msgspec.json.decode(content, type=_File)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    return loaded if loaded.version == VERSION else None


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Not brought to the disk: a crash may lose it, and then it is read again.
    beside = file.with_name(f"{file.name}.{secrets.token_hex(8)}.new")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        os.replace(beside, file)
    finally:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()


def _remove(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink()
