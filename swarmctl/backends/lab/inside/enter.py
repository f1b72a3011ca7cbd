"""Commands and services in a node: enter its namespaces, drop rights, and only then load anything of the node's."""

from __future__ import annotations

import _socket
import fcntl
import os
import select
import struct

from . import daemon, fence, kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

NOT_EXECUTABLE, NOT_FOUND = 126, 127
_TIOCSCTTY = 0x540E
_SIGKILL = 9
_ORDER = (
    ("ipc", kernel.CLONE_NEWIPC),
    ("uts", kernel.CLONE_NEWUTS),
    ("net", kernel.CLONE_NEWNET),
    ("cgroup", kernel.CLONE_NEWCGROUP),
    ("mnt", kernel.CLONE_NEWNS),
    ("user", kernel.CLONE_NEWUSER),
)
"""The user namespace last: who is in it has no right to enter the others any more."""


def prepare(request: dict[str, Any]) -> None:
    """Join the node's cgroups, and its process tree for the children to come."""
    kernel.hide_process()
    for descriptor in request["cgroups"]:
        os.write(descriptor, b"0")
    kernel.setns(request["ns"]["pid"], kernel.CLONE_NEWPID)


def join(request: dict[str, Any], *keep: int) -> None:
    """Enter every namespace of the node and drop rights. Its files are the only ones there are from here on."""
    for name, kind in _ORDER:
        if name in request["ns"]:
            kernel.setns(request["ns"][name], kind)
    daemon.close_others(*keep)
    kernel.reset_signals()
    kernel.drop_rights()


def run(request: dict[str, Any]) -> int:
    """Run one command with this process's standard streams; its status is the result, 128 + N after signal N."""
    prepare(request)
    life = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    child = os.fork()
    if not child:
        os.close(life[1])
        _command(request, life[0])
    # This process holds the fence as long as the command may run, and longer than it may, it does not.
    if request["held"] >= 0 and not _ends_within(child, request["fence"]["limit"]):
        os.waitpid(child, 0)
        return fence.tell(request["fence"]["nonce"], fence.OVERDUE)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _ends_within(child: int, seconds: float) -> bool:
    """Wait for a child, and kill it and its group when it takes too long."""
    ended = os.pidfd_open(child)
    try:
        watched = select.poll()
        watched.register(ended, select.POLLIN)
        if watched.poll(seconds * 1000):
            return True
        try:
            os.killpg(child, _SIGKILL)
        except ProcessLookupError:  # it has not got so far as to have a group
            os.kill(child, _SIGKILL)
        return False
    finally:
        os.close(ended)


def _command(request: dict[str, Any], life: int) -> NoReturn:
    """`life` reads as ended when the parent is gone, which holds the fence: from then on nothing may be begun."""
    os.setsid()
    if request.get("tty"):
        fcntl.ioctl(0, _TIOCSCTTY, 0)
    argv = request["argv"]
    try:
        join(request, life)
        kernel.die_with_parent()
        if _ended(life):
            os._exit(NOT_EXECUTABLE)
        daemon.execute(argv, request["env"])
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode(errors="replace"))
        os._exit(NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE)


def _ended(life: int) -> bool:
    try:
        return not os.read(life, 1)
    except BlockingIOError:
        return False


def service(request: dict[str, Any]) -> int:
    """Start a process that stays, its output going to the descriptor `log`; announces its process id."""
    prepare(request)
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_DGRAM)
    ours.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
    child = os.fork()
    if not child:
        # Forked twice within the node's process tree: its own first process inherits and reaps the service.
        if os.fork():
            os._exit(0)
        _serve(request, theirs)
    os.waitpid(child, 0)
    theirs.close()
    # The kernel translates the sender's process id into what it is called out here.
    _, control, _, _ = ours.recvmsg(1, _socket.CMSG_SPACE(12))
    daemon.announce(struct.unpack("3i", control[0][2])[0])
    return 0


def _serve(request: dict[str, Any], theirs: _socket.socket) -> NoReturn:
    os.setsid()
    theirs.send(b"x")
    daemon.wait_for_go()
    report = daemon.keep_report()
    for descriptor in (1, 2):
        os.dup2(request["log"], descriptor)
    join(request, report)
    daemon.become(report, request["argv"], request["env"])
