"""The filter on system calls inside a node: what capabilities alone don't take away.

Keyrings belong to a user and not to a namespace; a new user namespace would bring every capability back; handles of
files reach around mounts. Numbers: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

import struct

_NAMES = (
    "add_key request_key keyctl bpf perf_event_open userfaultfd open_by_handle_at kexec_load kexec_file_load "
    "init_module finit_module delete_module reboot settimeofday clock_settime mount umount2 pivot_root swapon swapoff "
    "acct syslog quotactl setns vhangup lookup_dcookie"
)
_X86_64 = (
    *(248, 249, 250, 321, 298, 323, 304, 246, 320),
    *(175, 313, 176, 169, 164, 227, 165, 166, 155, 167, 168),
    *(163, 103, 179, 308, 153, 212),
)
_AARCH64 = (
    *(217, 218, 219, 280, 241, 282, 265, 104, 294),
    *(105, 273, 106, 142, 170, 112, 40, 39, 41, 224, 225),
    *(89, 116, 60, 268, 58, 18),
)
_BOTH = (425, 426, 427, 428, 429, 430, 431, 432, 433, 442, 443)
"""io_uring_*, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr, quotactl_fd."""
_CLONE3 = 435
_VSOCK = 40
"""Address family that leads past every network namespace, to the hypervisor and its other machines."""
_IOPL_IOPERM = (172, 173)

ARCHITECTURES = {
    # audit architecture, denied, clone, unshare, socket
    "x86_64": (0xC000003E, (*_X86_64, *_BOTH, *_IOPL_IOPERM), 56, 272, 41),
    "aarch64": (0xC00000B7, (*_AARCH64, *_BOTH), 220, 97, 198),
}
DENIED = tuple(zip(_NAMES.split(), _X86_64, strict=True))
"""Name and x86-64 number of what is denied, for the tests."""

_NAMESPACES = 0x7E020000
_NEWTIME = 0x80  # for unshare only: in clone these bits are the signal at exit

_LOAD, _EQUAL, _ANY_BIT, _AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW, _EPERM, _ENOSYS, _EAFNOSUPPORT = 0x7FFF0000, 0x00050000 | 1, 0x00050000 | 38, 0x00050000 | 97


def filter_program(machine: str) -> bytes:
    """The classic BPF program for `machine` as uname names it; empty where the numbers aren't known."""
    if machine not in ARCHITECTURES:
        return b""
    architecture, denied, clone, unshare, socket = ARCHITECTURES[machine]
    # seccomp_data: number at 0, architecture at 4, low half of the first argument at 16
    code = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _ENOSYS), (_LOAD, 0, 0, 0)]
    if machine == "x86_64":
        code += [(_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _ENOSYS)]  # the x32 numbers
    for number, mask in ((clone, _NAMESPACES), (unshare, _NAMESPACES | _NEWTIME)):
        code += [(_EQUAL, 0, 4, number), (_LOAD, 0, 0, 16), (_ANY_BIT, 0, 1, mask)]
        code += [(_RETURN, 0, 0, _EPERM), (_RETURN, 0, 0, _ALLOW)]
    code += [(_EQUAL, 0, 4, socket), (_LOAD, 0, 0, 16), (_EQUAL, 0, 1, _VSOCK)]
    code += [(_RETURN, 0, 0, _EAFNOSUPPORT), (_RETURN, 0, 0, _ALLOW)]
    # Its flags stand in memory, where a filter can't look; the C library falls back to clone.
    code += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ENOSYS)]
    for number in denied:
        code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _EPERM)]
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
