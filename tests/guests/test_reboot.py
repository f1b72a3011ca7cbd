"""A restart of a machine that can, and of what can't."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmctl.backends.reboot import CannotReboot, boot_id, reboot
from swarmctl.backends.ssh.host import SshHost
from swarmctl.backends.ssh.transport import Transport
from tests.backends.ssh import servers
from tests.backends.ssh.conftest import server

from .machine import Guest

__all__ = ["server"]
pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.xdist_group("guest"),
    pytest.mark.timeout(1200),
]


@pytest.mark.soak
def test_a_guest_comes_back_as_another_boot(guest: Guest, transport: Transport) -> None:
    host = SshHost(guest.host("ops"), None, transport)
    host.run(["sh", "-c", "echo kept >/etc/kept; echo lost >/run/lost; sync"])
    before = boot_id(host)
    reboot(host, timeout=guest.patience)
    assert boot_id(host) != before
    assert host.run(["cat", "/etc/kept"]).text == "kept\n"
    assert host.get("/run/lost") is None


def test_a_host_of_namespaces_says_that_it_cannot(server: servers.Server, transport: Transport) -> None:
    with pytest.raises(CannotReboot, match="m1 can't be restarted: its first process is not systemd"):
        reboot(SshHost(server.host("worker"), None, transport), timeout=10)


def test_systemd_in_a_container_says_that_it_cannot(tmp_path: Path, transport: Transport) -> None:
    with servers.serving(tmp_path / "server", systemd=True) as server:
        host = SshHost(server.host(), None, transport)
        with pytest.raises(CannotReboot, match=r"m1 can't be restarted: it is a container"):
            reboot(host, timeout=10)
        assert host.run(["true"]).returncode == 0
