"""`/etc/fstab`: which lines count, in what order they are, and what holds again when a baseline goes."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from swarmctl.backends.base import CommandFailed
from swarmctl.kinds.host_baseline.aspects.mounts import MOUNTS
from tests.kinds.host_baseline import machine as machines
from tests.kinds.host_baseline.test_mounts import applied, inputs, kept, mounted_by, taken_away
from tests.kinds.host_baseline.test_mounts_kept import disks, machine, refused, sources
from tests.kinds.host_baseline.test_mounts_odd import not_taken_away, seen, with_options
from tests.kinds.host_baseline.test_mounts_whose import told

__all__ = ["disks", "machine"]
pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(machines.missing()), reason=machines.missing())]


class TestComments:
    @pytest.mark.parametrize("device", ["disk", "tmpfs"])
    def test_are_no_lines(self, machine: machines.Machine, disks: list[str], device: str) -> None:
        wanted = inputs(("/mnt/a", disks[0] if device == "disk" else device))
        applied(machine, wanted)
        machine.sh("sed -i '2 s,^,#,' /etc/fstab")
        comment = machine.sh("tail -n 1 /etc/fstab")
        assert seen(machine, wanted)["/mnt/a"]["device"].endswith(" (no line in /etc/fstab)")
        assert told(machine, wanted, wanted) == ""
        applied(machine, wanted)
        taken_away(machine, "b")
        assert (sources(machine), machine.sh("cat /etc/fstab")) == ([], f"# theirs\n{comment}")

    @pytest.mark.parametrize("destroyed", [False, True], ids=["left out", "destroyed"])
    def test_keep_nothing_mounted(self, machine: machines.Machine, destroyed: bool) -> None:
        applied(machine, inputs(("/mnt/a", "tmpfs"), ("/mnt/k", "tmpfs")))
        machine.sh("sed -i '/mnt.a/ s,^,#,' /etc/fstab")
        if destroyed:
            taken_away(machine, "b")
        else:
            applied(machine, inputs(("/mnt/k", "tmpfs")))
        assert sources(machine) == ([] if destroyed else ["tmpfs /mnt/k"])

    def test_of_what_could_not_go_it_is_there_again(self, machine: machines.Machine, disks: list[str]) -> None:
        machine.sh(f"dd if=/dev/zero of={disks[1]} bs=1k count=100 2>/dev/null")
        applied(machine, inputs(("/mnt/a", "tmpfs"), ("/mnt/c", disks[0])))
        machine.sh("echo work >/mnt/a/file; sed -i '/mnt.[ac]/ s,^,#,' /etc/fstab")
        refused(machine, inputs(("/mnt/b", disks[1])), f"{disks[1]} cannot be mounted at /mnt/b")
        assert machine.sh("cat /mnt/a/file /mnt/c/number") == "work\n0\n"


class TestLinesOfSomebodys:
    def test_with_a_slash_at_the_end_is_for_the_same_place(self, machine: machines.Machine, disks: list[str]) -> None:
        line = f"{disks[1]} /mnt/a// ext4 noauto 0 2"
        machine.sh(f"mkdir /mnt/a; echo '{line}' >>/etc/fstab")
        applied(machine, inputs(("/mnt/a", disks[0])))
        assert f"#swarmctl:b# {line}\n" in machine.sh("cat /etc/fstab")
        taken_away(machine, "b")
        assert machine.sh("cat /etc/fstab") == f"# theirs\n{line}\n"

    def test_that_came_after_the_baseline_s_is_told_and_not_taken(
        self, machine: machines.Machine, disks: list[str]
    ) -> None:
        wanted = inputs(("/mnt/a", disks[0]))
        applied(machine, wanted)
        table = machine.sh(f"echo '{disks[1]} /mnt/a/ ext4 defaults 0 0' >>/etc/fstab; cat /etc/fstab")
        assert seen(machine, wanted)["/mnt/a"]["device"] == f"{disks[0]} (beside a line of somebody's in /etc/fstab)"
        refused(
            machine, wanted, f"/etc/fstab has a line of somebody's for /mnt/a, of {disks[1]}, beside the one of the"
        )
        assert machine.sh("cat /etc/fstab") == table
        machine.sh("sed -i '$ d' /etc/fstab")
        kept(machine, wanted)

    def test_within_the_place_come_after_it(self, machine: machines.Machine, disks: list[str]) -> None:
        lines = f"{disks[0]} /mnt/a ext4 defaults 0 2\ntmpfs /mnt/a/in tmpfs defaults 0 0\n"
        lines += "/mnt/a /mnt/bound none bind 0 0\n"
        machine.sh(f"printf '{lines}' >>/etc/fstab; mkdir /mnt/a /mnt/bound; mount /mnt/a; mkdir /mnt/a/in; mount -a")
        before = sources(machine)
        applied(machine, inputs(("/mnt/a", disks[0])))
        applied(machine, inputs(("/mnt/k", "tmpfs"), baseline="other"))
        # What starts a machine without systemd goes by the table.
        machine.sh("umount /mnt/k /mnt/bound /mnt/a/in /mnt/a; mount -a")
        assert sources(machine) == [*before, "tmpfs /mnt/k"]
        for one in ("b", "other"):
            taken_away(machine, one)
        assert machine.sh("cat /etc/fstab") == f"# theirs\n{lines}"

    @pytest.mark.parametrize("destroyed", [False, True], ids=["left out", "destroyed"])
    @pytest.mark.parametrize("options", ["defaults", "noauto"])
    def test_hold_again_as_with_the_next_start(
        self, machine: machines.Machine, disks: list[str], options: str, destroyed: bool
    ) -> None:
        machine.sh(f"mkdir /mnt/a; echo '{disks[1]} /mnt/a ext4 {options} 0 0' >>/etc/fstab")
        keep = ("/mnt/k", disks[2])
        applied(machine, inputs(("/mnt/a", disks[0]), keep))
        if destroyed:
            taken_away(machine, "b")
        else:
            applied(machine, inputs(keep))
        there = [f"{disks[1]} /mnt/a"] if options == "defaults" else []
        assert sorted(sources(machine)) == sorted([*there, *([] if destroyed else [f"{disks[2]} /mnt/k"])])

    def test_have_their_folder_and_what_cannot_be_mounted_is_told(
        self, machine: machines.Machine, disks: list[str]
    ) -> None:
        machine.sh(f"echo '{disks[1]} /mnt/a ext4 defaults 0 0' >>/etc/fstab; "
                   f"dd if=/dev/zero of={disks[1]} bs=1k count=100 2>/dev/null")  # fmt: skip
        applied(machine, inputs(("/mnt/a", disks[0])))
        not_taken_away(machine, "/mnt/a cannot be mounted again; all else is done")
        taken_away(machine, "b")
        assert (sources(machine), machine.sh("ls /mnt")) == ([], "a\n")

    def test_have_their_flags_again(self, machine: machines.Machine, disks: list[str]) -> None:
        machine.sh(f"mkdir /mnt/a; mount -o lazytime,nosymfollow,noatime {disks[0]} /mnt/a")
        look = "findmnt -rno OPTIONS --mountpoint /mnt/a"
        before = machine.sh(look)
        assert "nosymfollow,lazytime" in before
        wanted = with_options("/mnt/a", disks[0], "ext4", "nosuid", "nofail")
        applied(machine, wanted)
        assert "nosymfollow" not in machine.sh(look)
        taken_away(machine, "b")
        assert machine.sh(look) == before


def test_links_are_followed_or_not_as_declared(machine: machines.Machine, disks: list[str]) -> None:
    wanted = with_options("/mnt/a", disks[0], "ext4", "nosymfollow", "nofail")
    applied(machine, wanted)
    machine.sh("mount -o remount,symfollow /mnt/a")
    assert seen(machine, wanted)["/mnt/a"]["options"] == ["nosymfollow (not in force)", "nofail"]
    applied(machine, wanted)
    applied(machine, with_options("/mnt/a", disks[0], "ext4", "nofail"))
    assert "nosymfollow" not in machine.sh("findmnt -rno OPTIONS --mountpoint /mnt/a")


class TestInnerOnes:
    def test_that_are_not_back_are_told(self, machine: machines.Machine, disks: list[str]) -> None:
        machine.sh(f"mount {disks[0]} /run/x; truncate -s 400K /run/x/i.img /run/x/j.img; mkfs.ext4 -q /run/x/i.img; "
                   "mkfs.ext4 -q /run/x/j.img; umount /run/x")  # fmt: skip
        applied(machine, inputs(("/mnt/a", disks[0])))
        applied(machine, inputs(("/mnt/a/i", "/mnt/a/i.img"), ("/mnt/a/j", "/mnt/a/j.img"), baseline="inner"))
        then = inputs(("/mnt/a", disks[1]))
        refused(machine, then, "/mnt/a/i, /mnt/a/j cannot be mounted again; all else is done")
        kept(machine, then)

    def test_that_are_not_back_when_all_is_undone_are_told_too(
        self, machine: machines.Machine, disks: list[str]
    ) -> None:
        machine.sh(f"dd if=/dev/zero of={disks[3]} bs=1k count=100 2>/dev/null")
        applied(machine, inputs(("/mnt/a", disks[0])))
        applied(machine, inputs(("/mnt/a/c", disks[1]), baseline="inner"))
        wanted = inputs(("/mnt/a", disks[2]), ("/mnt/b", disks[3]))
        broken = f"dd if=/dev/zero of={disks[1]} bs=1k count=100 2>/dev/null"
        script = MOUNTS.script(wanted, MOUNTS.setting(wanted)).replace(
            "\nin_place /mnt/b", f"\n{broken}\nin_place /mnt/b"
        )
        said = machine.run(("sh", "-eu", "-s"), stdin=script.encode(), check=False).stderr.decode()
        assert f"{disks[3]} cannot be mounted at /mnt/b" in said
        assert "; /mnt/a/c could not be mounted again\t" in said
        assert sources(machine) == [f"{disks[0]} /mnt/a"]


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("body", ["setting", "taking_away"])
def test_scripts_have_no_slips(body: str) -> None:
    wanted = inputs(("/mnt/a", "/dev/loop0"), ("/mnt/b", "tmpfs"))
    script = MOUNTS.script(wanted, getattr(MOUNTS, body)(wanted))
    command = ["shellcheck", "-s", "dash", "-S", "warning", "-"]
    done = subprocess.run(command, input=script.encode(), capture_output=True, check=False)
    assert done.stdout.decode() == ""


def test_where_it_is_not_told_what_is_mounted_nothing_is_done(machine: machines.Machine, disks: list[str]) -> None:
    applied(machine, inputs(("/mnt/a", disks[0])))
    mounted_by(machine, "/run/nothing")
    with pytest.raises(CommandFailed, match="what is mounted cannot be read"):
        taken_away(machine, "b")
    machine.sh("rm /usr/sbin/awk")
    taken_away(machine, "b")
    assert sources(machine) == []
