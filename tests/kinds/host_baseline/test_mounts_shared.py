"""What is mounted in several places, or is not there: nobody's place changes by what is declared of another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kinds.host_baseline import machine as machines
from tests.kinds.host_baseline.test_mounts import applied, inputs, kept, taken_away
from tests.kinds.host_baseline.test_mounts_kept import BTRFS, disks, machine, refused, sources
from tests.kinds.host_baseline.test_mounts_odd import with_options

__all__ = ["disks", "machine"]
pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(machines.missing()), reason=machines.missing())]


def options(machine: machines.Machine, place: str) -> list[str]:
    return machine.sh(f"findmnt -rno OPTIONS --mountpoint {place}").strip().split(",")


@pytest.mark.skipif(not BTRFS[0], reason="needs mkfs.btrfs")
class TestParts:
    @pytest.fixture
    def disk(self, machine: machines.Machine) -> Iterator[str]:
        """A btrfs of which the top is mounted, with a part `home`, as distributions lay it out."""
        machine.sh(f"truncate -s 128M /run/parts.img; {BTRFS[0]} -q /run/parts.img")
        found = machines.attached(machine, "/run/parts.img")
        machine.sh(f"mkdir /mnt/top; mount {found} /mnt/top; {BTRFS[1]} -q subvolume create /mnt/top/home")
        yield found
        machine.sh(f"umount -A -R {found} 2>/dev/null || :; losetup -d {found}")

    def test_one_that_somebody_has_mounted_is_taken_over(self, machine: machines.Machine, disk: str) -> None:
        machine.sh(f"mkdir /mnt/home; mount -o subvol=/home {disk} /mnt/home")
        applied(machine, with_options("/mnt/home", disk, "btrfs", "subvol=/home", "nosuid", "nofail"))
        assert ("nosuid" in options(machine, "/mnt/home"), "nosuid" in options(machine, "/mnt/top")) == (True, False)

    def test_a_line_that_was_made_a_comment_is_written_anew(self, machine: machines.Machine, disk: str) -> None:
        wanted = with_options("/mnt/home", disk, "btrfs", "subvol=/home", "nofail")
        applied(machine, wanted)
        machine.sh("sed -i '/mnt.home/ s,^,#,' /etc/fstab")
        applied(machine, wanted)

    def test_one_that_is_read_only_changes_alone(self, machine: machines.Machine, disk: str) -> None:
        applied(machine, with_options("/mnt/home", disk, "btrfs", "subvol=/home", "nofail", "ro"))
        applied(machine, with_options("/mnt/home", disk, "btrfs", "subvol=/home", "nofail", "ro", "noatime"))
        machine.sh("touch /mnt/top/x; ! touch /mnt/home/x 2>/dev/null")


def test_what_is_in_force_already_changes_nowhere(machine: machines.Machine, disks: list[str]) -> None:
    line = f"{disks[0]} /mnt/a ext4 errors=remount-ro 0 0"
    machine.sh(f"mkdir /mnt/a /mnt/t; echo '{line}' >>/etc/fstab; mount /mnt/a; mount --bind /mnt/a /mnt/t")
    applied(machine, with_options("/mnt/a", disks[0], "ext4", "errors=remount-ro", "nofail"))


def test_a_copy_that_the_kernel_makes_is_the_same_mount(machine: machines.Machine, disks: list[str]) -> None:
    machine.sh("mkdir /mnt/p /run/bound; mount -t tmpfs tmpfs /mnt/p; mount --make-shared /mnt/p; "
               "mount --bind /mnt/p /run/bound")  # fmt: skip
    applied(machine, with_options("/mnt/p/a", disks[0], "ext4", "nofail"))
    assert machine.sh("cat /run/bound/a/number") == "0\n"
    applied(machine, with_options("/mnt/p/a", disks[0], "ext4", "nofail", "commit=77"))
    taken_away(machine, "b")
    machine.sh("umount /run/bound /mnt/p")


def test_an_option_that_does_not_count_beside_another_mount_is_told_at_once(
    machine: machines.Machine, disks: list[str]
) -> None:
    machine.sh(f"mkdir /mnt/t; mount {disks[0]} /mnt/t")
    refused(machine, with_options("/mnt/a", disks[0], "ext4", "nofail", "sync"), "is mounted at /mnt/t, too, and so at")
    assert (sources(machine), machine.sh("cat /etc/fstab")) == ([f"{disks[0]} /mnt/t"], "# theirs\n")


@pytest.mark.parametrize("place", ["/mnt/a/", "/mnt//a"])
def test_more_slashes_than_one_mean_nothing(machine: machines.Machine, disks: list[str], place: str) -> None:
    line = f"{disks[1]} {place} ext4 defaults 0 2"
    machine.sh(f"echo '{line}' >>/etc/fstab")
    wanted = inputs(("/mnt/a", disks[0]))
    applied(machine, wanted)
    applied(machine, wanted)
    taken_away(machine, "b")
    assert sources(machine) == [f"{disks[1]} /mnt/a"]
    assert machine.sh("cat /etc/fstab") == f"# theirs\n{line}\n"


def test_a_line_of_what_is_not_there_holds_again_without_a_word(machine: machines.Machine, disks: list[str]) -> None:
    machine.sh("echo 'LABEL=none-of-these /mnt/a ext4 nofail 0 2' >>/etc/fstab")
    applied(machine, inputs(("/mnt/a", disks[0])))
    taken_away(machine, "b")
    assert (sources(machine), machine.sh("tail -n 1 /etc/fstab")) == (
        [],
        "LABEL=none-of-these /mnt/a ext4 nofail 0 2\n",
    )


def test_what_was_taken_over_and_is_hidden_keeps_its_flags(machine: machines.Machine, disks: list[str]) -> None:
    machine.sh(f"mkdir -p /mnt/p/a; mount {disks[0]} /mnt/p/a")
    wanted = inputs(("/mnt/p/a", disks[0]))
    applied(machine, wanted)
    machine.sh("mount -t tmpfs tmpfs /mnt/p")
    refused(machine, wanted, "/mnt/p/a cannot be reached: it is hidden by what is mounted at /mnt/p")
    machine.sh("umount /mnt/p")
    kept(machine, wanted)
    taken_away(machine, "b")
    assert not {"nosuid", "nodev"} & set(options(machine, "/mnt/p/a"))
