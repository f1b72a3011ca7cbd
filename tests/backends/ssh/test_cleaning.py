"""What cleaning leaves is told: on a machine in small, with what baselines and drivers make outside of our folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmctl.backends.ssh import marks
from swarmctl.hosts.fence import FOLDER
from swarmctl.kinds.host_baseline.aspects.time import HEAD
from swarmctl.kinds.node_pool.accelerators.places import AMD, NVIDIA, Places
from tests.kinds.host_baseline import machine as machines

pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(machines.missing()), reason=machines.missing())]
RECORD = f"{FOLDER}/baseline/b"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[machines.Machine]:
    with machines.Machine(tmp_path) as made:
        yield made


def cleaned(machine: machines.Machine) -> list[str]:
    """What is told after cleaning; the real machine's processes and tables are in other namespaces."""
    machine.run(marks.WIPE, check=False, timeout=60)
    said = machine.run(marks.LEFT, timeout=60).stdout
    assert marks.looked(said)
    return marks.left(said)


def test_a_clean_machine_is_clean(machine: machines.Machine) -> None:
    machine.sh(f"mkdir -p {FOLDER}/driver {FOLDER}/baseline /etc/swarmctl; echo key >/etc/swarmctl/key")
    assert cleaned(machine) == []


@pytest.mark.parametrize("places", [NVIDIA, AMD])
def test_files_that_package_managers_and_the_kernel_read_are_told(machine: machines.Machine, places: Places) -> None:
    files = sorted(
        (places.sources, places.keyring, places.yum, places.rpm_key, places.preferences, places.modules,
         "/etc/sudoers.d/swarmctl-eve")
    )  # fmt: skip
    for file in files:
        machine.sh(f"mkdir -p $(dirname {file}); touch {file}")
    assert sorted(cleaned(machine)) == files


def test_accounts_are_told_and_the_record_that_says_so_stays_until_they_are_gone(machine: machines.Machine) -> None:
    machine.sh(f"useradd -m eve; mkdir -p {RECORD}/users/eve {FOLDER}/driver; touch {RECORD}/users/eve/made")
    machine.sh(
        f"mkdir -p /etc/chrony {RECORD}/time; echo '{HEAD}' >/etc/chrony/chrony.conf; echo mine >{RECORD}/time/before"
    )
    told = [
        FOLDER,
        "/etc/chrony/chrony.conf",
        "the account eve",
        f"what the baseline b has set there as time (noted in {RECORD}/time)",
        f"what the baseline b has set there as users (noted in {RECORD}/users)",
    ]
    assert cleaned(machine) == told
    assert cleaned(machine) == told, "once more, by the same record"
    assert marks.mend(told, "n2").startswith("declare n2 once more, with the HostBaseline b, and apply; ")
    assert "keeps it" in marks.mend([FOLDER, "the account eve"], "n2")
    assert machine.sh(f"cat {RECORD}/time/before; ls {FOLDER}") == "mine\nbaseline\n"
    machine.sh(f"userdel eve; mv {RECORD}/time/before /etc/chrony/chrony.conf; rm -r {RECORD}")
    assert cleaned(machine) == []


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("shred") is None, reason="needs shred")
def test_keys_are_overwritten_before_they_are_removed(machine: machines.Machine) -> None:
    """Seen by a second name of the same file, which outlasts the first."""
    machine.sh(
        "mkdir -p /etc/swarmctl/keys; echo secret-key >/etc/swarmctl/keys/own; ln /etc/swarmctl/keys/own /etc/kept"
    )
    assert cleaned(machine) == []
    assert machine.sh("[ ! -e /etc/swarmctl ]; tr -d '\\000' </etc/kept") == ""
