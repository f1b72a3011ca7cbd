"""Whose a mount is: a baseline's own is known whatever its label leads to, and nobody else's ever becomes one."""

from __future__ import annotations

from typing import Any

import pytest

from swarmctl.kinds.host_baseline.reading import RECORDS
from tests.kinds.host_baseline import machine as machines
from tests.kinds.host_baseline.test_mounts import applied, inputs, taken_away
from tests.kinds.host_baseline.test_mounts_kept import disks, machine, refused, sources

__all__ = ["disks", "machine"]
pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(machines.missing()), reason=machines.missing())]


@pytest.mark.parametrize("destroyed", [False, True], ids=["applied", "destroyed"])
def test_a_label_that_is_another_device_s_by_now(machine: machines.Machine, disks: list[str], destroyed: bool) -> None:
    machine.sh(f"e2label {disks[0]} data")
    wanted = inputs(("/mnt/a", "LABEL=data"))
    applied(machine, wanted)
    assert sources(machine) == [f"{disks[0]} /mnt/a"]
    machine.sh(f"e2label {disks[0]} old; e2label {disks[1]} data; rm -rf /run/blkid")
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
    machine.sh(f"e2label {disks[0]} data")
    wanted: dict[str, Any] = inputs(("/mnt/a", "LABEL=data"))
    wanted["mounts"]["/mnt/a"]["options"] = []
    applied(machine, wanted)
    machine.sh(f"e2label {disks[0]} old; rm -rf /run/blkid")
    taken_away(machine, "b")
    assert sources(machine) == []
