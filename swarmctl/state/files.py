"""Writes files of the store so that a crash leaves the old content or the new one, and says what a disk lacks."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from swarmctl.errors import SwarmError

SPARE = 1 << 20
"""Bytes that are free before a run begins, besides what the state itself takes."""


class DiskFull(SwarmError):
    """The file system with the state has no room for it."""

    @classmethod
    def at(cls, folder: Path, free: int | None = None, needed: int | None = None) -> DiskFull:
        """The error for the file system that `folder` is on; sizes in bytes, where they are known."""
        room = "" if free is None or needed is None else f": {_kib(free)} are free, {_kib(needed)} are needed"
        return cls(
            f"the file system with the state in {folder} is full{room}",
            "make room on it, then run the same command again",
        )


class ReadOnly(SwarmError):
    """The file system with the state can't be written."""

    @classmethod
    def at(cls, folder: Path) -> ReadOnly:
        """The error for the file system that `folder` is on."""
        return cls(
            f"the file system with the state in {folder} is read-only",
            "mount it so that it can be written, then run the same command again; nothing was lost",
        )


@contextlib.contextmanager
def told(folder: Path) -> Iterator[None]:
    """Raises `DiskFull` or `ReadOnly` for what the operating system says of a full file system, a used-up quota, or
    one that can't be written."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull.at(folder) from error
        if error.errno == errno.EROFS:
            raise ReadOnly.at(folder) from error
        raise


def require_room(folder: Path, needed: int) -> None:
    """Raise `DiskFull` when fewer than `needed` bytes are free, `ReadOnly` when none can be written at all."""
    found = os.statvfs(folder)
    if found.f_flag & os.ST_RDONLY:
        raise ReadOnly.at(folder)
    free = found.f_bavail * found.f_frsize
    # Without a limit there are no blocks to count.
    if found.f_blocks and free < needed:
        raise DiskFull.at(folder, free, needed)


def write(file: Path, content: bytes) -> None:
    """Write a file so that it has the old content or the new one, whatever happens; nobody else may read it."""
    with _written(file, content) as temporary:
        os.replace(temporary, file)
    sync(file.parent)


def create(file: Path, content: bytes) -> bytes:
    """Write a file unless there is one; returns what is in it then: of two who create it, both get the same."""
    with contextlib.suppress(FileNotFoundError):
        return file.read_bytes()
    folder(file.parent)
    with _written(file, content) as temporary, contextlib.suppress(FileExistsError):
        os.link(temporary, file)
    sync(file.parent)
    return file.read_bytes()


def folder(path: Path) -> None:
    """Make a folder that nobody else may look into, and what it lies in."""
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync(path.parent)


def make(path: Path) -> None:
    """Make the folder of a store. Raises `DiskFull`, `ReadOnly`, and `SwarmError` for whatever else is in the way."""
    try:
        with told(path):
            folder(path)
    except OSError as error:
        raise SwarmError(f"the state store cannot be made in {path}: {error.strerror}") from None


def sync(path: Path) -> None:
    """Bring to the disk which names are in a folder."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _written(file: Path, content: bytes) -> Iterator[Path]:
    """A file beside `file` with this content on the disk, which is gone after the block unless it was renamed."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _kib(size: int) -> str:
    return f"{-(-size // 1024):,} KiB"
