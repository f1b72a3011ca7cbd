"""GPU drivers over SSH on a machine with systemd and kernel modules of its own, which restarts where that takes it.

dpkg, apt, systemd, modprobe, depmod and the module are real; NVIDIA's programs and the bus are stand-ins: `driver.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmctl.backends.ssh.transport import Transport
from swarmctl.gpu.model import Wanted
from tests.debian import machines
from tests.debian.repository import Key, Repository, missing
from tests.gpu import hosts as composed
from tests.gpu.standins import packages as standins
from tests.guests import driver
from tests.guests.machine import Guest
from tests.guests.node import Patient
from tests.guests.stack import Stack, together

pytestmark = [
    pytest.mark.integration,
    pytest.mark.soak,  # a guest whose processor is emulated needs minutes
    pytest.mark.xdist_group("guest"),
    pytest.mark.timeout(2400),
]
OLD, NEW, BROKEN = "580.173.02", "595.91.07", "595.91.10"
PLACE = "/srv/repository/debian12/x86_64"
UNITS = "nvidia-persistenced nvidia-fabricmanager nvidia-dcgm nvidia-dcgm-exporter"
BOOT = "cat /proc/sys/kernel/random/boot_id"


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    if lacking := [*missing(), *(["objcopy"] if shutil.which("objcopy") is None else [])]:
        pytest.skip(f"not installed: {', '.join(lacking)}")
    key = Key()
    try:
        made = Repository(tmp_path / "repository", key)
        small = composed.host(*["H100"] * 2, *["H100 NVSwitch"] * 4, system="debian 12")
        debs = [driver.kernel()]
        for version in (OLD, NEW, BROKEN):
            decided = composed.decided(small, Wanted("nvidia", "H100", version=version))
            debs += driver.debs(decided, "xid" if version == BROKEN else "")
        made.add(*{deb.file: deb for deb in debs}.values())
        yield made
    finally:
        key.close()


class Drivers:
    """The guest with two cards, and its driver by declaration."""

    def __init__(self, stack: Stack, root: Patient, repository: Repository) -> None:
        self.stack = stack
        self.root = root
        self._key = repository.key.fingerprint
        self.sh(machines.BARE)
        repository.add(standins.headers(self.sh("uname -r").strip()))
        repository.into(root, PLACE)
        driver.equip(root, [OLD, NEW, BROKEN])
        self.sh(f"dpkg -i {PLACE}/{driver.kernel().file}")

    def sh(self, script: str) -> str:
        return self.root.run(["sh", "-c", script], timeout=90, check=False).text

    def apply(self, version: str, *, code: int = 0) -> str:
        """Declare that version, and apply."""
        mirror = {"url": "file:/srv/repository", "fingerprint": self._key, "key": f"file:{PLACE}/key.asc"}
        item: dict[str, Any] = {"vendor": "nvidia", "model": "H100", "count": 2, "driver": {"version": version}}
        pool = {
            "ssh": {"hosts": [self.stack.entry()]},
            "timeouts": {"create": "1h", "update": "1h"},
            "accelerators": [{**item, "source": "mirror", "mirror": mirror}],
        }
        self.stack.write_pool("gpu", pool)
        run = self.stack.fleet("apply", "--yes", code=code, timeout=1500)
        return " ".join((run.out + run.err).split())

    def runs(self, version: str) -> bool:
        """Whether it is loaded, answers, and all daemons are there."""
        seen = self.sh(f"cat {driver.LOADED}; nvidia-smi -L | wc -l; systemctl is-active {UNITS}").split()
        return seen == [version, "2", *["active"] * len(UNITS.split())]


def test_a_driver_in_use_is_upgraded_by_a_restart_and_one_that_fails_goes_back(
    guest: Guest, transport: Transport, repository: Repository, tmp_path: Path, engine: object
) -> None:
    with together(tmp_path, guest) as stack:
        stack.fleet.declare(stack.fleet.host("n1"))
        drivers = Drivers(stack, Patient(guest.host(), None, transport), repository)
        drivers.apply(OLD)
        assert drivers.runs(OLD)
        stack.fleet("drift", timeout=300)

        began = drivers.sh(BOOT)
        drivers.sh(f"systemd-run --quiet --unit=job sh -c 'exec 3<>{driver.DEVICE}; sleep 3600'")
        drivers.apply(NEW)
        assert drivers.sh(BOOT) != began, "the module was in use"
        assert drivers.runs(NEW)
        stack.fleet("drift", timeout=300)

        began = drivers.sh(BOOT)
        said = drivers.apply(BROKEN, code=1)
        assert "XID 79" in said
        assert f"{NEW} is back and verified" in said
        assert drivers.sh(BOOT) == began, "nobody used it"
        assert drivers.runs(NEW)
