"""Swap that can't be turned off whole stays as it was, and what systemd does not do is told with all else done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmctl.backends.base import CommandFailed
from swarmctl.kinds.host_baseline.aspects.swap import SWAP
from swarmctl.kinds.host_baseline.reading import RECORDS
from tests.kinds.host_baseline import machine as machines

pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(machines.missing()), reason=machines.missing())]
WANTED: dict[str, Any] = {
    **{"machine": "m", "host": {"backend": "test", "node": "n1"}, "node": "n1", "baseline": "b"},
    "swap": "off",
}
AREAS = "Filename Type Size Used Priority\n/etc/one file 1024 0 10\n/etc/my\\040swap file 1024 0 -2\n"
ON = """#!/bin/sh
priority=-2
[ "$1" != -p ] || { priority=$2; shift 2; }
[ -e "$1" ] || exit 1
printf '%s file 1024 0 %s\\n' "$(printf %s "$1" | sed 's/ /\\\\040/')" "$priority" >>/proc/swaps
"""
OFF = {
    "all": "cat /run/head >/proc/swaps\n",
    "one": "grep -v one /proc/swaps >/run/rest; cat /run/rest >/proc/swaps; echo 'no memory' >&2; exit 1\n",
}
TABLE = "/etc/one none swap sw,pri=10 0 0\n/etc/my\\040swap none swap sw 0 0\n"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[machines.Machine]:
    """Areas that are in use are stand-ins: nobody's memory is touched."""
    with machines.Machine(tmp_path) as made:
        written(made, "/run/swaps", AREAS)
        written(made, "/etc/fstab", TABLE)
        made.sh("head -n 1 /run/swaps >/run/head; touch /etc/one '/etc/my swap'; mount --bind /run/swaps /proc/swaps")
        program(made, "swapon", ON)
        yield made


def written(machine: machines.Machine, path: str, text: str) -> None:
    machine.run(("sh", "-c", f"cat >{path}"), stdin=text.encode())


def program(machine: machines.Machine, name: str, text: str) -> None:
    written(machine, f"/usr/sbin/{name}", text)
    machine.sh(f"chmod 755 /usr/sbin/{name}")


def areas(machine: machines.Machine) -> list[str]:
    return sorted(machine.sh("cat /proc/swaps").splitlines()[1:])


def apply(machine: machines.Machine) -> None:
    SWAP.create(machines.OneHost(machine), WANTED)  # type: ignore[arg-type]


def take_away(machine: machines.Machine) -> None:
    SWAP.delete(machines.OneHost(machine), WANTED)  # type: ignore[arg-type]


def test_areas_come_back_with_their_names_and_priorities(machine: machines.Machine) -> None:
    program(machine, "swapoff", f"#!/bin/sh\n{OFF['all']}")
    before = areas(machine)
    apply(machine)
    assert areas(machine) == []
    take_away(machine)
    assert areas(machine) == before
    assert machine.sh("cat /etc/fstab") == TABLE


def test_by_the_record_of_the_version_before(machine: machines.Machine) -> None:
    program(machine, "swapoff", f"#!/bin/sh\n{OFF['all']}")
    apply(machine)
    machine.sh(f"echo /etc/one >{RECORDS}/b/swap/active")
    take_away(machine)
    assert areas(machine) == ["/etc/one file 1024 0 -2"]


def test_where_one_cannot_be_turned_off_all_are_on(machine: machines.Machine) -> None:
    program(machine, "swapoff", f"#!/bin/sh\n{OFF['one']}")
    before = areas(machine)
    with pytest.raises(CommandFailed, match="swap cannot be turned off: no memory"):
        apply(machine)
    assert areas(machine) == before
    assert machine.sh("cat /etc/fstab") == TABLE


@pytest.mark.parametrize("what", ["daemon-reload", "mask", "unmask"])
def test_what_systemd_does_not_do_is_told_when_all_else_is_done(machine: machines.Machine, what: str) -> None:
    program(machine, "swapoff", f"#!/bin/sh\n{OFF['all']}")
    program(machine, "systemctl", f"#!/bin/sh\ncase $1 in {what}) echo Access denied >&2; exit 1 ;; "
            "mask) touch /run/masked ;; unmask) rm /run/masked ;; is-enabled) [ -e /run/masked ] && echo masked ;; "
            "esac\n")  # fmt: skip
    machine.sh("mkdir -p /run/systemd/system")
    before = areas(machine)
    for step in (apply, take_away):
        fails = what == "daemon-reload" or (what == "mask") is (step is apply)
        if fails:
            with pytest.raises(CommandFailed, match=f"`systemctl {what}.*` failed: Access denied") as caught:
                step(machine)
            assert "all else is done" in (caught.value.hint or "")
        else:
            step(machine)
        if step is apply:
            assert areas(machine) == []
            assert machine.sh("grep -c '^#swarmctl:b/swap# ' /etc/fstab") == "2\n"
            assert machine.sh("ls /run/masked 2>/dev/null || :") == ("" if what == "mask" else "/run/masked\n")
            if what == "mask":
                machine.sh("touch /run/masked")
    assert areas(machine) == before
    assert machine.sh(f"cat /etc/fstab; ls -d {RECORDS} 2>/dev/null || :") == TABLE
