"""A disk that is full ends in an error of that machine, and every file is what it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmctl.errors import SwarmError
from swarmctl.kinds.base import ResourceType
from swarmctl.kinds.host_baseline.aspects.kernel import KERNEL
from swarmctl.kinds.host_baseline.aspects.mounts import MOUNTS
from swarmctl.kinds.host_baseline.aspects.packages import _noted
from swarmctl.kinds.host_baseline.aspects.swap import SWAP
from swarmctl.kinds.host_baseline.aspects.sysctl import SYSCTL
from swarmctl.kinds.host_baseline.aspects.time import TIME
from swarmctl.kinds.host_baseline.aspects.upgrades import UPGRADES
from swarmctl.kinds.host_baseline.aspects.users import USERS
from swarmctl.kinds.host_baseline.reading import RECORDS
from tests.kinds.host_baseline import machine as machines

pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(machines.missing()), reason=machines.missing())]

TABLE = "# theirs\n/dev/sda1 / ext4 defaults 0 1\nUUID=1-2 none swap sw 0 0\nUUID=3-4 /boot ext4 defaults 0 2\n\n"
SMALL = """
copy=$(mktemp -d)
mount -t tmpfs -o size=32m tmpfs "$copy"
cp -a PLACE/. "$copy"
mount --move "$copy" PLACE
"""
NO_FILES = """
i=0
while touch PLACE/none$i; do i=$((i + 1)); done 2>/dev/null
"""
"""Room, but for no file more."""
FILLED = "dd if=/dev/zero of=PLACE/filled bs=4k 2>/dev/null || :"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[machines.Machine]:
    with machines.Machine(tmp_path) as made:
        made.sh(f"printf '%s' '{TABLE}' >/etc/fstab; mkdir -p {RECORDS}")
        made.sh(SMALL.replace("PLACE", "/etc"))
        yield made


def inputs(**own: Any) -> dict[str, Any]:
    return {"machine": "m", "host": {"backend": "test", "node": "n1"}, "node": "n1", "baseline": "b", **own}


def mounts(*paths: str) -> dict[str, Any]:
    one = {"device": "tmpfs", "type": "tmpfs", "options": ["nosuid", "nodev", "nofail"]}
    return inputs(mounts=dict.fromkeys(paths, one))


def values(**found: str) -> dict[str, Any]:
    return inputs(values={f"net.core.{name}": value for name, value in found.items()})


def refused(kind: ResourceType, machine: machines.Machine, wanted: dict[str, Any] | None) -> str:
    hosts: Any = machines.OneHost(machine)
    with pytest.raises(SwarmError) as caught:
        kind.create(hosts, wanted) if wanted is not None else kind.delete(hosts, inputs())
    assert caught.value.message.startswith("n1: ")
    assert "there is room" in caught.value.hint
    return caught.value.message


def applied(kind: ResourceType, machine: machines.Machine, wanted: dict[str, Any]) -> None:
    hosts: Any = machines.OneHost(machine)
    kind.create(hosts, wanted)
    observed = kind.read(hosts, wanted)
    assert observed is not None
    assert observed.inputs == wanted


def left(machine: machines.Machine) -> str:
    return machine.sh("find /etc -name '*.swarmctl-new'")


def test_the_table_of_file_systems_keeps_every_line(machine: machines.Machine) -> None:
    applied(MOUNTS, machine, mounts("/mnt/first"))
    table = machine.sh("cat /etc/fstab")
    machine.sh(FILLED.replace("PLACE", "/etc"))
    assert "/etc/fstab cannot be written" in refused(MOUNTS, machine, mounts("/mnt/first", "/mnt/z"))
    assert machine.sh("cat /etc/fstab") == table
    assert "/mnt/z" not in machine.sh("cat /proc/mounts"), "nobody would know that it is the baseline's"
    assert "/etc/fstab cannot be written" in refused(MOUNTS, machine, None)
    assert machine.sh("cat /etc/fstab") == table
    assert left(machine) == ""
    machine.sh("rm /etc/filled")
    applied(MOUNTS, machine, mounts("/mnt/first", "/mnt/z"))
    hosts: Any = machines.OneHost(machine)
    MOUNTS.delete(hosts, inputs())
    assert machine.sh("cat /etc/fstab") == TABLE


def test_swap_is_not_turned_off_by_an_empty_table(machine: machines.Machine) -> None:
    if len(machine.sh("cat /proc/swaps").splitlines()) > 1:
        pytest.skip("this machine swaps, and its swap is not the test's to turn off")
    machine.sh(FILLED.replace("PLACE", "/etc"))
    assert "/etc/fstab cannot be written" in refused(SWAP, machine, inputs(swap="off"))
    assert machine.sh("cat /etc/fstab") == TABLE


def test_settings_are_not_lost_for_the_next_start(machine: machines.Machine) -> None:
    applied(SYSCTL, machine, values(somaxconn="4321"))
    file = "/etc/sysctl.d/99-zz-swarmctl-b.conf"
    machine.sh(FILLED.replace("PLACE", "/etc"))
    assert f"{file} cannot be written" in refused(SYSCTL, machine, values(somaxconn="4322"))
    assert machine.sh(f"cat {file}") == "net.core.somaxconn = 4321\n"
    assert machine.sh("cat /proc/sys/net/core/somaxconn") == "4321\n"
    assert left(machine) == ""


def test_the_record_of_before_is_whole_or_nothing_is_set(machine: machines.Machine) -> None:
    applied(SYSCTL, machine, values(somaxconn="4321"))
    before = machine.sh(f"cat {RECORDS}/b/sysctl/before; cat /proc/sys/net/core/optmem_max")
    small = SMALL.replace("PLACE", RECORDS)
    machine.sh(small + FILLED.replace("PLACE", RECORDS))
    assert "before cannot be written" in refused(SYSCTL, machine, values(somaxconn="4321", optmem_max="99999"))
    assert machine.sh(f"cat {RECORDS}/b/sysctl/before; cat /proc/sys/net/core/optmem_max") == before


def test_packages_are_not_changed_without_a_record(machine: machines.Machine) -> None:
    body = _noted({})
    machine.sh(SMALL.replace("PLACE", RECORDS) + f"mkdir -p {RECORDS}/b/packages;" + FILLED.replace("PLACE", RECORDS))
    script = UPGRADES.script(inputs(), body).replace("/upgrades\n", "/packages\n", 1)
    done = machine.run(("sh", "-eu", "-s"), stdin=script.encode(), check=False)
    assert done.returncode == 3
    assert b"before cannot be written" in done.stderr


def test_apt_and_the_boot_loader_are_told_by_whole_files_only(machine: machines.Machine) -> None:
    program = "printf '#!/bin/sh\\n' >/usr/sbin/NAME; chmod 755 /usr/sbin/NAME"
    machine.sh("\n".join(program.replace("NAME", name) for name in ("update-grub", "unattended-upgrade", "apt-config")))
    machine.sh(FILLED.replace("PLACE", "/etc"))
    wanted = inputs(automatic=True, reboot="never", excluded=["nvidia-"])
    assert "99zz-swarmctl-b cannot be written" in refused(UPGRADES, machine, wanted)
    assert "zz-swarmctl-b.cfg cannot be written" in refused(KERNEL, machine, inputs(parameters=["iommu=pt"]))
    assert machine.sh(f"ls {RECORDS}/b/kernel") == "", "nothing waits to be undone"
    assert machine.sh("find /etc -name '*swarmctl*'") == ""


def test_what_is_not_declared_any_more_stays_in_force_until_that_can_be_noted(machine: machines.Machine) -> None:
    applied(SYSCTL, machine, values(somaxconn="4321", optmem_max="99999"))
    both = "cat /proc/sys/net/core/somaxconn /etc/sysctl.d/99-zz-swarmctl-b.conf"
    before = machine.sh(both)
    machine.sh(SMALL.replace("PLACE", RECORDS) + FILLED.replace("PLACE", RECORDS))
    assert "/sysctl/before cannot be written" in refused(SYSCTL, machine, values(somaxconn="4322"))
    assert machine.sh(both) == before
    machine.sh(f"rm {RECORDS}/filled")
    applied(SYSCTL, machine, values(somaxconn="4322"))
    assert machine.sh(both) == "4322\nnet.core.somaxconn = 4322\n"
    machine.sh(FILLED.replace("PLACE", RECORDS))
    applied(SYSCTL, machine, values(somaxconn="4323"))  # for which nothing is to be noted
    hosts: Any = machines.OneHost(machine)
    SYSCTL.delete(hosts, inputs())
    assert "99-zz" not in machine.sh("ls /etc/sysctl.d")


def stand_ins(machine: machines.Machine) -> None:
    """So that each aspect has something to note before it changes anything."""
    machine.sh(
        "mkdir -p /etc/chrony /etc/default/grub.d /etc/sudoers.d; echo 'pool a.example' >/etc/chrony/chrony.conf"
    )
    machine.sh("cp /bin/true /usr/sbin/chronyd; echo here >/etc/default/grub.d/zz-swarmctl-b.cfg; useradd -m anna")
    programs = {"update-grub": r'cat /etc/default/grub.d/*.cfg | tr -d "\042" >/boot/grub/grub.cfg', "visudo": "exit 0"}
    for name, program in programs.items():
        machine.sh(f"printf '#!/bin/sh\\n%s\\n' '{program}' >/usr/sbin/{name}; chmod 755 /usr/sbin/{name}")
    machine.sh("mkdir -p /boot/grub; printf 'Filename\\n' >/run/swaps; mount --bind /run/swaps /proc/swaps")


ANNA = {"anna": {"sudo": True, "shell": "/bin/sh", "authorizedKeys": []}}
ASPECTS: list[tuple[ResourceType, dict[str, Any]]] = [
    (SYSCTL, values(somaxconn="4321")),
    (USERS, inputs(users=ANNA)),
    (TIME, inputs(servers=["time.example"], running=False)),
    (KERNEL, inputs(parameters=["iommu=pt"])),
    (MOUNTS, mounts("/mnt/first")),
    (SWAP, inputs(swap="off")),
]


@pytest.mark.parametrize("full", [FILLED, NO_FILES], ids=["blocks", "files"])
@pytest.mark.parametrize(("kind", "wanted"), ASPECTS, ids=[type(kind).__name__ for kind, _ in ASPECTS])
def test_without_room_for_records_the_place_is_told_and_with_room_one_apply_is_enough(
    machine: machines.Machine, kind: ResourceType, wanted: dict[str, Any], full: str
) -> None:
    stand_ins(machine)
    machine.sh(SMALL.replace("PLACE", RECORDS).replace("size=32m", "size=4m,nr_inodes=200"))
    all_of_it = "cat /etc/fstab /proc/sys/net/core/somaxconn; findmnt -rno TARGET | sort; ls /etc/sudoers.d /mnt"
    before = machine.sh(all_of_it)
    machine.sh(full.replace("PLACE", RECORDS))
    if full == FILLED and kind is KERNEL:
        # Its record is an empty file and a copy of what was there.
        machine.sh("head -c 100000 /dev/zero | tr '\\0' '#' >/etc/default/grub.d/zz-swarmctl-b.cfg")
    if full == FILLED and kind is SWAP:
        machine.sh("printf 'Filename\\n%s\\n' /etc/none >/run/swaps")
    message = refused(kind, machine, wanted)
    assert f"{RECORDS}" in message
    assert "No space left" not in message
    assert "I/O error" not in message
    assert machine.sh(all_of_it) == before
    machine.sh(f"rm -f {RECORDS}/filled {RECORDS}/none*; printf 'Filename\\n' >/run/swaps")
    applied(kind, machine, wanted)


@pytest.mark.parametrize("place", ["/etc", f"{RECORDS}"])
def test_whatever_finds_no_room_ends_in_a_sentence_with_the_place(machine: machines.Machine, place: str) -> None:
    machine.sh(SMALL.replace("PLACE", RECORDS) + FILLED.replace("PLACE", place))
    script = f'undone() {{ echo undone; }}\nbegin\ncp /bin/sh {place}/large\necho "and on"'
    done = machine.run(("sh", "-eu", "-s"), stdin=UPGRADES.script(inputs(), script).encode(), check=False)
    assert (done.returncode, done.stdout) == (3, b"undone\n")
    where = f"{place}/b/upgrades" if place == RECORDS else place
    assert f"@refused\tnothing can be written in {where}, ".encode() in done.stderr
    assert "swarmctl-room" not in machine.sh(f"find {place}")

    machine.sh(f"rm {place}/filled {place}/large")
    script = "undone() { echo undone; }\nbegin\nfalse\n"
    done = machine.run(("sh", "-eu", "-s"), stdin=UPGRADES.script(inputs(), script).encode(), check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"undone\n", b""), "where there is room nothing is said"
