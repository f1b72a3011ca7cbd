"""Mounts by other names of a device, and within each other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmctl.backends.base import CommandFailed
from swarmctl.kinds.host_baseline.aspects.mounts import MOUNTS
from swarmctl.kinds.host_baseline.reading import RECORDS
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
        found.append(machines.attached(machine, image))
    yield found
    for one in found:
        machine.sh(f"umount -A -R {one} 2>/dev/null || :; losetup -d {one}")


def inputs(*mounts: tuple[str, str], baseline: str = "b") -> dict[str, Any]:
    kinds = {"tmpfs": "tmpfs"}
    declared = {
        path: {"device": device, "type": kinds.get(device, "ext4"), "options": ["nosuid", "nodev", "nofail"]}
        for path, device in mounts
    }
    base = {"machine": "m", "host": {"backend": "test", "node": "n1"}, "node": "n1", "baseline": baseline}
    return {**base, "mounts": declared}


def applied(machine: machines.Machine, wanted: dict[str, Any]) -> None:
    """Made so; then it is so."""
    hosts: Any = machines.OneHost(machine)
    MOUNTS.create(hosts, wanted)
    kept(machine, wanted)


def kept(machine: machines.Machine, wanted: dict[str, Any]) -> None:
    """It is so still."""
    observed = MOUNTS.read(machines.OneHost(machine), wanted)  # type: ignore[arg-type]
    assert observed is not None
    assert observed.inputs["mounts"] == wanted["mounts"]
    assert not MOUNTS.diff(observed.inputs, wanted)


def taken_away(machine: machines.Machine, baseline: str) -> None:
    hosts: Any = machines.OneHost(machine)
    MOUNTS.delete(hosts, inputs(baseline=baseline))


def mounted_by(machine: machines.Machine, file: str) -> None:
    """Baselines see what a file of the test's own tells to be mounted."""
    machine.sh(f"""cat >/usr/sbin/awk <<'END'
#!/bin/bash
exec /usr/bin/awk "${{@/\\/proc\\/self\\/mountinfo/{file}}}"
END
chmod 755 /usr/sbin/awk""")


def gone(machine: machines.Machine) -> None:
    taken_away(machine, "b")
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
    assert observed.inputs["mounts"]["/mnt/scratch"]["device"] == f"{disks[0]} (/run/other in /etc/fstab)", (
        "another device is told by its name"
    )


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


def test_the_outer_mount_of_one_baseline_goes_or_changes_around_the_inner_one_of_another(
    machine: machines.Machine, disks: list[str]
) -> None:
    outer = {device: inputs(("/mnt/a", device), baseline="aa") for device in ("tmpfs", disks[1])}
    inner = inputs(("/mnt/a/b", disks[0]), baseline="bb")
    applied(machine, outer["tmpfs"])
    applied(machine, inner)
    machine.sh("echo work >/mnt/a/b/file")
    applied(machine, outer[disks[1]])
    kept(machine, inner)
    assert places(machine) == ["/mnt/a", "/mnt/a/b"]

    taken_away(machine, "aa")
    kept(machine, inner)
    assert places(machine) == ["/mnt/a/b"]
    assert machine.sh("cat /mnt/a/b/file") == "work\n"
    taken_away(machine, "bb")
    assert places(machine) == []
    assert machine.sh("cat /etc/fstab; ls /mnt") == "# theirs\n", "folders that were made for them are gone"


def test_what_is_in_use_within_a_mount_keeps_all_in_place(machine: machines.Machine, disks: list[str]) -> None:
    applied(machine, inputs(("/mnt/a", "tmpfs"), baseline="aa"))
    applied(machine, inputs(("/mnt/a/b", disks[0]), ("/mnt/a/c", disks[1]), baseline="bb"))
    machine.sh("cd /mnt/a/b; sleep 30 >/dev/null 2>&1 &")
    with pytest.raises(CommandFailed, match="/mnt/a/b is in use, so it is not unmounted"):
        taken_away(machine, "aa")
    assert places(machine) == ["/mnt/a", "/mnt/a/b", "/mnt/a/c"]


def test_lines_of_the_table_come_after_those_for_what_they_lie_in(machine: machines.Machine, disks: list[str]) -> None:
    applied(machine, inputs(("/mnt/a", disks[1]), baseline="bb"))
    applied(machine, inputs(("/mnt/a/b", disks[0]), baseline="aa"))
    applied(machine, inputs(("/mnt/a", disks[1]), ("/mnt/k", "tmpfs"), baseline="bb"))
    table = machine.sh("cat /etc/fstab").splitlines()
    assert [line.split()[1] for line in table[1:]] == ["/mnt/a", "/mnt/a/b", "/mnt/k"]
    # What starts a machine goes by the table.
    machine.sh("umount -R /mnt/a && mount -a")
    assert places(machine) == ["/mnt/a", "/mnt/a/b"]


def test_a_file_is_the_loop_device_that_is_made_of_it(machine: machines.Machine, disks: list[str]) -> None:
    machine.sh("truncate -s 8M /mnt/disk.img /mnt/other.img; mkfs.ext4 -q /mnt/disk.img; mkfs.ext4 -q /mnt/other.img")
    machine.sh("ln -s disk.img /mnt/link.img")
    for path in ("/mnt/disk.img", "/mnt/link.img"):
        wanted = inputs(("/mnt/a", path))
        applied(machine, wanted)
        machine.sh("cd /mnt/a; sleep 1 >/dev/null 2>&1 &")
        applied(machine, wanted)  # it is in use, so unmounting would be an error
    machine.sh("while ! umount /mnt/a; do sleep 0.1; done; mount /mnt/other.img /mnt/a")
    observed = MOUNTS.read(machines.OneHost(machine), inputs(("/mnt/a", "/mnt/link.img")))  # type: ignore[arg-type]
    assert observed is not None
    assert observed.inputs["mounts"]["/mnt/a"]["device"].startswith("/dev/loop"), "another file is told"
    with pytest.raises(CommandFailed, match="something else is mounted at /mnt/a"):
        applied(machine, inputs(("/mnt/a", "/mnt/disk.img")))
    machine.sh("umount /mnt/a")
    applied(machine, inputs(("/mnt/a", "/mnt/disk.img")))
    gone(machine)
    assert places(machine) == []


@pytest.mark.skipif(shutil.which("mkfs.btrfs") is None, reason="needs mkfs.btrfs")
def test_a_part_of_a_btrfs_is_told_by_its_option(machine: machines.Machine) -> None:
    mkfs, btrfs = shutil.which("mkfs.btrfs"), shutil.which("btrfs")
    machine.sh(f"truncate -s 128M /mnt/disk.img; {mkfs} -q /mnt/disk.img; mkdir /mnt/x; mount /mnt/disk.img /mnt/x")
    machine.sh(f"{btrfs} -q subvolume create /mnt/x/one; {btrfs} -q subvolume create /mnt/x/two; umount /mnt/x")

    def part(*options: str) -> dict[str, Any]:
        mount = {"device": "/mnt/disk.img", "type": "btrfs", "options": [*options, "nofail"]}
        return {**inputs(), "mounts": {"/mnt/a": mount}}

    applied(machine, part("subvol=one"))
    machine.sh("echo work >/mnt/a/file; cd /mnt/a; sleep 1 >/dev/null 2>&1 &")
    applied(machine, part("subvol=/one"))  # it is in use, so unmounting would be an error
    machine.sh("while ! umount /mnt/a; do sleep 0.1; done; mount -o subvol=two /mnt/disk.img /mnt/a")
    observed = MOUNTS.read(machines.OneHost(machine), part("subvol=/one"))  # type: ignore[arg-type]
    assert observed is not None
    assert observed.inputs["mounts"]["/mnt/a"]["options"] == ["subvol=/one (not in force)", "nofail"], (
        "another part is told"
    )
    with pytest.raises(CommandFailed, match="something else is mounted at /mnt/a"):
        applied(machine, part("subvol=/one"))
    machine.sh("umount /mnt/a")
    applied(machine, part("subvol=/one"))
    assert machine.sh("cat /mnt/a/file") == "work\n"
    applied(machine, part("subvol=two"))
    assert machine.sh("ls /mnt/a") == ""
    gone(machine)
    assert places(machine) == []


@pytest.mark.parametrize(
    ("told", "device", "options"),
    [
        ("/dev/loop7[/one] btrfs rw,relatime,subvolid=256,subvol=/one", "LABEL=x", ["subvol=one", "nofail"]),
        (
            "/dev/loop7[/two] btrfs rw,relatime,subvolid=257,subvol=/two",
            "LABEL=x",
            ["subvol=one (not in force)", "nofail"],
        ),
        (
            "/dev/loop8[/one] btrfs rw,relatime,subvolid=256,subvol=/one",
            "/dev/loop8[/one] (LABEL=x in /etc/fstab)",
            ["subvol=one", "nofail"],
        ),
        (
            "/dev/loop7[/one] ext4 rw,relatime",
            "/dev/loop7[/one] (LABEL=x in /etc/fstab)",
            ["subvol=one (not in force)", "nofail"],
        ),
    ],
)
def test_the_kernel_tells_which_part_of_a_btrfs_is_mounted(
    machine: machines.Machine, told: str, device: str, options: list[str]
) -> None:
    machine.sh(f"mkdir -p {RECORDS}/b/mounts; printf '#!/bin/sh\\necho /dev/loop7\\n' >/usr/sbin/findfs")
    source, kind, live = told.split()
    disk, part = source.rstrip("]").split("[")
    rows = f"1 0 0:1 / / rw - tmpfs none rw\\n2 1 7:7 {part} /mnt/a {live.split(',sub')[0]} - {kind} {disk} {live}\\n"
    machine.sh(f"printf '{rows}' >/run/mountinfo; chmod 755 /usr/sbin/findfs")
    mounted_by(machine, "/run/mountinfo")
    machine.sh("echo LABEL=x /mnt/a btrfs subvol=one,nofail,x-swarmctl.b 0 0 >>/etc/fstab")
    observed = MOUNTS.read(machines.OneHost(machine), inputs())  # type: ignore[arg-type]
    assert observed is not None
    found = observed.inputs["mounts"]["/mnt/a"]
    assert found["type"] == ("btrfs" if " btrfs " in told else "ext4 (btrfs in /etc/fstab)")
    assert (found["device"], found["options"]) == (device, options)
