"""Options of what is mounted: what is declared counts as in force once it is, and what is set by hand does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from swarmctl.kinds.host_baseline.aspects.mounts import MOUNTS
from swarmctl.kinds.host_baseline.options import ATIMES, FLAGS, anew, told, vague, words
from tests.kinds.host_baseline import machine as machines

NAMED = [*FLAGS, *FLAGS.values(), *ATIMES, "atime", "norelatime", "nostrictatime"]
SILENT = ["nofail", "noauto", "auto", "defaults", "user", "users", "nouser", "owner", "group", "_netdev", "x-a.b=1"]
OWN = {
    "tmpfs": ["size=1m", "size=3000k", "size=2M", "size=50%", "size=1000001", "mode=0750", "nr_inodes=1k", "uid=7"],
    "ext4": ["data=ordered", "commit=30", "errors=remount-ro", "barrier=1", "discard", "dirsync", "lazytime"],
}
needed = pytest.mark.skipif(bool(machines.missing()), reason=machines.missing())


def lists(*kinds: str) -> st.SearchStrategy[list[str]]:
    known = [*NAMED, *SILENT, *(one for kind in kinds for one in OWN[kind])]
    return st.lists(st.sampled_from(known), min_size=1, max_size=8, unique=True)


@given(lists("tmpfs", "ext4"), st.sets(st.sampled_from([*FLAGS, *ATIMES[:2]])))
def test_what_the_script_looks_for_is_what_is_told(options: list[str], live: set[str]) -> None:
    must, never = words(options)
    in_force = {*must} <= live and live.isdisjoint(never)
    assert (told(options, "tmpfs", live) == options) is in_force
    again = anew(options).split(",")
    assert words(again[1:]) == (must, never), "mounted anew it is what is declared"
    assert not {*SILENT} & {*again}


@pytest.mark.parametrize(
    ("options", "live", "found"),
    [
        (["noatime", "nofail"], "ro,nodev,noatime", ["noatime", "nofail", "ro #", "nodev #"]),
        (["nosuid", "nofail"], "rw,relatime", ["nosuid (not in force)", "nofail"]),
        (["nosymfollow"], "rw,relatime", ["nosymfollow (not in force)"]),
        ([], "rw,relatime,nosymfollow", ["nosymfollow #"]),
        (["user", "exec"], "rw,nosuid,nodev,relatime", ["user", "exec"]),
        (["user"], "rw,nosuid,nodev,relatime", ["user", "exec #"]),
        (["rw"], "ro,noatime", ["rw (not in force)", "ro #", "noatime #"]),
        (["noatime"], "rw", ["noatime (not in force)", "strictatime #"]),
        (["noatime", "relatime"], "rw,noatime", ["noatime", "relatime"]),
        (["size=1g"], "rw,relatime,size=1048576k", ["size=1g"]),
        (["size=1g"], "rw,relatime,size=2097152k", ["size=1g (not in force)"]),
        (["size=1g", "size=2g"], "rw,relatime,size=2097152k", ["size=1g", "size=2g"]),
        (["size=50%", "nofail"], "rw,relatime,size=2097152k", ["size=50%", "nofail"]),
        (["bind"], "ro,nodev,noatime", ["bind"]),
    ],
)
def test_what_is_not_as_the_line_says_has_a_note(options: list[str], live: str, found: list[str]) -> None:
    assert told(options, "tmpfs", live.split(",")) == [one.replace("#", "(not in /etc/fstab)") for one in found]


@pytest.mark.parametrize(
    ("kind", "options", "places"),
    [
        ("btrfs", ["subvol=/", "noatime"], []),
        ("btrfs", ["subvol=data"], []),
        ("btrfs", ["nofail", "subvol=/@home/a.b"], []),
        ("btrfs", ["subvolid=5"], []),
        ("btrfs", ["subvolid=18446744073709551"], []),
        ("btrfs", ["noatime"], [-1]),
        *(("btrfs", [one], [0]) for one in ("subvol=/data/", "subvol=//data", "subvol=/a//b", "subvol=a/../b")),
        *(("btrfs", [one], [0]) for one in ("subvol=./a", "subvolid=0", "subvolid=0x100", "subvolid=0256")),
        ("btrfs", ["subvol=/a", "noatime", "subvol=/b"], [2]),
        ("ext4", ["subvol=/data"], [0]),
        ("ext4", ["nofail", "x-systemd.automount"], [1]),
        ("nfs", ["x-systemd.automount=yes", "nofail"], [0]),
        ("ext4", ["x-systemd.device-timeout=10s", "nofail"], []),
        ("tmpfs", ["size=010m"], [0]),
        ("tmpfs", ["nofail", "nr_blocks=100"], [1]),
        *(("ext4", ["nofail", one], [1]) for one in ("bind", "rbind", "move", "remount", "x-swarmctl.other")),
        *(("xfs", [one], [0]) for one in ("x-systemd.makefs", "x-mount.mkdir", "x-mount.mkdir=0755")),
        ("ext4", ["x-systemd.requires=a.service", "x-a.swarmctl"], []),
        ("tmpfs", ["size=0", "size=10m", "size=50%"], []),
    ],
)
def test_what_cannot_be_compared_is_told(kind: str, options: list[str], places: list[int]) -> None:
    assert [place for place, _, _ in vague(kind, options)] == places


@pytest.mark.parametrize(
    ("kind", "before", "after", "told"),
    [
        ("btrfs", ["subvol=/a"], ["subvol=/b"], "unmounts /mnt/a and mounts what is declared"),
        ("btrfs", ["subvol=/a", "noatime"], ["subvol=a"], ""),
        ("btrfs", ["subvol=/a"], ["subvolid=256"], "unmounts /mnt/a and mounts what is declared"),
        ("ext4", ["commit=77", "discard", "nosuid"], ["nosuid"], "commit=77, discard counts at /mnt/a until it"),
        ("ext4", ["commit=77", "x-a.b=c", "user", "noatime"], ["commit=30"], ""),
        ("tmpfs", ["size=8M"], ["nosuid"], ""),
        ("tmpfs", ["mode=0700"], ["nosuid"], "mode=0700 counts at /mnt/a until it is mounted the next time"),
        ("tmpfs", ["mode=0700"], ["mode=0755"], "mode=0755 counts at /mnt/a from when it is mounted the next time"),
        ("tmpfs", ["uid=7"], ["uid=7", "gid=9"], "gid=9 counts at /mnt/a from when it is mounted the next time"),
        ("ext4", ["nosuid (not in force)", "ro (not in /etc/fstab)"], ["nosuid"], ""),
    ],
)
def test_a_plan_tells_what_is_unmounted_and_what_counts_later(
    kind: str, before: list[str], after: list[str], told: str
) -> None:
    text = MOUNTS.impact_of(inputs(kind, "LABEL=a", before), inputs(kind, "LABEL=a", after))
    assert text.startswith(told)
    assert bool(text) is bool(told)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[machines.Machine]:
    with machines.Machine(tmp_path_factory.mktemp("machine")) as made:
        made.sh("printf '# theirs\\n' >/etc/fstab; mount -t tmpfs tmpfs /mnt")
        yield made


@pytest.fixture(scope="module")
def disk(machine: machines.Machine) -> Iterator[str]:
    machine.sh("truncate -s 8M /run/disk.img; mkfs.ext4 -q /run/disk.img")
    made = machines.attached(machine, "/run/disk.img")
    yield made
    machine.sh(f"umount -A {made} 2>/dev/null || :; losetup -d {made}")


def inputs(kind: str, device: str, options: list[str]) -> dict[str, Any]:
    base = {"machine": "m", "host": {"backend": "test", "node": "n1"}, "node": "n1", "baseline": "b"}
    return {**base, "mounts": {"/mnt/a": {"device": device, "type": kind, "options": options}}}


def options_of(machine: machines.Machine, recorded: dict[str, Any]) -> list[str]:
    observed = MOUNTS.read(machines.OneHost(machine), recorded)  # type: ignore[arg-type]
    assert observed is not None
    found: list[str] = observed.inputs["mounts"]["/mnt/a"]["options"]
    return found


def converge(machine: machines.Machine, kind: str, device: str, first: list[str], second: list[str], hand: str) -> None:
    """Mounted with the first, changed by hand, back again; then changed to the second, and taken away."""
    machine.calls.clear()
    hosts: Any = machines.OneHost(machine)
    declared, then = inputs(kind, device, first), inputs(kind, device, second)
    MOUNTS.create(hosts, declared)
    assert options_of(machine, declared) == first
    machine.sh(f"mount -o remount,{hand} {device} /mnt/a")
    for _ in range(2):
        hosts.changed({})
        MOUNTS.create(hosts, declared)
        assert options_of(machine, declared) == first
    MOUNTS.update(hosts, declared, then)
    assert options_of(machine, then) == second
    line = machine.sh("tail -n 1 /etc/fstab").split()[3]
    assert line == ",".join([*second, "x-swarmctl.b"])
    # As a restart does it.
    machine.sh(f"umount /mnt/a; mount -t {kind} -o {line} {device} /mnt/a")
    assert options_of(machine, then) == second
    MOUNTS.delete(hosts, then)
    assert machine.sh("cat /etc/fstab; ls /mnt") == "# theirs\n"


HAND = st.sampled_from(["ro", "nodev,ro", "suid,dev,exec", "noatime", "strictatime", "nodiratime,noexec", "sync", "rw"])
few = settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.integration
@needed
@few
@given(lists("tmpfs"), lists("tmpfs"), HAND)
@example(["noatime", "nofail"], ["nofail"], "nodev,ro")
def test_of_a_tmpfs_what_is_declared_is_in_force_at_once_and_stays_so(
    machine: machines.Machine, first: list[str], second: list[str], hand: str
) -> None:
    converge(machine, "tmpfs", "tmpfs", first, second, hand)


@pytest.mark.integration
@needed
@few
@given(lists("ext4"), lists("ext4"), HAND)
@example(["nosuid", "noexec", "nofail"], ["nofail"], "suid,exec")
def test_of_a_disk_what_is_declared_is_in_force_at_once_and_stays_so(
    machine: machines.Machine, disk: str, first: list[str], second: list[str], hand: str
) -> None:
    converge(machine, "ext4", disk, first, second, hand)


@pytest.mark.integration
@needed
@pytest.mark.parametrize("hand", ["nodev,ro", "suid,exec,dev,rw,noatime"])
def test_what_is_set_by_hand_is_told_and_goes_into_the_line_when_it_is_declared(
    machine: machines.Machine, hand: str
) -> None:
    hosts: Any = machines.OneHost(machine)
    recorded = inputs("tmpfs", "tmpfs", ["nosuid", "nofail"])
    MOUNTS.create(hosts, recorded)
    machine.sh(f"mount -o remount,{hand} tmpfs /mnt/a")
    hosts.changed({})
    found = MOUNTS.read(hosts, recorded)
    assert found is not None
    assert [".".join(it.path) for it in MOUNTS.diff(found.inputs, recorded)] == ["mounts./mnt/a.options"]
    wanted = inputs("tmpfs", "tmpfs", [*hand.split(","), "nofail"])
    assert MOUNTS.diff(found.inputs, wanted)
    MOUNTS.update(hosts, found.inputs, wanted)
    assert machine.sh("tail -n 1 /etc/fstab").split()[3] == f"{hand},nofail,x-swarmctl.b"
    assert options_of(machine, wanted) == wanted["mounts"]["/mnt/a"]["options"]
    MOUNTS.delete(hosts, wanted)


@pytest.mark.integration
@needed
def test_what_was_mounted_before_has_its_options_again(machine: machines.Machine) -> None:
    hosts: Any = machines.OneHost(machine)
    of_it = "findmnt -rno OPTIONS --mountpoint /mnt/pre"
    for options in ("relatime,noexec", "strictatime,nodiratime", "noatime,ro"):
        machine.sh(f"mkdir -p /mnt/pre; mount -t tmpfs -o {options} tmpfs /mnt/pre")
        before = machine.sh(of_it)
        wanted = inputs("tmpfs", "tmpfs", ["nosuid", "noatime", "nofail"])
        wanted["mounts"]["/mnt/pre"] = wanted["mounts"].pop("/mnt/a")
        MOUNTS.create(hosts, wanted)
        assert "nosuid" in machine.sh(of_it)
        MOUNTS.delete(hosts, wanted)
        assert machine.sh(of_it) == before
        machine.sh("umount /mnt/pre; rmdir /mnt/pre")
