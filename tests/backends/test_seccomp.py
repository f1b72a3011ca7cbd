"""The filter on system calls, run here as the kernel runs it."""

from __future__ import annotations

import struct

import pytest

from swarmctl.backends.lab.inside.seccomp import ARCHITECTURES, DENIED, filter_program

ALLOW, EPERM, ENOSYS, EAFNOSUPPORT = 0x7FFF0000, 0x00050001, 0x00050026, 0x00050061
CLONE_NEWUSER, CLONE_THREAD_FLAGS = 0x10000000, 0x3D0F00


def verdict(program: bytes, architecture: int, number: int, argument: int = 0) -> int:
    """Classic BPF, the few instructions that are used."""
    code = list(struct.iter_unpack("=HBBI", program))
    data = struct.pack("=IIQQ", number, architecture, 0, argument)
    accumulator, at = 0, 0
    while True:
        operation, true, false, value = code[at]
        at += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("=I", data, value)[0]
        elif operation == 0x06:
            return value
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[operation]
            at += true if holds else false


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_what_is_denied_is_denied_and_what_programs_need_is_allowed(machine: str) -> None:
    architecture, denied, clone, unshare, socket = ARCHITECTURES[machine]
    program = filter_program(machine)
    for number in denied:
        assert verdict(program, architecture, number) == EPERM
    assert verdict(program, architecture, clone, CLONE_THREAD_FLAGS | 17) == ALLOW
    assert verdict(program, architecture, clone, CLONE_NEWUSER | 17) == EPERM
    assert verdict(program, architecture, unshare, 0x400) == ALLOW  # CLONE_FILES
    assert verdict(program, architecture, unshare, CLONE_NEWUSER) == EPERM
    assert verdict(program, architecture, 435) == ENOSYS  # clone3
    assert verdict(program, architecture, socket, 40) == EAFNOSUPPORT  # AF_VSOCK
    assert verdict(program, architecture, socket, 2) == ALLOW  # AF_INET
    allowed = set(range(500)) - {*denied, clone, unshare, 435}
    assert {verdict(program, architecture, number) for number in allowed} == {ALLOW}


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_system_calls_by_other_numbers_do_not_exist(machine: str) -> None:
    program = filter_program(machine)
    assert verdict(program, 0x40000003, 1) == ENOSYS  # i386
    if machine == "x86_64":
        assert verdict(program, ARCHITECTURES[machine][0], 0x40000000 + 1) == ENOSYS


def test_a_machine_whose_numbers_are_not_known_has_no_filter() -> None:
    assert filter_program("s390x") == b""


def test_names_and_numbers_of_what_is_denied_go_together() -> None:
    assert dict(DENIED)["mount"] == 165
    assert dict(DENIED)["lookup_dcookie"] == 212
    assert dict(DENIED)["keyctl"] == 250
