"""After a restart a machine has its firewall before its network, and its tunnel again, without any apply."""

from __future__ import annotations

import time
from base64 import b64encode

import pytest

from swarmctl.backends.reboot import Unconfirmed, boot_id, reboot
from swarmctl.backends.ssh.transport import Transport
from swarmctl.errors import SwarmError

from .machine import Guest
from .node import Node, Patient, across

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.xdist_group("guest"),
    # A guest whose processor is emulated needs minutes to boot where others are at work.
    pytest.mark.timeout(1200),
]
LEFT = "ls -d /etc/swarmctl/startup /etc/systemd/system/*/swarmctl-* /etc/systemd/system/swarmctl-* 2>/dev/null || :"
SEEN = """
ip link show wg0 | grep -o 'mtu [0-9]*'
[ ! -e /etc/swarmctl/guard/deadline ] && echo settled
for unit in swarmctl-firewall systemd-networkd swarmctl-mesh; do
  systemctl show -p Result --value $unit
  systemctl show -p ExecMainStartTimestampMonotonic --value $unit
  systemctl show -p ActiveEnterTimestampMonotonic --value $unit
done
"""


@pytest.mark.soak
def test_firewall_and_mesh_come_back_by_themselves(guest: Guest, transport: Transport) -> None:
    node = Node(guest, transport)
    machine = Patient(guest.host(), None, transport)
    with across(guest) as other:
        node.declare(other.key)
        assert node.apply() == ["firewall", "interface", "peers"]
        other.know(node)
        assert other.reaches()

        # A change that is not confirmed when the machine goes is not what a restart brings.
        node.declare(other.key, mtu=1280)
        assert node.apply("interface", confirmed=False) == ["interface: mtu"]
        with pytest.raises(Unconfirmed, match="wait to be confirmed"):
            reboot(machine, timeout=guest.patience)
        before = boot_id(machine)
        node.sh("systemctl --no-block --no-wall reboot", check=False)
        _started_anew(guest, machine, before)
        assert other.reaches(), node.sh("journalctl -b -u 'swarmctl-*' --no-pager; wg show; nft list ruleset")

        mtu, settled, *units = node.sh(SEEN).splitlines()
        assert (mtu, settled) == ("mtu 1380", "settled")
        assert units[::3] == ["success"] * 3
        _, firewall, network, _, mesh, _ = (int(moment) for index, moment in enumerate(units) if index % 3)
        assert 0 < firewall < network
        assert firewall < mesh
        node.declare(other.key)
        assert node.apply() == []


@pytest.mark.soak
def test_a_power_cut_in_the_middle_of_an_apply_is_made_good_by_the_next_one(guest: Guest, transport: Transport) -> None:
    node = Node(guest, transport)
    machine = Patient(guest.host(), None, transport)
    with across(guest) as other:
        node.declare(other.key)
        node.apply("firewall", "interface")
        before = boot_id(machine)
        guest.monitor("system_reset")
        _started_anew(guest, machine, before)
        # Nothing of it was recorded: all of it is looked at anew, and what is there is adopted.
        node.confirmed.clear()
        assert node.apply() == ["firewall", "interface", "peers"]
        other.know(node)
        assert other.reaches()


@pytest.mark.soak
def test_what_would_not_come_back_is_seen_and_mended_and_nothing_is_left_of_it(
    guest: Guest, transport: Transport
) -> None:
    node = Node(guest, transport)
    node.declare(b64encode(bytes(range(1, 33))).decode())
    node.apply()
    assert node.apply() == []

    # Nothing that is kept for a restart has a key in it.
    secrets = node.sh("cd /etc/swarmctl/mesh/backbone; cat private.key psk/*/*").split()
    kept = node.sh("cat /etc/swarmctl/startup/* /etc/systemd/system/swarmctl-*")
    assert len(secrets) == 2
    assert not [secret for secret in secrets if secret in kept]

    node.sh(
        "rm /etc/systemd/system/sysinit.target.wants/swarmctl-firewall.service /etc/swarmctl/startup/wg0.peers;"
        "sed -i s/1380/1400/ /etc/swarmctl/startup/wg0.interface"
    )
    assert node.apply() == ["firewall: startup", "interface: startup", "peers: startup"]
    assert node.apply() == []
    node.delete()
    assert node.sh(LEFT) == ""


def _started_anew(guest: Guest, machine: Patient, before: str) -> None:
    deadline = time.monotonic() + guest.patience
    while _boot(machine) in ("", before):
        assert time.monotonic() < deadline, guest.console()[-2000:]
        time.sleep(1)


def _boot(machine: Patient) -> str:
    try:
        return boot_id(machine)
    except SwarmError:
        return ""
