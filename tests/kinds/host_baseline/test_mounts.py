"""Mounts by other names of a device, and within each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmctl.kinds.host_baseline.aspects.mounts import MOUNTS
from tests.kinds.host_baseline import machine as machines

pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(machines.missing()), reason=machines.missing())]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[machines.Machine]:
    with machines.Machine(tmp_path) as made:
        made.sh("printf '# theirs\\n' >/etc/fstab; mount -t tmpfs tmpfs /mnt")
        yield made


@pytest.fixture
def disks(machine: machines.Machine) -> Iterator[list[str]]:
    """Two file systems on devices."""
    found = []
    for name in ("one", "two"):
        image = f"/run/{name}.img"
        machine.sh(f"truncate -s 8M {image}; mkfs.ext4 -q {image}")
        made = machine.run(("losetup", "-f", "--show", image), check=False)
        if made.returncode:
            pytest.skip("needs loop devices")
        found.append(made.text.strip())
    yield found
    for one in found:
        machine.sh(f"umount -A -R {one} 2>/dev/null || :; losetup -d {one}")


def inputs(*mounts: tuple[str, str]) -> dict[str, Any]:
    kinds = {"tmpfs": "tmpfs"}
    declared = {
        path: {"device": device, "type": kinds.get(device, "ext4"), "options": ["nosuid", "nodev", "nofail"]}
        for path, device in mounts
    }
    base = {"machine": "m", "host": {"backend": "test", "node": "n1"}, "node": "n1", "baseline": "b"}
    return {**base, "mounts": declared}


def applied(machine: machines.Machine, wanted: dict[str, Any]) -> None:
    """Made so; then it is so."""
    hosts: Any = machines.OneHost(machine)
    MOUNTS.create(hosts, wanted)
    hosts.changed({})
    observed = MOUNTS.read(hosts, wanted)
    assert observed is not None
    assert observed.inputs == wanted


def gone(machine: machines.Machine) -> None:
    hosts: Any = machines.OneHost(machine)
    MOUNTS.delete(hosts, inputs())
    assert machine.sh("cat /etc/fstab") == "# theirs\n"


def places(machine: machines.Machine) -> list[str]:
    """What is mounted at /mnt/a and below."""
    found = (line.split()[1] for line in machine.sh("cat /proc/mounts").splitlines())
    return sorted(path for path in found if path.startswith("/mnt/a"))


def test_a_device_by_a_link_is_the_one_it_leads_to(machine: machines.Machine, disks: list[str]) -> None:
    machine.sh(f"mkdir -p /run/by-id; ln -s {disks[0]} /run/by-id/scratch=1; ln -s by-id/scratch=1 /run/other")
    wanted = inputs(("/mnt/scratch", "/run/by-id/scratch=1"))
    applied(machine, wanted)
    machine.sh("echo kept >/mnt/scratch/file; cd /mnt/scratch; sleep 30 >/dev/null 2>&1 &")
    for path in ("/run/other", disks[0]):
        applied(machine, inputs(("/mnt/scratch", path)))  # it is in use, so unmounting would be an error
    applied(machine, inputs(("/mnt/scratch", "/run/other")))
    machine.sh(f"ln -sfn {disks[1]} /run/other")
    observed = MOUNTS.read(machines.OneHost(machine), inputs(("/mnt/scratch", "/run/other")))  # type: ignore[arg-type]
    assert observed is not None
    assert observed.inputs["mounts"]["/mnt/scratch"]["device"] == disks[0], "another device is told by its name"


def test_mounts_within_each_other_are_given_back_from_the_inside_out(
    machine: machines.Machine, disks: list[str]
) -> None:
    both = inputs(("/mnt/a", disks[0]), ("/mnt/a/b", "tmpfs"), ("/mnt/a/b/c", disks[1]))
    applied(machine, both)
    applied(machine, inputs(("/mnt/a", disks[0])))
    assert places(machine) == ["/mnt/a"]
    assert machine.sh("ls /mnt/a") == "lost+found\n", "the folder was the baseline's"
    applied(machine, both)
    gone(machine)
    assert places(machine) == []
    assert machine.sh("ls /mnt") == ""


def test_what_is_within_a_mount_makes_way_for_another_device_and_comes_back(
    machine: machines.Machine, disks: list[str]
) -> None:
    first, then = (inputs(("/mnt/a", device), ("/mnt/a/b", disks[0])) for device in ("tmpfs", disks[1]))
    applied(machine, first)
    assert MOUNTS.impact_of(first, then) == "unmounts /mnt/a, /mnt/a/b and mounts what is declared"
    machine.sh("echo kept >/mnt/a/b/file")
    applied(machine, then)
    assert machine.sh("cat /mnt/a/b/file") == "kept\n"
    gone(machine)
    assert places(machine) == []
