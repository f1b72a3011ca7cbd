"""A process that outlives its maker, and comes to life only when the maker has written down that it exists."""

from __future__ import annotations

import errno
import fcntl
import os
import sys

from . import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def announce(pid: int) -> None:
    """Tell the maker the process id, as it sees it."""
    os.write(1, f"{pid}\n".encode())


def wait_for_go() -> None:
    """Block until the maker says go on standard input; end when it is gone instead."""
    if os.read(0, 1) != b"g":
        os._exit(0)


def keep_report() -> int:
    """Move standard output away: what is written there is an error, its end without a word means success.

    Whatever goes wrong from here on is reported.
    """
    report = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    if null > 2:
        os.close(null)
    sys.excepthook = lambda _kind, error, _trace: fail(report, error)
    return report


def become(report: int, argv: list[str], env: dict[str, str]) -> NoReturn:
    """Exec `argv`, or report why not and end."""
    try:
        execute(argv, env)
    except OSError as error:
        fail(report, OSError(error.errno, f"{argv[0]}: {os.strerror(error.errno or 0)}"))


def execute(argv: list[str], env: dict[str, str]) -> NoReturn:
    """Exec the program that PATH in `env` leads to. Raises OSError. (`os.execvpe` imports a module first.)"""
    wrong: OSError = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    folders = [""] if "/" in argv[0] else [f"{folder}/" for folder in env["PATH"].split(":")]
    for folder in folders:
        try:
            os.execve(folder + argv[0], argv, env)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            wrong = error
    raise wrong


def fail(report: int, error: BaseException) -> NoReturn:
    """Report and end."""
    os.write(report, f"{str(error) or type(error).__name__}\n".encode(errors="replace"))
    os._exit(125)


def close_others(*keep: int) -> None:
    """Close every descriptor above 2 but `keep`: descriptors of this machine must not reach a node."""
    low = 3
    for descriptor in sorted(keep):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, 1 << 20)


def sleep_forever(report: int, env: dict[str, str]) -> NoReturn:
    """Become the process that holds the namespaces, and as their first process reaps orphans."""
    kernel.reset_signals()
    kernel.ignore_children()
    become(report, ["sleep", "infinity"], env)
