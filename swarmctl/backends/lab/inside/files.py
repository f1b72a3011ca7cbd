"""Files of a node, read and written from within, so that no link in its tree can lead out of it."""

from __future__ import annotations

import os
import stat

from . import daemon, kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MISSING = 3
"""Exit status of `get` when there is no such file."""


def _step_inside(request: dict[str, Any]) -> None:
    kernel.hide_process()
    for name, kind in (("mnt", kernel.CLONE_NEWNS), ("user", kernel.CLONE_NEWUSER)):
        if name in request["ns"]:
            kernel.setns(request["ns"][name], kind)
    daemon.close_others(*((request["held"],) if request["held"] >= 0 else ()))
    kernel.drop_rights()
    os.umask(0o022)


def put(request: dict[str, Any]) -> int:
    """Write standard input to `path` with `mode`, atomically."""
    content = b"".join(iter(lambda: os.read(0, 1 << 20), b""))
    _step_inside(request)
    folder, _, name = request["path"].rpartition("/")
    os.makedirs(folder or "/", mode=0o755, exist_ok=True)
    directory = os.open(folder or "/", os.O_RDONLY | os.O_DIRECTORY)
    # One name, so that a crash leaves at most one file behind and the next writing takes it away.
    temporary = f".{name}.swarmctl"
    try:
        os.unlink(temporary, dir_fd=directory)
    except FileNotFoundError:
        pass
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, request["mode"], dir_fd=directory)
    os.fchmod(descriptor, request["mode"])  # whatever the mask says
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    os.fsync(descriptor)
    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    os.fsync(directory)
    return 0


def get(request: dict[str, Any]) -> int:
    """Write the regular file at `path` to standard output, at most `limit` bytes of it."""
    _step_inside(request)
    try:
        descriptor = os.open(request["path"], os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        return MISSING
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(f"{request['path']} is not a regular file")
    left = request["limit"]
    while left and (block := os.read(descriptor, min(left, 1 << 20))):
        left -= len(block)
        while block:
            block = block[os.write(1, block) :]
    if not left and os.read(descriptor, 1):
        raise OSError(f"{request['path']} is larger than {request['limit']} bytes")
    return 0
