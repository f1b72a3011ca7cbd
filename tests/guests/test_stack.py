"""A pool over SSH, applied by the real command line to a machine with a kernel, a systemd and a boot loader of its own.

Who logs in there is not root. Beside it is a machine in namespaces, which must not care for what happens to it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmctl.backends.reboot import reboot
from swarmctl.backends.ssh.transport import Transport
from swarmctl.errors import SwarmError
from tests.debian import machines
from tests.debian.build import Deb
from tests.debian.repository import Key, Repository, missing
from tests.guests import machine
from tests.guests.machine import Guest
from tests.guests.node import Patient
from tests.guests.stack import OTHER, Stack, together

pytestmark = [
    pytest.mark.integration,
    pytest.mark.soak,  # a guest whose processor is emulated needs minutes
    pytest.mark.xdist_group("guest"),
    pytest.mark.timeout(2400),
]
ANNA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJd/gxLSi2ZbVLR8Zt0HoLSF8CZ4jcTkBn0nsAuAy7Zb anna"
BASELINE = f"""
apiVersion: swarmctl/v1alpha1
kind: HostBaseline
metadata: {{name: real}}
spec:
  nodes: {{real: "true"}}
  kernel: {{parameters: [iommu=pt, hugepagesz=2M, hugepages=4]}}
  sysctl: {{vm.swappiness: 11, kernel.panic: 7}}
  users: [{{name: anna, sudo: true, shell: /bin/bash, authorizedKeys: [{ANNA}]}}]
  timeSync: {{servers: [192.0.2.123]}}
  securityUpgrades: {{}}
  mounts: [{{path: /scratch, device: LABEL=scratch, type: ext4, options: [noatime, nosuid, nodev, nofail]}}]
  swap: "off"
"""
PREPARED = """
dd if=/dev/zero of=/swapfile bs=1M count=16 status=none; chmod 600 /swapfile; mkswap -q /swapfile
echo '/swapfile none swap sw 0 0' >>/etc/fstab; swapon /swapfile
mkfs.ext4 -q -L scratch /dev/vdb; udevadm settle
"""
UPGRADES = Deb("unattended-upgrades", "2.9.1-1", files={"/usr/bin/unattended-upgrade": "#!/bin/sh\n"})
"""A stand-in: there is nothing to upgrade."""
PARAMETERS = "iommu=pt hugepagesz=2M hugepages=4"
IN_FORCE = """
grep -c "$1" /proc/cmdline; awk '/HugePages_Total/ { print $2 }' /proc/meminfo; wc -l </proc/swaps
findmnt -rno SOURCE /scratch; cat /proc/sys/vm/swappiness; systemctl is-enabled swap.target
dpkg-query -Wf '${Version}\\n' unattended-upgrades; systemctl is-active apt-daily-upgrade.timer
setpriv --reuid=anna --clear-groups --rgid=anna sudo -n id -u; systemctl is-system-running --wait
"""
BEFORE = """
cat /etc/fstab; wc -l </proc/swaps; systemctl is-enabled swap.target apt-daily.timer; getent passwd anna
findmnt -rno SOURCE /scratch; cat /proc/sys/vm/swappiness; dpkg --get-selections
find /etc/default/grub.d /etc/sudoers.d /etc/apt/apt.conf.d /var/lib/swarmctl/baseline -type f | sort
"""


@pytest.fixture
def stack(guest: Guest, tmp_path: Path, engine: object) -> Iterator[Stack]:
    with together(tmp_path, guest) as made:
        yield made


@pytest.fixture
def root(guest: Guest, transport: Transport) -> Patient:
    """The guest as root, by another way than swarmctl's."""
    return Patient(guest.host(), None, transport)


@pytest.fixture
def archive(root: Patient, tmp_path: Path) -> Iterator[None]:
    """The only repository that the guest takes packages from."""
    if lacking := missing():
        pytest.skip(f"not installed: {', '.join(lacking)}")
    key = Key()
    try:
        made = Repository(tmp_path / "repository", key)
        made.add(UPGRADES)
        sh(root, machines.BARE)
        machines.use(root, made)
        yield
    finally:
        key.close()


def sh(root: Patient, script: str, *words: str) -> str:
    return root.run(["sh", "-c", script, "sh", *words], timeout=90, check=False).text


def reached(stack: Stack, root: Patient, seconds: float = 120) -> bool:
    """Whether the guest answers over the mesh in time, asked by the machine beside it."""
    address = sh(root, "ip -o -4 addr show wg0").split()[3].partition("/")[0]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if "yes" in stack.on_other(f"ping -c 1 -W 2 {address} >/dev/null && echo yes || echo no"):
            return True
    return False


@pytest.mark.usefixtures("archive")
def test_a_baseline_holds_after_a_restart_and_is_given_back(stack: Stack, guest: Guest, root: Patient) -> None:
    sh(root, PREPARED)
    before = sh(root, BEFORE)
    stack.write("baseline.yaml", BASELINE)
    stack.fleet("apply", "--yes", timeout=600)
    assert "Nothing to change" in stack.fleet("apply", "--yes", timeout=300).out
    assert reached(stack, root)

    sh(root, "umount /scratch; systemctl stop systemd-timesyncd; sysctl -qw vm.swappiness=50; swapon /swapfile")
    found = stack.fleet("drift", "--format", "json", code=21, timeout=300).json["drift"]
    assert {entry["path"] for entry in found} == {"mounts./scratch", "running", "values.vm.swappiness", "swap"}
    stack.fleet("apply", "--yes", timeout=600)

    machine.restart_by_grub(guest)
    told = sh(root, IN_FORCE, PARAMETERS).split()
    assert told == ["1", "4", "1", "/dev/vdb", "11", "masked", "2.9.1-1", "active", "0", "running"]
    assert reached(stack, root)
    stack.fleet("drift", timeout=300)

    # What is isolated stays so.
    stack.declare(state="isolated")
    stack.fleet("apply", "--yes", timeout=600)
    rules = sh(root, "nft -s list table inet swarmctl")
    assert "tcp dport 22 accept" in rules
    assert "51820" not in rules
    reboot(root, timeout=guest.patience)
    assert sh(root, "nft -s list table inet swarmctl; ip link show wg0 2>/dev/null") == rules
    stack.fleet("drift", timeout=300)
    stack.declare()
    (stack.fleet.stack / "baseline.yaml").unlink()
    stack.fleet("apply", "--yes", timeout=600)
    assert reached(stack, root)
    assert sh(root, BEFORE) == before
    assert "iommu" not in sh(root, "cat /boot/grub/grub.cfg")


def test_a_restart_in_the_middle_of_a_rotation_leaves_the_tunnel_and_the_others_in_peace(
    stack: Stack, guest: Guest, root: Patient
) -> None:
    stack.fleet("apply", "--yes", timeout=600)
    assert reached(stack, root)
    began = sh(root, "cat /proc/sys/kernel/random/boot_id")
    rotation = stack.fleet.start("mesh", "rotate", "--yes")
    deadline = time.monotonic() + 300
    while "wg0-n" not in sh(root, "ls /etc/swarmctl/startup/wg0.turn/"):
        assert time.monotonic() < deadline
    guest.monitor("system_reset")
    out, error = rotation.communicate(timeout=600)
    assert rotation.returncode == 7, out + error
    assert "mesh/backbone[metal] on metal: " in error
    assert "1 change failed" in error

    deadline = time.monotonic() + guest.patience
    while _boot(root) in ("", began):
        assert time.monotonic() < deadline
    assert reached(stack, root), sh(root, "wg show; ip route; journalctl -b -u 'swarmctl-*' --no-pager")
    stack.fleet("apply", "--yes", timeout=600)
    stack.fleet("drift", timeout=300)
    assert sh(root, "ls -A /etc/swarmctl/startup").split() == [*STARTUP]
    assert OTHER in stack.fleet("status", timeout=300).out


STARTUP = ("firewall.nft", "start.sh", "wg0.interface", "wg0.peers")


def _boot(root: Patient) -> str:
    try:
        return sh(root, "cat /proc/sys/kernel/random/boot_id")
    except SwarmError:
        return ""
