"""Mounts of others are never unmounted, and a change of mounts holds as a whole or not at all."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmctl.backends.base import CommandFailed
from swarmctl.kinds.host_baseline.aspects.mounts import MOUNTS
from swarmctl.kinds.host_baseline.reading import RECORDS
from tests.kinds.host_baseline import machine as machines
from tests.kinds.host_baseline.test_full_disk import FILLED, SMALL
from tests.kinds.host_baseline.test_mounts import applied, inputs, kept, places, taken_away

pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(machines.missing()), reason=machines.missing())]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[machines.Machine]:
    with machines.Machine(tmp_path) as made:
        # As systemd has it: what is mounted is mounted for all.
        made.sh("mount --make-rshared /; printf '# theirs\\n' >/etc/fstab; mount -t tmpfs tmpfs /mnt")
        yield made


@pytest.fixture
def disks(machine: machines.Machine) -> Iterator[list[str]]:
    """Four file systems on devices, each with a file that has its number."""
    found = []
    for number in range(4):
        image = f"/run/{number}.img"
        machine.sh(f"truncate -s 2M {image}; mkfs.ext4 -q {image}")
        found.append(machines.attached(machine, image))
        machine.sh(f"mkdir -p /run/x; mount {found[-1]} /run/x; echo {number} >/run/x/number; umount /run/x")
    yield found
    for one in found:
        machine.sh(f"umount -A -R {one} 2>/dev/null || :; losetup -d {one}")


def sources(machine: machines.Machine) -> list[str]:
    """What has been mounted in the test's own /mnt, and where, also what is hidden by something else."""
    lines = [line.split() for line in machine.sh("cat /proc/mounts").splitlines()]
    own = max(index for index, line in enumerate(lines) if line[1] == "/mnt")
    return [f"{line[0]} {line[1]}" for line in lines[own:] if line[1].startswith("/mnt/")]


def refused(machine: machines.Machine, wanted: dict[str, Any], why: str) -> str:
    with pytest.raises(CommandFailed, match=re.escape(why)) as caught:
        MOUNTS.create(machines.OneHost(machine), wanted)  # type: ignore[arg-type]
    return str(caught.value)


def cut_off(machine: machines.Machine, script: str, before: str) -> None:
    """Killed in the middle, before a line of the script."""
    cut = script.replace(f"\n{before}", f"\nkill -9 $$\n{before}")
    assert cut != script
    assert machine.run(("sh", "-eu", "-s"), stdin=cut.encode(), check=False).returncode != 0


def cut_off_with_one_aside(machine: machines.Machine, disks: list[str]) -> dict[str, Any]:
    """Killed while another baseline's inner mount, in memory, makes way for a change; what was to be is returned."""
    applied(machine, inputs(("/mnt/a", disks[0])))
    applied(machine, inputs(("/mnt/a/c", "tmpfs"), baseline="inner"))
    machine.sh("echo work >/mnt/a/c/file")
    then = inputs(("/mnt/a", disks[1]))
    cut_off(machine, MOUNTS.script(then, MOUNTS.setting(then)), "table ' /mnt/a '")
    return then


class TestOfOthers:
    @pytest.mark.parametrize("line", [False, True], ids=["by hand", "by a line"])
    @pytest.mark.parametrize("destroyed", [False, True], ids=["left out", "destroyed"])
    def test_what_was_mounted_before_stays_when_giving_back_takes_two_tries(
        self, machine: machines.Machine, disks: list[str], line: bool, destroyed: bool
    ) -> None:
        machine.sh(f"mkdir /mnt/data; mount {disks[0]} /mnt/data")
        if line:
            machine.sh(f"echo '{disks[0]} /mnt/data ext4 defaults 0 2' >>/etc/fstab")
        both = inputs(("/mnt/data", disks[0]), ("/mnt/aaa", disks[1]), ("/mnt/keep", disks[2]))
        applied(machine, both)
        mounted = machine.sh("findmnt -rno ID,SOURCE --mountpoint /mnt/data")
        machine.sh("cd /mnt/aaa; sleep 60 >/dev/null 2>&1 & echo $! >/run/pid; cd /run")
        for again in (False, True):
            if again:
                machine.sh("kill $(cat /run/pid); while ! umount /mnt/aaa; do sleep 0.1; done; mount /mnt/aaa")
            if destroyed and again:
                taken_away(machine, "b")
            elif destroyed:
                with pytest.raises(CommandFailed, match="/mnt/aaa is in use, so it is not unmounted"):
                    taken_away(machine, "b")
            elif again:
                applied(machine, inputs(("/mnt/keep", disks[2])))
            else:
                refused(machine, inputs(("/mnt/keep", disks[2])), "/mnt/aaa is in use, so it is not unmounted")
            assert machine.sh("findmnt -rno ID,SOURCE --mountpoint /mnt/data") == mounted, "not even mounted anew"
        assert f"{disks[1]} /mnt/aaa" not in sources(machine)

    def test_what_was_mounted_before_stays_when_giving_back_is_cut_off(
        self, machine: machines.Machine, disks: list[str]
    ) -> None:
        machine.sh(f"mkdir /mnt/data; mount {disks[0]} /mnt/data")
        applied(machine, inputs(("/mnt/data", disks[0])))
        cut_off(machine, MOUNTS.script(inputs(), MOUNTS.taking_away(inputs())), "table ' ' ''")
        taken_away(machine, "b")
        assert sources(machine) == [f"{disks[0]} /mnt/data"]
        assert machine.sh("cat /etc/fstab") == "# theirs\n"

    def test_what_is_put_in_the_place_of_a_baseline_s_is_not_unmounted(
        self, machine: machines.Machine, disks: list[str]
    ) -> None:
        applied(machine, inputs(("/mnt/a", disks[0])))
        machine.sh(f"umount /mnt/a; mount {disks[1]} /mnt/a")
        refused(machine, inputs(("/mnt/a", disks[2])), "something else is mounted at /mnt/a")
        taken_away(machine, "b")
        assert sources(machine) == [f"{disks[1]} /mnt/a"], "it is somebody's"

    def test_the_uppermost_of_several_is_what_counts(self, machine: machines.Machine, disks: list[str]) -> None:
        wanted = inputs(("/mnt/a", disks[0]))
        applied(machine, wanted)
        machine.sh(f"mount {disks[1]} /mnt/a")
        observed = MOUNTS.read(machines.OneHost(machine), wanted)  # type: ignore[arg-type]
        assert observed is not None
        assert observed.inputs["mounts"]["/mnt/a"]["device"] == f"{disks[1]} ({disks[0]} in /etc/fstab)"
        assert "is not unmounted" in MOUNTS.impact_of(observed.inputs, wanted)
        refused(machine, wanted, "something else is mounted at /mnt/a")
        machine.sh("umount /mnt/a")
        kept(machine, wanted)

    @pytest.mark.skipif(shutil.which("mkfs.btrfs") is None, reason="needs mkfs.btrfs")
    def test_another_part_of_a_btrfs_is_something_else(self, machine: machines.Machine) -> None:
        machine.sh(f"truncate -s 128M /mnt/disk.img; {BTRFS[0]} -q /mnt/disk.img")
        machine.sh(f"mkdir /mnt/x; mount /mnt/disk.img /mnt/x; cd /mnt/x; for one in data other; do {BTRFS[1]} "
                   "subvolume create $one; done; cd /; umount /mnt/x; mkdir /mnt/a; "
                   "mount -o subvol=other /mnt/disk.img /mnt/a; touch /mnt/a/precious")  # fmt: skip
        mount = {"device": "/mnt/disk.img", "type": "btrfs", "options": ["subvol=data", "nofail"]}
        refused(machine, {**inputs(), "mounts": {"/mnt/a": mount}}, "something else is mounted at /mnt/a")
        assert machine.sh("ls /mnt/a") == "precious\n"
        machine.sh("umount /mnt/a")
        # As it could be declared once.
        mount["options"] = ["subvol=/data/"]
        MOUNTS.create(machines.OneHost(machine), {**inputs(), "mounts": {"/mnt/a": mount}})  # type: ignore[arg-type]
        taken_away(machine, "b")
        assert sources(machine) == []

    def test_files_in_memory_are_kept_when_what_they_lie_in_changes_or_cannot(
        self, machine: machines.Machine, disks: list[str]
    ) -> None:
        applied(machine, inputs(("/mnt/a", disks[0])))
        inner = inputs(("/mnt/a/c", "tmpfs"), baseline="inner")
        applied(machine, inner)
        machine.sh("echo work >/mnt/a/c/file; cd /mnt/a; sleep 60 >/dev/null 2>&1 & echo $! >/run/pid")
        refused(machine, inputs(("/mnt/a", disks[1])), "/mnt/a is in use, so it is not unmounted")
        assert machine.sh("cat /mnt/a/c/file") == "work\n"
        machine.sh("kill $(cat /run/pid); while ! umount /mnt/a/c; do sleep 0.1; done; mount /mnt/a/c")
        machine.sh("echo again >/mnt/a/c/file")
        applied(machine, inputs(("/mnt/a", disks[1])))
        assert machine.sh("cat /mnt/a/c/file /mnt/a/number; ls /run/swarmctl-mounts 2>/dev/null || :") == "again\n1\n"
        kept(machine, inner)


BTRFS = (shutil.which("mkfs.btrfs") or "", shutil.which("btrfs") or "")


class TestAsAWhole:
    def test_of_two_new_ones_the_first_does_not_stay_alone(self, machine: machines.Machine, disks: list[str]) -> None:
        machine.sh(f"dd if=/dev/zero of={disks[1]} bs=1k count=100 2>/dev/null")
        message = refused(machine, inputs(("/mnt/x/a", disks[0]), ("/mnt/z", disks[1])), "cannot be mounted at /mnt/z")
        assert "wrong fs type" in message, "the reason, not where there may be more of it"
        assert (sources(machine), machine.sh("ls /mnt")) == ([], "")
        machine.sh(f"mkdir -p /mnt/x/a; mount {disks[0]} /mnt/x/a")
        taken_away(machine, "b")
        assert sources(machine) == [f"{disks[0]} /mnt/x/a"], "mounted by somebody since"

    def test_what_was_mounted_when_it_was_cut_off_goes_with_the_baseline(
        self, machine: machines.Machine, disks: list[str]
    ) -> None:
        wanted = inputs(("/mnt/a", disks[0]))
        cut_off(machine, MOUNTS.script(wanted, MOUNTS.setting(wanted)), "table ' /mnt/a '")
        assert sources(machine) == [f"{disks[0]} /mnt/a"]
        applied(machine, inputs(("/mnt/b", disks[1])))
        assert sources(machine) == [f"{disks[1]} /mnt/b"]
        taken_away(machine, "b")
        assert (sources(machine), machine.sh(f"ls /mnt; ls -d {RECORDS} 2>/dev/null || :")) == ([], "")

    def test_a_device_that_cannot_be_mounted_leaves_the_one_that_is(
        self, machine: machines.Machine, disks: list[str]
    ) -> None:
        machine.sh(f"dd if=/dev/zero of={disks[1]} bs=1k count=100 2>/dev/null")
        outer, inner = inputs(("/mnt/a", disks[0])), inputs(("/mnt/a/c", "tmpfs"), baseline="inner")
        applied(machine, outer)
        applied(machine, inner)
        machine.sh("echo work >/mnt/a/c/file")
        refused(machine, inputs(("/mnt/a", disks[1])), f"{disks[1]} cannot be mounted at /mnt/a")
        for one in (outer, inner):
            kept(machine, one)
        assert machine.sh("cat /mnt/a/number /mnt/a/c/file") == "0\nwork\n"

    @pytest.mark.parametrize("whose", ["b", "inner"])
    def test_an_image_that_lies_in_an_outer_one_makes_way_with_it(
        self, machine: machines.Machine, disks: list[str], whose: str
    ) -> None:
        for disk in disks[:2]:
            machine.sh(f"mount {disk} /run/x; truncate -s 400K /run/x/i.img; mkfs.ext4 -q /run/x/i.img; "
                       "mount /run/x/i.img /mnt; cp /run/x/number /mnt; umount /mnt /run/x")  # fmt: skip
        image = ("/mnt/a/i", "/mnt/a/i.img")
        inner = inputs(image, baseline="inner")
        more = [image] if whose == "b" else []
        applied(machine, inputs(("/mnt/a", disks[0])))
        applied(machine, inputs(("/mnt/a", disks[0]), *more) if more else inner)
        assert machine.sh("cat /mnt/a/i/number") == "0\n"
        applied(machine, inputs(("/mnt/a", disks[1]), *more))
        assert machine.sh("cat /mnt/a/number /mnt/a/i/number; ls /run/swarmctl-mounts 2>/dev/null || :") == "1\n1\n"
        machine.sh(f"dd if=/dev/zero of={disks[3]} bs=1k count=100 2>/dev/null")
        refused(machine, inputs(("/mnt/a", disks[2]), ("/mnt/b", disks[3]), *more), "cannot be mounted at")
        assert machine.sh("cat /mnt/a/number /mnt/a/i/number") == "1\n1\n", "all is as it was"
        for one in ("inner", "b"):
            taken_away(machine, one)
        assert sources(machine) == []

    def test_what_somebody_has_put_in_an_inner_place_stays_there(
        self, machine: machines.Machine, disks: list[str]
    ) -> None:
        applied(machine, inputs(("/mnt/a", disks[0])))
        applied(machine, inputs(("/mnt/a/c", disks[1]), baseline="inner"))
        machine.sh(f"umount /mnt/a/c; mount {disks[2]} /mnt/a/c")
        applied(machine, inputs(("/mnt/a", disks[3])))
        assert machine.sh("cat /mnt/a/number /mnt/a/c/number") == "3\n2\n"

    def test_what_is_left_out_stays_where_the_rest_cannot_be(self, machine: machines.Machine, disks: list[str]) -> None:
        machine.sh(f"dd if=/dev/zero of={disks[1]} bs=1k count=100 2>/dev/null")
        before = inputs(("/mnt/a", disks[0]), ("/mnt/t", "tmpfs"))
        applied(machine, before)
        machine.sh("echo work >/mnt/t/file")
        refused(machine, inputs(("/mnt/b", disks[1])), f"{disks[1]} cannot be mounted at /mnt/b")
        kept(machine, before)
        assert machine.sh("cat /mnt/a/number /mnt/t/file") == "0\nwork\n"
        applied(machine, inputs(("/mnt/b", disks[2])))
        assert sources(machine) == [f"{disks[2]} /mnt/b"]

    def test_options_are_those_before_where_others_are_refused(self, machine: machines.Machine) -> None:
        def two(options: list[str], size: str) -> dict[str, Any]:
            mounts = {"/mnt/a": options, "/mnt/b": [size]}
            return {
                **inputs(),
                "mounts": {path: {"device": "tmpfs", "type": "tmpfs", "options": it} for path, it in mounts.items()},
            }

        before = two(["nosuid"], "size=8M")
        applied(machine, before)
        machine.sh("head -c 5000000 /dev/zero >/mnt/b/file")
        message = refused(machine, two(["nosuid", "noexec"], "size=1M"), "/mnt/b cannot be mounted anew with size=1M: ")
        assert "bad option" in message
        kept(machine, before)
        assert "noexec" not in machine.sh("findmnt -rno OPTIONS --mountpoint /mnt/a")

    def test_a_table_that_cannot_be_written_leaves_all_within_each_other_in_place(
        self, machine: machines.Machine, disks: list[str]
    ) -> None:
        machine.sh("mount --make-rprivate /" + SMALL.replace("PLACE", "/etc"))
        outer = inputs(("/mnt/a", disks[0]), ("/mnt/a/b", disks[1]))
        inner = inputs(("/mnt/a/c", "tmpfs"), baseline="inner")
        applied(machine, outer)
        applied(machine, inner)
        machine.sh("echo work >/mnt/a/c/file")
        before = sources(machine)
        machine.sh(FILLED.replace("PLACE", "/etc"))
        then = inputs(("/mnt/a", disks[2]), ("/mnt/a/b", disks[3]))
        refused(machine, then, "/etc/fstab cannot be written, so it is as it was")
        assert sorted(sources(machine)) == sorted(before)
        assert machine.sh("cat /mnt/a/number /mnt/a/b/number /mnt/a/c/file") == "0\n1\nwork\n"
        machine.sh("rm /etc/filled")
        applied(machine, then)
        kept(machine, inner)
        assert machine.sh("cat /mnt/a/number /mnt/a/b/number /mnt/a/c/file") == "2\n3\nwork\n"

    def test_what_made_way_when_it_was_cut_off_is_back_with_the_next_apply(
        self, machine: machines.Machine, disks: list[str]
    ) -> None:
        then = cut_off_with_one_aside(machine, disks)
        assert places(machine) == ["/mnt/a"]
        applied(machine, then)
        assert machine.sh("cat /mnt/a/number /mnt/a/c/file") == "1\nwork\n"
        assert machine.sh("ls -d /run/swarmctl-mounts 2>/dev/null || :") == ""

    def test_one_run_waits_for_the_other(self, machine: machines.Machine, disks: list[str]) -> None:
        applied(machine, inputs(("/mnt/a", disks[0])))
        inner, other = inputs(("/mnt/a/c", "tmpfs"), baseline="inner"), inputs(("/mnt/k", "tmpfs"), baseline="other")
        applied(machine, inner)
        machine.sh("echo work >/mnt/a/c/file")
        then = inputs(("/mnt/a", disks[1]))
        whole = MOUNTS.script(then, MOUNTS.setting(then))
        slow = whole.replace("\ntable '", "\ntouch /run/begun; while [ ! -e /run/go ]; do sleep 0.1; done\ntable '")
        assert slow != whole
        machine.sh(f"cat >/run/slow <<'SLOW'\n{slow}\nSLOW\nsh -eu /run/slow >/run/said 2>&1 & "
                   "while [ ! -e /run/begun ]; do sleep 0.1; done")  # fmt: skip
        hasty = MOUNTS.script(other, MOUNTS.setting(other)).replace("flock -w 60 8", "flock -w 1 8")
        said = machine.run(("sh", "-eu", "-s"), stdin=hasty.encode(), check=False)
        assert (said.returncode, b"something else changes mounts all the time" in said.stderr) == (3, True)
        machine.sh("(sleep 1; touch /run/go) >/dev/null 2>&1 &")
        applied(machine, other)
        assert machine.sh("cat /mnt/a/number /mnt/a/c/file /run/said") == "1\nwork\n"
        for one in (then, inner):
            kept(machine, one)

    def test_a_systemd_that_does_not_take_the_table_undoes_nothing(
        self, machine: machines.Machine, disks: list[str]
    ) -> None:
        applied(machine, inputs(("/mnt/a", disks[0])))
        machine.sh("mkdir -p /run/systemd/system; printf '#!/bin/sh\\n[ $1 != daemon-reload ] || { echo Access denied; "
                   "exit 1; }\\n' >/usr/sbin/systemctl; chmod +x /usr/sbin/systemctl")  # fmt: skip
        then = inputs(("/mnt/a", disks[1]), ("/mnt/c", disks[2]))
        refused(machine, then, "systemd does not take /etc/fstab anew: Access denied")
        kept(machine, then)
        assert sources(machine) == [f"{disks[1]} /mnt/a", f"{disks[2]} /mnt/c"]
        with pytest.raises(CommandFailed, match="systemd does not take /etc/fstab anew") as caught:
            taken_away(machine, "b")
        assert "systemctl daemon-reload" in (caught.value.hint or "")
        assert (sources(machine), machine.sh(f"ls -d {RECORDS} 2>/dev/null || :")) == ([], "")
        taken_away(machine, "b")

    def test_folders_made_on_the_way_go_with_the_mount(self, machine: machines.Machine) -> None:
        applied(machine, inputs(("/mnt/x/y/z", "tmpfs"), ("/mnt/x/k", "tmpfs")))
        applied(machine, inputs(("/mnt/x/k", "tmpfs")))
        assert machine.sh("find /mnt/x") == "/mnt/x\n/mnt/x/k\n"
        taken_away(machine, "b")
        assert machine.sh("ls /mnt") == ""

    @pytest.mark.parametrize("renamed", [True, False], ids=["renamed", "handed over"])
    def test_folders_that_another_baseline_has_made_on_the_way_go_with_the_mount(
        self, machine: machines.Machine, renamed: bool
    ) -> None:
        before, then = (inputs(("/mnt/x/y/z", "tmpfs"), baseline=name) for name in ("aa", "bb"))
        applied(machine, before)
        if renamed:
            MOUNTS.update(machines.OneHost(machine), before, then)  # type: ignore[arg-type]
        else:
            applied(machine, then)
            taken_away(machine, "aa")
        kept(machine, then)
        taken_away(machine, "bb")
        assert machine.sh("ls /mnt") == ""

    def test_a_refused_change_leaves_no_folder_on_a_device(self, machine: machines.Machine, disks: list[str]) -> None:
        machine.sh(f"dd if=/dev/zero of={disks[3]} bs=1k count=100 2>/dev/null")
        applied(machine, inputs(("/mnt/a", disks[0])))
        then = inputs(("/mnt/a", disks[1]), ("/mnt/a/in", disks[3]))
        refused(machine, then, f"{disks[3]} cannot be mounted at /mnt/a/in")
        assert machine.sh(f"mount {disks[1]} /run/x; ls /run/x; umount /run/x") == "lost+found\nnumber\n"
        machine.sh("mkdir /mnt/a/in")
        applied(machine, inputs(("/mnt/a", disks[0]), ("/mnt/b", disks[2])))
        assert machine.sh("ls /mnt/a") == "in\nlost+found\nnumber\n", "somebody's"

    def test_a_table_that_is_a_link_stays_one(self, machine: machines.Machine) -> None:
        machine.sh("mv /etc/fstab /etc/fstab.real; ln -s fstab.real /etc/fstab; chmod 600 /etc/fstab.real")
        wanted = inputs(("/mnt/a", "tmpfs"))
        applied(machine, wanted)
        look = "readlink /etc/fstab; stat -c %a /etc/fstab.real"
        assert machine.sh(look) == "fstab.real\n600\n"
        taken_away(machine, "b")
        assert machine.sh(f"{look}; cat /etc/fstab") == "fstab.real\n600\n# theirs\n"

    def test_a_table_without_an_end_is_read_whole(self, machine: machines.Machine) -> None:
        wanted = inputs(("/mnt/a", "tmpfs"))
        applied(machine, wanted)
        machine.sh('printf %s "$(cat /etc/fstab)" >/run/table; cat /run/table >/etc/fstab')
        kept(machine, wanted)

    def test_a_size_that_is_left_out_is_half_of_the_memory_again(self, machine: machines.Machine) -> None:
        def sized(*options: str) -> dict[str, Any]:
            return {**inputs(), "mounts": {"/mnt/a": {"device": "tmpfs", "type": "tmpfs", "options": [*options]}}}

        applied(machine, sized("nosuid", "size=8M"))
        assert "size=8192k" in machine.sh("findmnt -rno OPTIONS --mountpoint /mnt/a")
        applied(machine, sized("nosuid"))
        assert "size=8192k" not in machine.sh("findmnt -rno OPTIONS --mountpoint /mnt/a")


def test_records_are_of_places_with_what_was_mounted_there(machine: machines.Machine) -> None:
    """One that says no more than the place is of what the table says."""
    applied(machine, inputs(("/mnt/a", "tmpfs"), ("/mnt/b", "tmpfs")))
    machine.sh(f"printf '/mnt/a\\n/mnt/b\\n' >{RECORDS}/b/mounts/did")
    applied(machine, inputs(("/mnt/a", "tmpfs")))
    taken_away(machine, "b")
    assert sources(machine) == []
