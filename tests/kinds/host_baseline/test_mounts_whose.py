"""Whose a mount is: a baseline's own is known whatever its label leads to, and nobody else's ever becomes one."""

from __future__ import annotations

from typing import Any

import pytest

from swarmctl.kinds.host_baseline.aspects.mounts import MOUNTS
from swarmctl.kinds.host_baseline.reading import RECORDS
from tests.kinds.host_baseline import machine as machines
from tests.kinds.host_baseline.test_mounts import applied, inputs, taken_away
from tests.kinds.host_baseline.test_mounts_kept import BTRFS, disks, machine, refused, sources

__all__ = ["disks", "machine"]
pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(machines.missing()), reason=machines.missing())]


def own_label(disks: list[str]) -> str:
    """A label that no device of another test has: all tests of this machine see the same devices."""
    return f"own-{disks[0].rpartition('/')[2]}"


@pytest.mark.parametrize("destroyed", [False, True], ids=["applied", "destroyed"])
def test_a_label_that_is_another_device_s_by_now(machine: machines.Machine, disks: list[str], destroyed: bool) -> None:
    label = own_label(disks)
    machine.sh(f"e2label {disks[0]} {label}")
    wanted = inputs(("/mnt/a", f"LABEL={label}"))
    applied(machine, wanted)
    assert sources(machine) == [f"{disks[0]} /mnt/a"]
    machine.sh(f"e2label {disks[0]} old; e2label {disks[1]} {label}; rm -rf /run/blkid")
    if not destroyed:
        applied(machine, wanted)
        assert sources(machine) == [f"{disks[1]} /mnt/a"]
    taken_away(machine, "b")
    assert sources(machine) == []


def test_what_somebody_has_mounted_stays_somebody_s_when_it_is_declared(
    machine: machines.Machine, disks: list[str]
) -> None:
    applied(machine, inputs(("/mnt/a", disks[0])))
    machine.sh(f"umount /mnt/a; mount -o noatime {disks[1]} /mnt/a")
    for _ in range(2):
        applied(machine, inputs(("/mnt/a", disks[1])))
    refused(machine, inputs(("/mnt/a", disks[0])), "something else is mounted at /mnt/a")
    taken_away(machine, "b")
    assert sources(machine) == [f"{disks[1]} /mnt/a"]
    assert "noatime" in machine.sh("findmnt -rno OPTIONS --mountpoint /mnt/a")


def test_what_somebody_has_mounted_is_the_baseline_s_once_that_mounts_it(
    machine: machines.Machine, disks: list[str]
) -> None:
    machine.sh(f"mkdir /mnt/a; mount {disks[0]} /mnt/a")
    wanted = inputs(("/mnt/a", disks[0]))
    applied(machine, wanted)
    machine.sh("umount /mnt/a")
    applied(machine, wanted)
    applied(machine, inputs(("/mnt/a", disks[1])))
    taken_away(machine, "b")
    assert sources(machine) == []


def test_without_any_row_the_line_says_whose_it_is(machine: machines.Machine, disks: list[str]) -> None:
    """As a run left it that was killed while one row took the place of another in two steps."""
    applied(machine, inputs(("/mnt/a", disks[0])))
    machine.sh(f"rm {RECORDS}/b/mounts/did")
    applied(machine, inputs(("/mnt/a", disks[1])))
    machine.sh(f"rm {RECORDS}/b/mounts/did")
    taken_away(machine, "b")
    assert sources(machine) == []


def test_a_mount_without_options_has_a_whole_row(machine: machines.Machine, disks: list[str]) -> None:
    label = own_label(disks)
    machine.sh(f"e2label {disks[0]} {label}")
    wanted: dict[str, Any] = inputs(("/mnt/a", f"LABEL={label}"))
    wanted["mounts"]["/mnt/a"]["options"] = []
    applied(machine, wanted)
    machine.sh(f"e2label {disks[0]} old; rm -rf /run/blkid")
    taken_away(machine, "b")
    assert sources(machine) == []


def test_what_serves_a_file_system_as_a_program_keeps_no_other_run_waiting(
    machine: machines.Machine, disks: list[str]
) -> None:
    machine.sh("printf '%s\\n' '#!/bin/sh' 'sleep 120 >/dev/null 2>&1 &' 'exec mount -i -t ext4 \"$@\"' "
               ">/usr/sbin/mount.ext4; chmod 755 /usr/sbin/mount.ext4")  # fmt: skip
    applied(machine, inputs(("/mnt/a", disks[0])))
    assert machine.sh("cat /proc/[0-9]*/comm").split().count("sleep") == 2, "it goes on"
    machine.sh("flock -n /run true")


def told(machine: machines.Machine, recorded: dict[str, Any], wanted: dict[str, Any] | None) -> str:
    """What a plan says, by what is on the machine."""
    observed = MOUNTS.read(machines.OneHost(machine), recorded)  # type: ignore[arg-type]
    assert observed is not None
    return MOUNTS.impact_of(observed.inputs, wanted)


ANEW = "unmounts /mnt/a and mounts what is declared"
REFUSED = "what somebody has mounted at /mnt/a is not unmounted: unless that is what is declared, apply is refused"


class TestPlans:
    def test_of_what_somebody_has_put_there(self, machine: machines.Machine, disks: list[str]) -> None:
        one, two, three = (inputs(("/mnt/a", disk)) for disk in disks[:3])
        applied(machine, one)
        machine.sh(f"umount /mnt/a; mount {disks[1]} /mnt/a")
        assert told(machine, one, two) == "", "it becomes what is declared"
        assert told(machine, one, three) == REFUSED
        assert told(machine, one, None) == "what somebody has mounted at /mnt/a stays mounted"
        taken_away(machine, "b")
        assert sources(machine) == [f"{disks[1]} /mnt/a"]

    def test_of_a_line_that_somebody_has_changed(self, machine: machines.Machine, disks: list[str]) -> None:
        one, two, three = (inputs(("/mnt/a", disk)) for disk in disks[:3])
        applied(machine, one)
        machine.sh(f"sed -i 's,^{disks[0]},{disks[1]},' /etc/fstab")
        assert told(machine, one, one) == ""
        assert told(machine, one, two) == told(machine, one, three) == ANEW
        applied(machine, three)
        assert sources(machine) == [f"{disks[2]} /mnt/a"]

    def test_of_what_was_there_before(self, machine: machines.Machine, disks: list[str]) -> None:
        one, two = (inputs(("/mnt/a", disk)) for disk in disks[:2])
        machine.sh(f"mkdir /mnt/a; mount {disks[0]} /mnt/a")
        applied(machine, one)
        for _ in range(2):
            assert told(machine, one, one) == ""
            assert told(machine, one, two) == REFUSED
            refused(machine, two, "something else is mounted at /mnt/a")
            machine.sh("umount /mnt/a; mount /mnt/a")  # as a restart does it
        # What a state has of an earlier reading counts for nothing.
        machine.sh("umount /mnt/a")
        applied(machine, {**one, "theirs": ["/mnt/a"]})
        assert told(machine, {**one, "theirs": ["/mnt/a"]}, two) == ANEW
        applied(machine, two)

    @pytest.mark.skipif(not BTRFS[0], reason="needs mkfs.btrfs")
    def test_of_a_btrfs_that_gets_its_first_part(self, machine: machines.Machine) -> None:
        machine.sh(f"truncate -s 128M /mnt/disk.img; {BTRFS[0]} -q /mnt/disk.img")

        def part(*options: str) -> dict[str, Any]:
            mount = {"device": "/mnt/disk.img", "type": "btrfs", "options": [*options, "nofail"]}
            return {**inputs(), "mounts": {"/mnt/a": mount}}

        MOUNTS.create(machines.OneHost(machine), part())  # type: ignore[arg-type]
        machine.sh("cd /mnt/a; sleep 60 >/dev/null 2>&1 & echo $! >/run/pid")
        for option in ("subvol=/", "subvolid=5"):
            assert told(machine, part(), part(option)) == ""
        assert told(machine, part(), part("subvol=/x")) == ANEW
        applied(machine, part("subvol=/"))  # it is in use, so unmounting would be an error
        machine.sh("kill $(cat /run/pid); while ! umount /mnt/a; do sleep 0.1; done")
