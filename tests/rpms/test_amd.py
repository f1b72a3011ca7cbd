"""AMD's driver comes, is upgraded and rolled back by real dnf and rpm on a node; AMD's programs are stand-ins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from swarmctl.backends.base import Host
from swarmctl.gpu.model import Decision, Wanted
from swarmctl.hosts import packages
from swarmctl.kinds.node_pool.accelerators import decision
from swarmctl.kinds.node_pool.accelerators.errors import DriverImpossible, DriverRolledBack
from swarmctl.kinds.node_pool.accelerators.places import AMD
from swarmctl.kinds.node_pool.accelerators.resources import DRIVER
from swarmctl.kinds.node_pool.accelerators.spec import Accelerator, Driver, Mirror
from tests.debian.repository import Key
from tests.gpu import hosts as composed
from tests.gpu.standins import amd as standins
from tests.gpu.standins import programs
from tests.gpu.test_driver_nodes import World

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

OLD, MIDDLE, NEW, BROKEN, ROCM = "30.20.1", "30.30.3", "30.30.4", "30.30.5", "7.2.4"
BUILDS = {OLD: "2255209", MIDDLE: "2330000", NEW: "2341068", BROKEN: "2350000"}
"""Of those that public listings name, and two more: from the second one on the module has the same version."""
ELSEWHERE = "30.10.2"
"""Without a repository for this minor release."""
PLACE = "/srv/amd"
KERNEL = "5.14.0-570.12.1.el9_6"
SMALL = composed.host(*["74a1"] * 2, vendor="1002", system="rocky 9.6")


def decided(version: str) -> Decision:
    return composed.decided(SMALL, Wanted("amd", "MI300X", version=version))


@pytest.fixture(scope="module")
def node(key: Key, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Host]]:
    data = tmp_path_factory.mktemp("data")
    with machines.machine(data) as host:
        kernel = Rpm("standin-kernel", "1.0-1", provides=("/bin/sh",), files=dict(programs.KERNEL))
        devel = Rpm("kernel-devel", KERNEL, files={f"/lib/modules/{KERNEL}.x86_64/build/Makefile": ""})
        rest: dict[str, Rpm] = {}
        for version, build in BUILDS.items():
            rpms = standins.rpms(decided(version), build, "mismatch" if version == BROKEN else "")
            drivers = [rpm for rpm in rpms if "dkms" in rpm.name]
            Repository(host, key, f"{PLACE}/amdgpu/{version}/el/9.6/main/x86_64").add(*drivers)
            rest |= {rpm.file: rpm for rpm in rpms if rpm not in drivers}
        toolkit = [rpm for rpm in rest.values() if "toolkit" in rpm.name]
        runtime = Repository(host, key, f"{PLACE}/rocm/el9/{ROCM}/main")
        runtime.add(*[rpm for rpm in rest.values() if rpm not in toolkit])
        Repository(host, key, f"{PLACE}/amd-container-toolkit/el9/main").add(*toolkit)
        graphics = Repository(host, key, f"{PLACE}/graphics/{ROCM}/el/9.6/main/x86_64")
        graphics.add(kernel, devel)
        graphics.take(kernel)
        host.put(f"{PLACE}/rocm/rocm.gpg.key", key.public)
        host.put("/run/standin/release", f"{KERNEL}.x86_64\n".encode())
        host.put("/run/standin/pci", standins.pci().encode())
        yield data, host


@pytest.fixture
def world(node: tuple[Path, Host], monkeypatch: pytest.MonkeyPatch) -> World:
    data, found = node
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    return World(found)


def inputs(key: Key, version: str, fingerprint: str = "") -> dict[str, Any]:
    mirror = Mirror(f"file:{PLACE}", fingerprint or key.fingerprint)
    declared = Accelerator("amd", "MI300X", 2, Driver(version=version), source="mirror", mirror=mirror)
    made = decision.inputs(SMALL, declared)
    assert isinstance(made, Mapping), made
    return {"machine": "x", "host": {"backend": "lab", "stack": "trial", "node": "a-0"}, "node": "a-0", **made}


def there(world: World) -> packages.Packages:
    return packages.READING.parse(world.host.run(packages.READING.argv).stdout, "a-0")


def test_amd_s_driver_comes_changes_and_is_rolled_back_by_dnf(world: World, key: Key) -> None:
    wanted = inputs(key, OLD)
    assert DRIVER.read(world.hosts, wanted) is None
    with pytest.raises(DriverImpossible) as refused:
        world.bring(inputs(key, OLD, fingerprint="A" * 40))
    assert key.fingerprint in refused.value.message
    with pytest.raises(DriverImpossible, match="it can't be read") as missing:
        world.bring(inputs(key, ELSEWHERE))
    assert f"see whether there is file:{PLACE}/amdgpu/{ELSEWHERE}/el/9.6/main/x86_64: " in missing.value.hint
    assert "amdgpu-dkms" not in there(world).installed
    assert world.host.get(AMD.yum) is None, "dnf does nothing for anyone while it can't read a repository"
    world.bring(wanted)
    assert world.drift(wanted) == set()
    assert set(wanted["packages"]) <= there(world).held
    before = there(world)
    world.bring(wanted)
    assert there(world) == before, "nothing is done twice"

    for version in (MIDDLE, NEW, MIDDLE, NEW):  # whose modules have one version, so that builds alone tell them apart
        wanted = inputs(key, version)
        assert {"loaded", "answers"} <= world.drift(wanted)
        world.bring(wanted)
        assert world.drift(wanted) == set()
        assert there(world).installed["amdgpu-dkms"] == f"6.16.13-{BUILDS[version]}.el9"
    world.host.run(["dnf", "-y", "upgrade"], timeout=60)
    assert world.drift(wanted) == set(), "whoever upgrades the machine leaves the driver as it is"
    world.sh("rpm -e --nodeps rocminfo; rm -f /etc/cdi/amd.json")
    assert {"packages.rocminfo", "cdi"} <= world.drift(wanted)
    world.bring(wanted)
    assert world.drift(wanted) == set()

    with pytest.raises(DriverRolledBack) as raised:
        world.bring(inputs(key, BROKEN))
    assert f"{NEW} is back and verified" in raised.value.message
    assert {path.partition(".")[0] for path in world.drift(wanted)} == {"repository"}, "all but where it came from"
    assert there(world).installed["amdgpu-dkms"] == f"6.16.13-{BUILDS[NEW]}.el9"
    world.bring(wanted)
    assert world.drift(wanted) == set()

    DRIVER.delete(world.hosts, wanted)
    DRIVER.delete(world.hosts, wanted)
    assert not there(world).held & set(wanted["packages"])
    assert "amdgpu-dkms" in there(world).installed, "it stays, and goes on"
    left = world.sh(f"ls /etc/yum.repos.d /etc/pki/rpm-gpg; ls -d {AMD.folder} 2>/dev/null || :")
    assert "swarmctl" not in left
