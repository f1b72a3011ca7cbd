"""Files that a crash leaves as they were or as they shall be: written beside, synced, renamed, the folder synced."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})
"""What link(2) says on a file system where a file has one name: vfat, some of CIFS and FUSE."""
PRIVATE = 0o600


def write(file: Path, content: bytes, mode: int = PRIVATE) -> None:
    """Write a file so that it has the old content or the new one, whatever happens. Raises OSError."""
    with _written(file, content, mode) as temporary:
        os.replace(temporary, file)
    sync(file.parent)


def create(file: Path, content: bytes) -> bytes:
    """Write a file for its owner alone unless there is one; returns what is in it then: of two who create it, both get
    the same. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        return file.read_bytes()
    folder(file.parent)
    named = False
    while not named:
        # A run that begins sweeps away what looks as if it was left by a crash.
        with _written(file, content, PRIVATE) as temporary, contextlib.suppress(FileNotFoundError):
            _name(temporary, file)
            named = True
    sync(file.parent)
    return file.read_bytes()


def folder(path: Path) -> None:
    """Make a folder that nobody else may look into, and what it lies in. Raises OSError."""
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync(path.parent)


def sync(path: Path) -> None:
    """Bring to the disk which names are in a folder. Raises OSError."""
    with _opened(path) as descriptor:
        os.fsync(descriptor)


def _name(temporary: Path, file: Path) -> None:
    """Give a written file its name, unless the name is taken."""
    try:
        os.link(temporary, file)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        # A rename takes the name from whoever has it, so one at a time; it never shows half a file.
        with _opened(file.parent) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not file.exists():
                os.replace(temporary, file)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _written(file: Path, content: bytes, mode: int) -> Iterator[Path]:
    """A file beside `file` with this content on the disk, which is gone after the block unless it was renamed."""
    # By chance, not by process id: of two containers on one store both may be process 7.
    temporary = file.with_name(f"{file.name}.{secrets.token_hex(8)}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            if mode != PRIVATE:
                os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
