"""After a restart a machine has its firewall before its network, and its tunnel again, without any apply."""

from __future__ import annotations

import time

import pytest

from swarmctl.backends.reboot import boot_id, reboot
from swarmctl.backends.ssh.transport import Transport
from swarmctl.errors import SwarmError

from .machine import Guest
from .node import Node, Patient, across

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("guest")]
LEFT = "ls -d /etc/swarmctl/startup /etc/systemd/system/*/swarmctl-* /etc/systemd/system/swarmctl-* 2>/dev/null || :"


def monotonic(node: Node, unit: str, moment: str) -> int:
    """When a unit came to that, in microseconds since boot, as systemd has recorded it."""
    return int(node.sh(f"systemctl show -p {moment}TimestampMonotonic --value {unit}"))


def test_firewall_and_mesh_come_back_by_themselves(guest: Guest, transport: Transport) -> None:
    node = Node(guest, transport)
    machine = Patient(guest.host(), None, transport)
    with across(guest) as other:
        node.declare(other.key)
        assert node.apply() == ["firewall", "interface", "peers"]
        other.know(node)
        assert other.reaches()
        assert node.apply() == []

        # Nothing that is told or kept has a key in it.
        secrets = node.sh(
            "cat /etc/swarmctl/mesh/backbone/private.key; cat /etc/swarmctl/mesh/backbone/psk/*/*"
        ).split()
        kept = node.sh("cat /etc/swarmctl/startup/* /etc/systemd/system/swarmctl-*")
        assert len(secrets) == 2
        assert not [secret for secret in secrets if secret in kept]

        # A change that is not confirmed when the power goes is not what a restart brings.
        node.declare(other.key, mtu=1280)
        assert node.apply(confirmed=False) == ["interface: mtu"]
        assert "mtu 1280" in node.sh("ip link show wg0")
        node.sh("sync")
        reboot(machine, timeout=guest.patience)
        assert other.reaches(), node.sh("journalctl -b -u 'swarmctl-*' --no-pager; wg show; nft list ruleset")
        assert "mtu 1380" in node.sh("ip link show wg0")
        assert node.sh("ls /etc/swarmctl/guard/deadline 2>/dev/null || :") == ""

        firewall = monotonic(node, "swarmctl-firewall.service", "ActiveEnter")
        assert 0 < firewall < monotonic(node, "systemd-networkd.service", "ExecMainStart")
        assert firewall < monotonic(node, "swarmctl-mesh.service", "InactiveExit")
        assert node.sh("systemctl is-failed 'swarmctl-*' || :").count("failed") == 0
        node.declare(other.key)
        assert node.apply() == []

        # What is missing or old is seen, and mended.
        node.sh("rm /etc/systemd/system/sysinit.target.wants/swarmctl-firewall.service")
        node.sh("sed -i s/1380/1400/ /etc/swarmctl/startup/wg0.interface; rm /etc/swarmctl/startup/wg0.peers")
        assert node.apply() == ["firewall: startup", "interface: startup", "peers: startup"]
        assert node.apply() == []

        node.delete()
        assert node.sh(LEFT) == ""


def test_a_power_cut_in_the_middle_of_an_apply_is_made_good_by_the_next_one(guest: Guest, transport: Transport) -> None:
    node = Node(guest, transport)
    machine = Patient(guest.host(), None, transport)
    with across(guest) as other:
        node.declare(other.key)
        node.apply("firewall", "interface")
        before = boot_id(machine)
        guest.monitor("system_reset")
        deadline = time.monotonic() + guest.patience
        while (after := _boot(machine)) in ("", before):
            assert time.monotonic() < deadline, guest.console()[-2000:]
            time.sleep(1)
        # Neither was confirmed or recorded: all of it is looked at anew, and what is there is adopted.
        node.confirmed.clear()
        assert after
        assert node.apply() == ["firewall", "interface", "peers"]
        other.know(node)
        assert other.reaches()
        assert node.apply() == []


def _boot(machine: Patient) -> str:
    try:
        return boot_id(machine)
    except SwarmError:
        return ""
