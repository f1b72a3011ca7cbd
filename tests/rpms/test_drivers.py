"""A driver comes, is upgraded and rolled back by real dnf and rpm on a node; NVIDIA's programs are stand-ins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from swarmctl.backends.base import Host
from swarmctl.gpu.model import Wanted
from swarmctl.hosts import packages
from swarmctl.kinds.node_pool.accelerators import decision
from swarmctl.kinds.node_pool.accelerators.errors import DriverImpossible, DriverRolledBack
from swarmctl.kinds.node_pool.accelerators.resources import DRIVER
from swarmctl.kinds.node_pool.accelerators.spec import Accelerator, Driver, Mirror
from swarmctl.provider.hosts import Connections
from tests.debian.repository import Key
from tests.gpu import hosts as composed
from tests.gpu.standins import packages as standins
from tests.gpu.standins import programs

from . import machines
from .build import Rpm
from .repository import Repository

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.soak,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("rpm packages"),
]

OLD, NEW, BROKEN = "580.173.02", "595.91.07", "595.91.08"
PLACE = "/srv/repository/rhel9/x86_64"
KERNEL, BEFORE = "5.14.0-570.12.1.el9_6", "5.14.0-503.11.1.el9_5"
"""The one that runs, and the one whose headers are there."""
SMALL = composed.host(*["H100"] * 2, *["H100 NVSwitch"] * 4, system="rocky 9.6")


@pytest.fixture(scope="module")
def node(key: Key, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Host]]:
    data = tmp_path_factory.mktemp("data")
    with machines.machine(data) as host:
        kernel = Rpm("standin-kernel", "1.0-1", provides=("/bin/sh",), files=dict(programs.KERNEL))
        rpms = []
        for version in (OLD, NEW, BROKEN):
            decided = composed.decided(SMALL, Wanted("nvidia", "H100", version=version))
            rpms += standins.rpms(decided, "mismatch" if version == BROKEN else "")
        closed = Wanted("nvidia", "H100", version=NEW, kernel_module="proprietary")
        rpms += standins.rpms(composed.decided(SMALL, closed))
        rpms = list({rpm.file: rpm for rpm in rpms}.values())
        made = Repository(host, key, PLACE)
        devel = [_headers(version) for version in (BEFORE, KERNEL)]
        made.add(kernel, *devel, *rpms, modules=standins.streams(*rpms))
        made.take(kernel)
        made.take(devel[0])
        host.put("/run/standin/release", f"{KERNEL}.x86_64\n".encode())
        host.put("/run/standin/pci", standins.pci().encode())
        yield data, host


def _headers(version: str) -> Rpm:
    file = f"/lib/modules/{version}.x86_64/build/Makefile"
    return Rpm("kernel-devel", version, provides=("installonlypkg(kernel)",), files={file: ""})


@pytest.fixture
def host(node: tuple[Path, Host], monkeypatch: pytest.MonkeyPatch) -> Host:
    data, found = node
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    return found


def inputs(
    key: Key, version: str, fingerprint: str = "", module: Literal["auto", "proprietary"] = "auto"
) -> dict[str, Any]:
    mirror = Mirror("file:/srv/repository", fingerprint or key.fingerprint, f"file:{PLACE}/key.asc")
    declared = Accelerator("nvidia", "H100", 2, Driver(version=version), module, source="mirror", mirror=mirror)
    made = decision.inputs(SMALL, declared)
    assert isinstance(made, Mapping), made
    return {"machine": "x", "host": {"backend": "lab", "stack": "trial", "node": "a-0"}, "node": "a-0", **made}


def test_a_driver_comes_is_upgraded_drifts_and_is_rolled_back_by_dnf(host: Host, key: Key) -> None:
    hosts = Connections(open_host=lambda about, fence: host)

    def bring(wanted: Mapping[str, Any]) -> None:
        DRIVER.create(hosts, wanted)

    def drift(wanted: Mapping[str, Any]) -> set[str]:
        hosts.changed(wanted["host"])
        seen = DRIVER.read(hosts, wanted)
        assert seen is not None
        return {".".join(change.path) for change in DRIVER.diff(seen.inputs, wanted)}

    def there() -> packages.Packages:
        return packages.READING.parse(host.run(packages.READING.argv).stdout, "a-0")

    wanted = inputs(key, OLD)
    assert wanted["pin"] == "nvidia-driver:580-open"
    assert DRIVER.read(hosts, wanted) is None
    with pytest.raises(DriverImpossible) as refused:
        bring(inputs(key, OLD, fingerprint="A" * 40))
    assert key.fingerprint in refused.value.message
    bring(wanted)
    assert drift(wanted) == set()
    assert set(wanted["packages"]) <= there().held
    devel = host.run(["rpm", "-q", "kernel-devel"]).text.split()
    assert [one.partition(".noarch")[0] for one in devel] == [f"kernel-devel-{BEFORE}", f"kernel-devel-{KERNEL}"]
    before = there()
    bring(wanted)
    assert there() == before, "nothing is done twice"

    wanted = inputs(key, NEW)
    assert {"loaded", "answers", "pin", "packages.nvidia-fabricmanager"} <= drift(wanted)
    bring(wanted)
    assert drift(wanted) == set()
    assert there().streams & {"nvidia-driver:580-open", "nvidia-driver:595-open"} == {"nvidia-driver:595-open"}

    host.run(["dnf", "-y", "upgrade"], timeout=60)
    assert drift(wanted) == set(), "whoever upgrades the machine leaves the driver as it is"
    host.run(["sh", "-c", f"rpm -U --oldpackage --nodeps {PLACE}/nvidia-fabricmanager-{OLD}-*.rpm"])
    assert {"packages.nvidia-fabricmanager", "fabricManager.version", "held"} <= drift(wanted)

    closed = inputs(key, NEW, module="proprietary")
    assert {"kernelModule", "pin", "packages.kmod-nvidia-latest-dkms"} <= drift(closed)
    bring(closed)
    assert drift(closed) == set(), "one kernel module takes the place of the other in one transaction"
    assert "kmod-nvidia-open-dkms" not in there().installed
    bring(wanted)

    with pytest.raises(DriverRolledBack) as raised:
        bring(inputs(key, BROKEN))
    assert "library version mismatch" in raised.value.message
    assert f"{NEW} is back and verified" in raised.value.message
    assert drift(wanted) == set(), "all of the old one is back, held and running"

    DRIVER.delete(hosts, wanted)
    DRIVER.delete(hosts, wanted)
    assert not there().held & set(wanted["packages"])
    assert there().installed["nvidia-fabricmanager"] == f"3:{NEW}-1.el9", "it stays, and goes on"
    assert "swarmctl" not in host.run(["ls", "/etc/yum.repos.d", "/etc/pki/rpm-gpg"]).text
