"""The guest itself: a kernel and a systemd of its own, and that nothing is left of it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from swarmctl.backends.ssh.host import SshHost
from swarmctl.backends.ssh.transport import Transport

from .machine import Guest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.xdist_group("guest"),
    pytest.mark.timeout(1200),
]


def test_a_guest_has_a_kernel_and_a_systemd_of_its_own(guest: Guest, transport: Transport) -> None:
    host = SshHost(guest.host("ops"), None, transport)
    script = (
        "set -eu; systemctl is-system-running; cat /proc/1/comm; uname -r; id -u; lsblk -dno NAME,SIZE /dev/vdb;"
        "ip link add probe type wireguard; ip -d link show probe | grep -o wireguard"
    )
    said = host.run(["sh", "-c", script], timeout=60).text.splitlines()
    assert said[:2] == ["running", "systemd"]
    assert said[2].endswith("-cloud-amd64")
    assert said[2] != os.uname().release
    assert said[3:] == ["0", "vdb    1G", "wireguard"]


def test_a_guest_has_swap_modules_switches_and_a_clock_of_its_own(guest: Guest, transport: Transport) -> None:
    host = SshHost(guest.host("ops"), None, transport)
    here = {name: Path("/proc", name).read_text() for name in ("swaps", "sys/vm/swappiness")}
    script = (
        "set -eu; mkswap -q /dev/vdb; swapon /dev/vdb; grep -c ^/dev/vdb /proc/swaps; swapoff /dev/vdb;"
        "modprobe dummy; grep -c ^dummy /proc/modules; sysctl -qw vm.swappiness=7; cat /proc/sys/vm/swappiness;"
        "date -s 2031-01-02T03:04:05Z +%Y"
    )
    assert host.run(["sh", "-c", script], timeout=120).text.split() == ["1", "1", "7", "2031"]
    assert {name: Path("/proc", name).read_text() for name in here} == here
    assert time.gmtime().tm_year != 2031
