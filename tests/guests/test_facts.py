"""Facts of a machine with a kernel, modules and a systemd of its own."""

from __future__ import annotations

import pytest

from swarmctl.backends.ssh.host import SshHost
from swarmctl.backends.ssh.transport import Transport
from swarmctl.hosts.system import READING
from tests.guests.machine import Guest

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("guest")]


def test_facts_of_a_guest(guest: Guest, transport: Transport) -> None:
    host = SshHost(guest.host(), None, transport)
    # An emulated machine on a busy computer takes its time.
    found = READING.parse(host.run(READING.argv, timeout=4 * READING.timeout, check=False).stdout, "guest")
    assert host.run(["hostname"]).text.strip() == found.hostname
    assert host.run(["uname", "-r"]).text.strip() == found.kernel
    assert (found.os.id, found.init, found.cgroups) == ("debian", "systemd", 2)
    assert found.virtualisation.machine not in (None, "none")
    assert found.virtualisation.container == "none"
    # Modules of its own, which a container of this computer has not.
    loaded = {line.split()[0] for line in host.run(["cat", "/proc/modules"]).text.splitlines()}
    assert found.modules is not None
    assert set(found.modules) >= loaded
    assert found.secure_boot is False
    assert [disk.used for disk in found.disks or ()].count(True) >= 1
    assert any(nic.driver and nic.pci for nic in found.nics or ())
    assert found.pci
