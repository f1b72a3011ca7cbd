"""System calls that Python 3.11 has no function for, and the rights a node keeps."""

from __future__ import annotations

import ctypes
import os
import sys

from .seccomp import filter_program

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_REC = 1 << 10, 1 << 11, 1 << 12, 1 << 14
MS_PRIVATE, MS_SLAVE, MS_RELATIME = 1 << 18, 1 << 19, 1 << 21
MNT_DETACH = 2
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x00020000, 0x02000000, 0x04000000
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x08000000, 0x10000000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_READ, PR_CAPBSET_DROP = 1, 4, 22, 23, 24
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
KEYCTL_JOIN_SESSION_KEYRING = 1

KEPT = (
    0,  # CHOWN
    1,  # DAC_OVERRIDE
    3,  # FOWNER
    4,  # FSETID
    5,  # KILL
    6,  # SETGID
    7,  # SETUID
    8,  # SETPCAP: to drop more
    10,  # NET_BIND_SERVICE
    12,  # NET_ADMIN: WireGuard, nftables, routes, all of the node's own network namespace
    13,  # NET_RAW: ping
    18,  # SYS_CHROOT
    29,  # AUDIT_WRITE: what sshd and login need
    31,  # SETFCAP: what package managers need
)
"""Capabilities inside a node, by number (linux/capability.h); everything else is out of reach, also for root there."""

_libc = ctypes.CDLL(None, use_errno=True)
_RESTARTED = "SWARMCTL_LAB_RESTARTED"


class _SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _call(name: str, *arguments: object) -> int:
    result: int = getattr(_libc, name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        shown = ", ".join(
            argument.decode(errors="replace") if isinstance(argument, bytes) else "-"
            for argument in arguments
            if not isinstance(argument, int)
        )
        raise OSError(number, f"{name}({shown}): {os.strerror(number)}")
    return result


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2). Raises OSError."""
    text = [part.encode() or None for part in (source, target, kind, data)]
    _call("mount", text[0] or b"none", text[1], text[2], ctypes.c_ulong(flags), text[3])


def bind(source: str, target: str, *, read_only: bool = False, recursive: bool = False) -> None:
    """Bind `source` on `target`. The flags that the source has stay: a user namespace may not take them away."""
    mount(source, target, flags=MS_BIND | (MS_REC if recursive else 0))
    if read_only:
        remount_read_only(target)


def remount_read_only(target: str) -> None:
    """Make one mount read-only, keeping its other flags."""
    has = os.statvfs(target).f_flag
    keep = has & (MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME)
    keep |= MS_RELATIME if has & 4096 else 0  # ST_RELATIME has another value than MS_RELATIME
    mount("", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY | keep)


def detach(target: str) -> None:
    """umount2(2), lazily."""
    _call("umount2", target.encode(), MNT_DETACH)


def unshare(flags: int) -> None:
    """unshare(2). Raises OSError."""
    _call("unshare", flags)


def setns(descriptor: int, kind: int) -> None:
    """setns(2). Raises OSError."""
    _call("setns", descriptor, kind)


def pivot_root(root: str) -> None:
    """Make the mount at `root` the root of this mount namespace and take the old one away."""
    os.chdir(root)
    _call("pivot_root", b".", b".")
    detach(".")
    os.chdir("/")


def sethostname(name: str) -> None:
    """sethostname(2) in this UTS namespace."""
    _call("sethostname", name.encode(), len(name.encode()))


def new_user_namespace(uid: int, gid: int) -> None:
    """A user namespace in which this user is root and nobody else exists."""
    unshare(CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as stream:
            stream.write(text)


def exe_is_read_only() -> bool:
    """Whether the program that runs here can't be written through /proc/PID/exe.

    A node's command may be a script whose interpreter is `/proc/self/exe`: then this machine's own program runs in
    the node, and root there could overwrite it.
    """
    return bool(os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY)


def restart_read_only() -> None:
    """Start this program again from a read-only mount in a mount namespace of its own. Raises OSError."""
    if os.environ.get(_RESTARTED):
        raise OSError(f"{sys.executable} can't be mounted read-only")
    program = os.readlink("/proc/self/exe")
    unshare(CLONE_NEWNS)
    # Slave, not private: what this machine unmounts must not stay busy because of a lab.
    mount("", "/", flags=MS_REC | MS_SLAVE)
    bind(program, program, read_only=True)
    os.environ[_RESTARTED] = "1"
    os.execve(program, [program, *sys.orig_argv[1:]], os.environ)


def die_with_parent() -> None:
    """Get SIGKILL when the parent ends. A change of credentials takes this back: call it last."""
    _call("prctl", PR_SET_PDEATHSIG, 9, 0, 0, 0)


def hide_process() -> None:
    """Not dumpable: nobody in the node may trace this process or read its /proc entries."""
    _call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)


def reset_signals() -> None:
    """Default dispositions and an empty mask: what this process was started with must not reach the node."""
    for number in range(1, 32):
        _libc.signal(number, None)
    _call("sigprocmask", 2, ctypes.create_string_buffer(128), None)


def ignore_children() -> None:
    """Ignore SIGCHLD, also after exec: the kernel then reaps every orphan, so that `sleep` makes a whole init."""
    _libc.signal(17, ctypes.c_void_p(1))


def drop_rights() -> None:
    """Keep `KEPT` and nothing else, now and over every later exec, and filter system calls."""
    # A session keyring of its own; the kernel may lack keyrings altogether.
    _libc.syscall(_KEYCTL.get(os.uname().machine, -1), KEYCTL_JOIN_SESSION_KEYRING, None)
    capability = 0
    while _libc.prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0:
        if capability not in KEPT:
            _call("prctl", PR_CAPBSET_DROP, capability, 0, 0, 0)
        capability += 1
    _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    data = (ctypes.c_uint32 * 6)()
    _call("capget", header, data)
    masks = (sum(1 << bit for bit in KEPT if bit < 32), sum(1 << (bit - 32) for bit in KEPT if bit >= 32))
    for word, mask in enumerate(masks):
        permitted = data[word * 3 + 1] & mask
        data[word * 3], data[word * 3 + 1], data[word * 3 + 2] = permitted, permitted, 0
    _call("capset", header, data)
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    program = filter_program(os.uname().machine)
    if program:
        buffer = ctypes.create_string_buffer(program, len(program))
        prog = _SockFprog(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
        _call("prctl", PR_SET_SECCOMP, 2, ctypes.byref(prog), 0, 0)


_KEYCTL = {"x86_64": 250, "aarch64": 219}
