"""The guest itself: a kernel and a systemd of its own, and that nothing is left of it."""

from __future__ import annotations

import os

import pytest

from swarmctl.backends.ssh.host import SshHost
from swarmctl.backends.ssh.transport import Transport

from .machine import Guest

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("guest")]


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
