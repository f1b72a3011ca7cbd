"""What is odd about mounts is refused before anything is touched, and what lies in memory is never lost."""

from __future__ import annotations

from typing import Any

import pytest

from swarmctl.backends.base import CommandFailed
from swarmctl.kinds.host_baseline.aspects.mounts import MOUNTS
from swarmctl.kinds.host_baseline.reading import RECORDS
from tests.kinds.host_baseline import machine as machines
from tests.kinds.host_baseline.test_mounts import applied, inputs, kept, taken_away
from tests.kinds.host_baseline.test_mounts_kept import (
    BTRFS,
    cut_off,
    cut_off_with_one_aside,
    disks,
    machine,
    refused,
    sources,
)
from tests.kinds.host_baseline.test_mounts_whose import own_label

__all__ = ["disks", "machine"]
pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(machines.missing()), reason=machines.missing())]
STACKED = "several file systems are mounted at {}, one over the other, so none is unmounted"


def with_options(path: str, device: str, kind: str, *options: str) -> dict[str, Any]:
    return {**inputs(), "mounts": {path: {"device": device, "type": kind, "options": [*options]}}}


def seen(machine: machines.Machine, wanted: dict[str, Any]) -> dict[str, Any]:
    observed = MOUNTS.read(machines.OneHost(machine), wanted)  # type: ignore[arg-type]
    assert observed is not None
    found: dict[str, Any] = observed.inputs["mounts"]
    return found


def not_taken_away(machine: machines.Machine, why: str, baseline: str = "b") -> str:
    with pytest.raises(CommandFailed, match=why) as caught:
        taken_away(machine, baseline)
    return caught.value.hint or ""


class TestStacked:
    @pytest.mark.parametrize("inner", ["disk", "tmpfs"])
    def test_files_of_somebody_s_over_an_inner_mount_are_kept(
        self, machine: machines.Machine, disks: list[str], inner: str
    ) -> None:
        applied(machine, inputs(("/mnt/a", disks[0])))
        applied(machine, inputs(("/mnt/a/c", disks[1] if inner == "disk" else "tmpfs"), baseline="inner"))
        machine.sh("echo below >/mnt/a/c/file; mount -t tmpfs mine /mnt/a/c; echo precious >/mnt/a/c/file")
        before = sources(machine)
        refused(machine, inputs(("/mnt/a", disks[2])), STACKED.format("/mnt/a/c"))
        not_taken_away(machine, STACKED.format("/mnt/a/c"))
        assert sources(machine) == before
        assert machine.sh("cat /mnt/a/c/file; umount /mnt/a/c; cat /mnt/a/c/file") == "precious\nbelow\n"
        applied(machine, inputs(("/mnt/a", disks[2])))
        assert machine.sh("cat /mnt/a/number /mnt/a/c/file") == "2\nbelow\n"

    @pytest.mark.parametrize("below", [0, 1], ids=["its own", "somebody's"])
    def test_what_lies_below_is_not_taken_for_the_baseline_s(
        self, machine: machines.Machine, disks: list[str], below: int
    ) -> None:
        applied(machine, inputs(("/mnt/a", disks[0])))
        if below:
            machine.sh(f"umount /mnt/a; mount -o noatime {disks[1]} /mnt/a; mount {disks[0]} /mnt/a")
        else:
            machine.sh("mount --bind /mnt/a /mnt/a")
        before = sources(machine)
        assert len(before) == 2
        refused(machine, inputs(("/mnt/a", disks[2])), STACKED.format("/mnt/a"))
        assert "umount /mnt/a" in not_taken_away(machine, STACKED.format("/mnt/a"))
        assert sources(machine) == before
        machine.sh("umount /mnt/a")
        taken_away(machine, "b")
        assert sources(machine) == ([f"{disks[1]} /mnt/a"] if below else [])

    def test_what_would_be_left_below_keeps_the_baseline(self, machine: machines.Machine, disks: list[str]) -> None:
        applied(machine, inputs(("/mnt/a", disks[0])))
        machine.sh(f"mount {disks[1]} /mnt/a")
        not_taken_away(machine, STACKED.format("/mnt/a"))
        machine.sh("umount /mnt/a")
        taken_away(machine, "b")
        assert sources(machine) == []

    def test_what_comes_while_a_change_is_made_is_seen(self, machine: machines.Machine, disks: list[str]) -> None:
        """Nothing keeps others from mounting between two steps: after it was unmounted it is looked at again."""
        applied(machine, inputs(("/mnt/a", disks[0])))
        wanted = inputs(("/mnt/a", disks[1]))
        whole = MOUNTS.script(wanted, MOUNTS.setting(wanted))
        script = whole.replace('    release "$1"\n', f'    release "$1"\n    command mount {disks[2]} /mnt/a\n', 1)
        assert script != whole
        done = machine.run(("sh", "-eu", "-s"), stdin=script.encode(), check=False)
        assert f"something else is mounted at /mnt/a: {disks[2]} (ext4)" in done.stderr.decode()
        assert sources(machine) == [f"{disks[2]} /mnt/a"]
        machine.sh("umount /mnt/a")
        applied(machine, inputs(("/mnt/a", disks[0])))


class TestKilled:
    @pytest.mark.parametrize("then", [0, 1], ids=["as before", "again"])
    @pytest.mark.parametrize("whose", ["b", "inner"])
    def test_between_unmounting_and_mounting(
        self, machine: machines.Machine, disks: list[str], then: int, whose: str
    ) -> None:
        inner = ("/mnt/a/c", "tmpfs")
        more = [inner] if whose == "b" else []
        one, two = (inputs(("/mnt/a", disk), *more) for disk in disks[:2])
        applied(machine, one)
        if whose == "inner":
            applied(machine, inputs(inner, baseline="inner"))
        machine.sh("echo work >/mnt/a/c/file")
        cut_off(machine, MOUNTS.script(two, MOUNTS.setting(two)), "  said=$(mount -t ")
        assert sources(machine) == []
        applied(machine, (one, two)[then])
        assert machine.sh("cat /mnt/a/number /mnt/a/c/file") == f"{then}\nwork\n"
        for name in ("b", "inner"):
            taken_away(machine, name)
        assert sources(machine) == []
        assert machine.sh("cat /etc/fstab; ls /mnt; ls -d /run/swarmctl-mounts 2>/dev/null || :") == "# theirs\n"

    def test_what_is_kept_is_not_thrown_away_for_what_came_in_its_place(
        self, machine: machines.Machine, disks: list[str]
    ) -> None:
        """As a systemd does it that starts the unit of the inner mount again."""
        then = cut_off_with_one_aside(machine, disks)
        machine.sh("mkdir -p /mnt/a/c; mount -t tmpfs tmpfs /mnt/a/c")
        message = refused(machine, then, "something else is mounted at /mnt/a/c, and what was there is kept at ")
        assert "all else is done" not in message
        machine.sh("umount /mnt/a/c")
        applied(machine, then)
        assert machine.sh("cat /mnt/a/number /mnt/a/c/file") == "1\nwork\n"

    def test_what_is_kept_outlives_a_line_that_is_a_comment_by_now(
        self, machine: machines.Machine, disks: list[str]
    ) -> None:
        inner = inputs(("/mnt/a/c", "tmpfs"), baseline="inner")
        applied(machine, inputs(("/mnt/a", disks[0])))
        applied(machine, inner)
        machine.sh("echo work >/mnt/a/c/file")
        then = inputs(("/mnt/a", disks[1]))
        cut_off(machine, MOUNTS.script(then, MOUNTS.setting(then)), "table ' /mnt/a '")
        machine.sh("sed -i 's,^tmpfs,#tmpfs,' /etc/fstab")
        applied(machine, then)
        applied(machine, inner)
        assert machine.sh("cat /mnt/a/c/file") == "work\n"


class TestPlaces:
    def test_that_are_hidden_are_told(self, machine: machines.Machine, disks: list[str]) -> None:
        wanted = inputs(("/mnt/p/a", disks[0]))
        machine.sh("mkdir /mnt/p")
        applied(machine, wanted)
        machine.sh(f"mount {disks[1]} /mnt/p; mkdir /mnt/p/a")
        hidden = {"device": f"{disks[0]} (hidden by what is mounted at /mnt/p)"}
        assert seen(machine, wanted)["/mnt/p/a"] == {**wanted["mounts"]["/mnt/p/a"], **hidden}
        why = "/mnt/p/a cannot be reached: it is hidden by what is mounted at /mnt/p"
        refused(machine, wanted, why)
        not_taken_away(machine, why)
        assert sources(machine) == [f"{disks[0]} /mnt/p/a", f"{disks[1]} /mnt/p"]
        machine.sh("umount /mnt/p")
        kept(machine, wanted)
        taken_away(machine, "b")
        assert sources(machine) == []

    @pytest.mark.parametrize(
        ("made", "why"),
        [
            ("echo x >/mnt/a", "/mnt/a is a file, and not a folder"),
            ("ln -s nowhere /mnt/a", "/mnt/a is no place of its own: a link leads to /mnt/nowhere"),
            ("mkdir /mnt/real; ln -s real /mnt/a", "/mnt/a is no place of its own: a link leads to /mnt/real"),
        ],
    )
    def test_that_are_none(self, machine: machines.Machine, disks: list[str], made: str, why: str) -> None:
        machine.sh(made)
        refused(machine, inputs(("/mnt/a", disks[0])), why)
        assert machine.sh(f"ls -d {RECORDS} 2>/dev/null || :") == "", "nothing was touched"

    def test_a_link_on_the_way_is_told(self, machine: machines.Machine, disks: list[str]) -> None:
        machine.sh("mkdir /mnt/real; ln -s real /mnt/link")
        wanted = inputs(("/mnt/link/x/b", disks[1]), ("/mnt/real", disks[0]))
        refused(machine, wanted, "/mnt/link/x/b is no place of its own: a link leads to /mnt/real/x/b")
        assert sources(machine) == []

    def test_a_link_that_was_a_place_once_is_told_when_it_is_given_back(
        self, machine: machines.Machine, disks: list[str]
    ) -> None:
        applied(machine, inputs(("/mnt/a", disks[0])))
        machine.sh(f"umount /mnt/a; rmdir /mnt/a; mkdir /mnt/real; ln -s real /mnt/a; mount {disks[0]} /mnt/real")
        not_taken_away(machine, "/mnt/a is no place of its own: a link leads to /mnt/real, where ")
        machine.sh("umount /mnt/real")
        taken_away(machine, "b")
        assert machine.sh("cat /etc/fstab") == "# theirs\n"

    @pytest.mark.parametrize("whole", [False, True], ids=["two baselines", "one"])
    def test_around_what_is_there(self, machine: machines.Machine, disks: list[str], whole: bool) -> None:
        inner = inputs(("/mnt/a/b", disks[1]), baseline="bb")
        applied(machine, inner)
        machine.sh("touch /mnt/a/somebodys")
        outer = inputs(
            ("/mnt/a", disks[0]), *([("/mnt/a/b", disks[1])] if whole else []), baseline="bb" if whole else "aa"
        )
        refused(machine, outer, "/mnt/a is not empty, and what is in it could not be seen any more")
        machine.sh("rm /mnt/a/somebodys")
        applied(machine, outer)
        assert machine.sh("cat /mnt/a/number /mnt/a/b/number") == "0\n1\n"
        if not whole:
            kept(machine, inner)
        for name in ("bb", "aa"):
            taken_away(machine, name)
        assert (sources(machine), machine.sh("ls /mnt")) == ([], "")


class TestDevices:
    def test_that_are_mounted_elsewhere_too_stay_there_as_they_are(
        self, machine: machines.Machine, disks: list[str]
    ) -> None:
        applied(machine, with_options("/mnt/a", disks[0], "ext4", "nofail"))
        machine.sh(f"mkdir /mnt/theirs; mount {disks[0]} /mnt/theirs")
        wanted = with_options("/mnt/a", disks[0], "ext4", "commit=77", "nofail")
        refused(machine, wanted, f"{disks[0]} is mounted at /mnt/theirs, too, and commit=77 would change there as well")
        applied(machine, with_options("/mnt/a", disks[0], "ext4", "nosuid", "ro", "nofail"))
        machine.sh("touch /mnt/theirs/x; ! touch /mnt/a/x 2>/dev/null")
        assert "nosuid" not in machine.sh("findmnt -rno OPTIONS --mountpoint /mnt/theirs"), "that is of one mount alone"
        machine.sh("umount /mnt/theirs")
        applied(machine, wanted)

    def test_flags_that_are_given_back_are_those_of_one_mount(
        self, machine: machines.Machine, disks: list[str]
    ) -> None:
        machine.sh(f"mkdir /mnt/a /mnt/theirs; mount -o ro,noexec {disks[0]} /mnt/a")
        applied(machine, with_options("/mnt/a", disks[0], "ext4", "nosuid", "nofail"))
        machine.sh(f"mount {disks[0]} /mnt/theirs")
        taken_away(machine, "b")
        machine.sh("touch /mnt/theirs/x")
        assert machine.sh("findmnt -rno OPTIONS --mountpoint /mnt/a").startswith("ro,noexec,")

    def test_a_name_that_is_another_disk_s_by_now(self, machine: machines.Machine, disks: list[str]) -> None:
        label = own_label(disks)
        machine.sh(f"e2label {disks[0]} {label}")
        applied(machine, inputs(("/mnt/a", f"LABEL={label}")))
        machine.sh(f"umount /mnt/a; e2label {disks[0]} ''; mkfs.ext4 -q -F {disks[0]}; mount {disks[0]} /mnt/a; "
                   "rm -rf /run/blkid")  # fmt: skip
        taken_away(machine, "b")
        assert sources(machine) == [f"{disks[0]} /mnt/a"], "it is somebody's"

    def test_a_file_that_was_replaced_by_another_one(self, machine: machines.Machine) -> None:
        machine.sh("truncate -s 2M /mnt/d.img; mkfs.ext4 -q /mnt/d.img")
        applied(machine, inputs(("/mnt/a", "/mnt/d.img")))
        machine.sh("cp /mnt/d.img /mnt/e.img; mv /mnt/e.img /mnt/d.img")
        taken_away(machine, "b")
        assert sources(machine) == []

    def test_by_the_record_of_the_version_before(self, machine: machines.Machine, disks: list[str]) -> None:
        label = own_label(disks)
        machine.sh(f"e2label {disks[0]} {label}")
        applied(machine, inputs(("/mnt/a", f"LABEL={label}")))
        machine.sh(f"e2label {disks[0]} old; rm -rf /run/blkid; cd {RECORDS}/b/mounts; cut -f 1-5 did >/run/did; "
                   "cat /run/did >did; awk -F '\\t' '{ exit NF != 5 }' did")  # fmt: skip
        taken_away(machine, "b")
        assert sources(machine) == []

    @pytest.mark.skipif(not BTRFS[0], reason="needs mkfs.btrfs")
    def test_a_btrfs_of_two_is_at_rest_by_either(self, machine: machines.Machine) -> None:
        machine.sh("truncate -s 128M /run/one.img /run/two.img")
        pair = [machines.attached(machine, f"/run/{name}.img") for name in ("one", "two")]
        try:
            machine.sh(f"{BTRFS[0]} -q -f {' '.join(pair)}; {BTRFS[1]} device scan {' '.join(pair)}")
            for device in pair:
                applied(machine, with_options("/mnt/a", device, "btrfs", "subvol=/", "nofail"))
                machine.sh("[ -e /run/pid ] || { cd /mnt/a; sleep 60 >/dev/null 2>&1 & echo $! >/run/pid; }")
            machine.sh("kill $(cat /run/pid); while ! umount /mnt/a; do sleep 0.1; done")
        finally:
            machine.sh(f"umount /mnt/a 2>/dev/null || :; losetup -d {' '.join(pair)}")


class TestWords:
    def test_what_is_mounted_within_by_somebody_is_named(self, machine: machines.Machine, disks: list[str]) -> None:
        applied(machine, inputs(("/mnt/a", disks[0])))
        machine.sh("mkdir /mnt/a/own; mount -t tmpfs mine /mnt/a/own")
        refused(
            machine, inputs(("/mnt/a", disks[1])), "/mnt/a is in use, so it is not unmounted: /mnt/a/own is mounted"
        )

    def test_a_uuid_in_other_letters_is_named(self, machine: machines.Machine, disks: list[str]) -> None:
        uuid = machine.sh(f"blkid -p -s UUID -o value {disks[0]}").strip()
        why = f"there is no UUID={uuid.upper()} to mount at /mnt/a, but UUID={uuid}"
        refused(machine, inputs(("/mnt/a", f"UUID={uuid.upper()}")), why)

    def test_a_table_that_is_kept_as_it_is(self, machine: machines.Machine, disks: list[str]) -> None:
        machine.sh("cp /etc/fstab /run/fstab; mount --bind /run/fstab /etc/fstab")
        refused(machine, inputs(("/mnt/a", disks[0])), "/etc/fstab cannot be replaced, so it is as it was")
        assert (sources(machine), machine.sh("cat /etc/fstab; ls -A /etc | grep swarmctl || :")) == ([], "# theirs\n")

    def test_an_option_that_a_mounted_file_system_does_not_take(
        self, machine: machines.Machine, disks: list[str]
    ) -> None:
        applied(machine, with_options("/mnt/a", disks[0], "ext4", "nofail"))
        with pytest.raises(CommandFailed, match="cannot be mounted anew with data=journal") as caught:
            applied(machine, with_options("/mnt/a", disks[0], "ext4", "data=journal"))
        assert "unmount it by `umount /mnt/a` first" in (caught.value.hint or "")
        machine.sh("umount /mnt/a")
        applied(machine, with_options("/mnt/a", disks[0], "ext4", "data=journal"))

    def test_what_went_read_only_by_an_error_is_told(self, machine: machines.Machine, disks: list[str]) -> None:
        wanted = with_options("/mnt/a", disks[0], "ext4", "errors=remount-ro", "nofail")
        applied(machine, wanted)
        machine.sh(f"echo 1 >/sys/fs/ext4/$(basename {disks[0]})/trigger_fs_error")
        assert seen(machine, wanted)["/mnt/a"]["options"][-1] == "ro (not in /etc/fstab)"
