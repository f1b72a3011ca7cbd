"""Whose run may change a thing: compared under a lock that is held until the change is done.

The record and its lock stand in a folder of the lab, outside of any node's tree: root of a node can't reach them. The
record has the three lines that `swarmctl.hosts.fence` describes, and the refusals have its statuses.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

LOCK, OWNER = "owner.lock", "owner"
FENCED, FOREIGN, BUSY, GONE, OVERDUE = 77, 78, 75, 69, 124
_LONGEST = 4096


class Refused(Exception):
    """Nothing may be done; what the record says comes along."""

    def __init__(self, status: int, stack: str, token: int, owner: str) -> None:
        super().__init__(status)
        self.status = status
        self.stack = stack
        self.token = token
        self.owner = owner


def hold(folder: int, stack: str, token: int, owner: str, wait: float) -> int:
    """Compare with the record in the folder behind a descriptor, raise it to `token` if it is older, and return a
    descriptor that holds it shared until it is closed.

    Raises Refused, and FileNotFoundError when the folder has been removed.
    """
    deadline = time.monotonic() + wait
    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        while True:
            _lock(descriptor, folder, fcntl.LOCK_SH, deadline)
            if _compare(folder, stack, token) == token:
                return descriptor
            # Waits for what is in flight under an older token.
            _lock(descriptor, folder, fcntl.LOCK_EX, deadline)
            if _compare(folder, stack, token) < token:
                _write(folder, stack, token, owner)
            # Another run may raise it between the two locks: compared once more under the shared one.
    except BaseException:
        os.close(descriptor)
        raise


def read(folder: int) -> tuple[str, int, str]:
    """The record: identity, token and owner; empty and 0 when there is none."""
    try:
        descriptor = os.open(OWNER, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return "", 0, ""
    try:
        lines = os.read(descriptor, _LONGEST).decode("utf-8", "replace").split("\n")
    finally:
        os.close(descriptor)
    stack, token, owner = [*lines, "", "", ""][:3]
    return stack, int(token) if token.isdecimal() else 0, owner


def guard(request: dict[str, Any]) -> int:
    """Hold the fence of a request, so that its operation may begin; 0, or the exit status when it may not.

    The descriptor is left in `request["held"]` and is -1 without a fence. A refusal is told on standard error as the
    script of `swarmctl.hosts.fence` does.
    """
    wanted = request.get("fence")
    request["held"] = -1
    if wanted is None:
        return 0
    feed(wanted["stdin"])
    try:
        stack, token, owner = wanted["words"]
        request["held"] = hold(wanted["folder"], stack, token, owner, wanted["wait"])
    except Refused as refused:
        return tell(wanted["nonce"], refused.status, f"{refused.stack}\n{refused.token}\n{refused.owner}\n")
    except FileNotFoundError:
        return tell(wanted["nonce"], GONE)
    os.close(wanted["folder"])
    return 0


def feed(content: bytes) -> None:
    """Make this the standard input."""
    descriptor = os.memfd_create("stdin")
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.dup2(descriptor, 0)
    os.close(descriptor)


def tell(nonce: str, status: int, text: str = "") -> int:
    """Mark an exit status as ours; returns it."""
    os.write(2, f"@swarmctl-fence {nonce} {status}\n{text}".encode(errors="replace"))
    return status


def _compare(folder: int, stack: str, token: int) -> int:
    """The token of the record. Raises Refused."""
    found, highest, owner = read(folder)
    if found and found != stack:
        raise Refused(FOREIGN, found, highest, owner)
    if highest > token:
        raise Refused(FENCED, found, highest, owner)
    return highest


def _lock(descriptor: int, folder: int, kind: int, deadline: float) -> None:
    pause = 0.0005
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Refused(BUSY, *read(folder)) from None
            time.sleep(pause)
            pause = min(pause * 2, 0.02)
    if not os.fstat(descriptor).st_nlink:
        _gone()


def _write(folder: int, stack: str, token: int, owner: str) -> None:
    """Atomically; not synced, since nothing that a lab runs outlives the machine that would lose it."""
    temporary = f".{OWNER}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        os.write(descriptor, f"{stack}\n{token}\n{owner}\n".encode(errors="replace"))
    finally:
        os.close(descriptor)
    os.rename(temporary, OWNER, src_dir_fd=folder, dst_dir_fd=folder)


def _gone() -> NoReturn:
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), LOCK)
