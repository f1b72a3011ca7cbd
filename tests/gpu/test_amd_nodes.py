"""AMD's driver comes, is upgraded, drifts, is mended and rolled back, by real dpkg on a node; AMD's programs are
stand-ins (`standins/amd.py`). The machine counts as one with Ubuntu 22.04, for which AMD has packages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from swarmctl.backends.base import Host, HostUnreachable
from swarmctl.gpu.amd import ORIGIN
from swarmctl.gpu.model import Decision, Wanted
from swarmctl.hosts import packages
from swarmctl.kinds.node_pool.accelerators import decision, turn
from swarmctl.kinds.node_pool.accelerators.errors import DriverImpossible, DriverRolledBack
from swarmctl.kinds.node_pool.accelerators.places import AMD, NVIDIA
from swarmctl.kinds.node_pool.accelerators.resources import DRIVER
from swarmctl.kinds.node_pool.accelerators.spec import Accelerator, Driver, Mirror
from tests.debian import machines
from tests.debian.build import Deb
from tests.debian.repository import Key, Repository
from tests.debian.tree import Tree
from tests.gpu import hosts as composed
from tests.gpu.standins import amd as standins
from tests.gpu.standins.packages import headers, kernel
from tests.gpu.standins.programs import RELEASE
from tests.gpu.test_driver_nodes import CutOff, World

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("gpu drivers"),
]

OLD, NEW, ROCM = "30.20.1", "30.30.4", "7.2.4"
BROKEN: Mapping[standins.Variant, str] = {"mismatch": "30.30.5", "agents": "30.30.6"}
SAID = {"mismatch": "the kernel module that is loaded is 999.1.1", "agents": "fails to see all cards: 0 of 2"}
PLACE = "/srv/amd"
SMALL = composed.host(*["74a1"] * 2, vendor="1002", system="ubuntu 22.04")


def decided(version: str) -> Decision:
    return composed.decided(SMALL, Wanted("amd", "MI300X", version=version))


@pytest.fixture(scope="module")
def key() -> Iterator[Key]:
    machines.require()
    made = Key()
    yield made
    made.close()


def publish(tree: Tree) -> None:
    """Every release as AMD publishes them: each in a repository of its own, and the key beside them."""
    # As if the archive of the distribution were there, too: what amdgpu is built with, and needs of other modules.
    kernels = [headers(), Deb(f"linux-modules-extra-{RELEASE}", "1-1")]
    places = {f"graphics/{ROCM}/ubuntu": {deb.file: deb for deb in kernels}}
    for version, variant in [(OLD, ""), (NEW, ""), *((version, variant) for variant, version in BROKEN.items())]:
        for deb in standins.debs(decided(version), variant):  # type: ignore[arg-type]
            places.setdefault(standins.place(deb, decided(version), ROCM), {})[deb.file] = deb
    for place, debs in places.items():
        tree.repository(place, *debs.values())
    tree.put("rocm/rocm.gpg.key", tree.key.public)


@pytest.fixture(scope="module")
def node(key: Key, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Host]]:
    tree = Tree(tmp_path_factory.mktemp("tree"), key, "jammy", ORIGIN)
    publish(tree)
    # The distribution has a package of the same name and a higher version, as Ubuntu's archive does.
    distribution = Repository(tmp_path_factory.mktemp("distribution"), key)
    distribution.add(kernel(), Deb("amd-smi-lib", "99.0-1ubuntu1"), Deb("nvidia-driver-pinning-595", "1-1"))
    data = tmp_path_factory.mktemp("data")
    with machines.machine(data) as host:
        tree.into(host, PLACE)
        machines.use(host, distribution)
        host.put("/run/standin/pci", standins.pci().encode())
        there = f"/srv/repository/{kernel().file} /srv/repository/nvidia-driver-pinning-595_1-1_all.deb"
        host.run(["sh", "-c", f"apt-get -q update && dpkg -i {there} && modprobe amdgpu"], timeout=60)
        yield data, host


@pytest.fixture
def world(node: tuple[Path, Host], monkeypatch: pytest.MonkeyPatch) -> World:
    data, found = node
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    return World(found)


@pytest.fixture
def inputs(key: Key) -> Any:
    mirror = Mirror(f"file:{PLACE}", key.fingerprint)

    def make(version: str) -> dict[str, Any]:
        declared = Accelerator("amd", "MI300X", 2, Driver(version=version), source="mirror", mirror=mirror)
        made = decision.inputs(SMALL, declared)
        assert isinstance(made, Mapping), made
        return {"machine": "x", "host": {"backend": "lab", "stack": "trial", "node": "a-0"}, "node": "a-0", **made}

    return make


def test_amd_s_driver_comes_changes_drifts_and_is_rolled_back(
    world: World, inputs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    comes(world, inputs)
    is_upgraded(world, inputs)
    drifts_and_is_mended(world, inputs)
    for variant, version in BROKEN.items():
        is_rolled_back(world, inputs, variant, version)
    is_taken_up_where_it_was_cut_off(world, inputs)
    goes_by_a_restart_where_the_module_is_in_use(world, inputs, monkeypatch)
    goes(world, inputs)
    is_taken_over_as_it_is(world, inputs)


def comes(world: World, inputs: Any) -> None:
    wanted = inputs(OLD)
    assert DRIVER.read(world.hosts, wanted) is None, "the module that comes with the kernel is nobody's"
    world.sh("mkdir -p /run/standin/kfd/4711")
    with pytest.raises(DriverImpossible) as raised:
        world.bring(wanted)
    assert "1 process computes on the cards (4711)" in raised.value.message
    world.sh("rmdir /run/standin/kfd/4711")
    world.sh(
        f"printf 'deb [trusted=yes] file:{PLACE}/rocm/apt/{ROCM}/ jammy main\\n' >/etc/apt/sources.list.d/rocm.list"
    )
    with pytest.raises(DriverImpossible) as raised:
        world.bring(wanted)
    assert f"/etc/apt/sources.list.d/rocm.list has apt take packages from file:{PLACE}/rocm" in raised.value.message
    world.sh("rm /etc/apt/sources.list.d/rocm.list")
    world.bring(wanted)
    assert world.drift(wanted) == set()
    there = packages.READING.parse(world.host.run(packages.READING.argv).stdout, "n")
    assert set(wanted["packages"]) <= there.held
    assert there.installed["amd-smi-lib"].startswith("26."), "AMD's repositories go before the distribution's"
    assert {f"linux-headers-{RELEASE}", f"linux-modules-extra-{RELEASE}"} <= there.installed.keys()
    assert "nvidia-driver-pinning-595" in there.installed, "what is the other vendor's stays"
    assert '"kind": "amd.com/gpu"' in world.sh(f"cat {AMD.cdi}")
    status = world.sh("stat -c %Y /var/lib/dpkg/status")
    world.bring(wanted)
    assert world.sh("stat -c %Y /var/lib/dpkg/status") == status, "nothing is installed twice"


def is_upgraded(world: World, inputs: Any) -> None:
    wanted = inputs(NEW)
    found = world.drift(wanted)
    assert {"loaded", "answers", "packages.amdgpu-dkms", "packages.amdgpu-dkms-firmware", "repository.sources"} <= found
    world.bring(wanted)
    assert world.drift(wanted) == set()
    assert world.sh("head -n 1 /run/standin/amdgpu") == "6.16.13\n"


def drifts_and_is_mended(world: World, inputs: Any) -> None:
    wanted = inputs(NEW)
    world.sh(f"printf '6.16.13\\nOF-ANOTHER-BUILD\\n' >/run/standin/amdgpu; rm {AMD.cdi} {AMD.preferences}")
    world.sh("apt-mark unhold rocm-core")
    assert {"loaded", "answers", "cdi", "held"} <= world.drift(wanted), "a module of the same version and other source"
    assert any(path.startswith("repository") for path in world.drift(wanted))
    world.bring(wanted)
    assert world.drift(wanted) == set()


def is_rolled_back(world: World, inputs: Any, variant: str, version: str) -> None:
    with pytest.raises(DriverRolledBack) as raised:
        world.bring(inputs(version))
    assert SAID[variant] in raised.value.message
    assert f"amd driver {version} was installed and does not work" in raised.value.message
    assert f"{NEW} is back and verified" in raised.value.message
    assert {path.partition(".")[0] for path in world.drift(inputs(NEW))} <= {"repository"}, "all but where it came from"
    world.bring(inputs(NEW))
    assert world.drift(inputs(NEW)) == set()
    assert world.sh(f"ls {AMD.folder}") == "current\n"


def is_taken_up_where_it_was_cut_off(world: World, inputs: Any) -> None:
    point = "--no-remove"
    for after in (False, True):
        cut = World(CutOff(world.host, point, after=after))  # type: ignore[arg-type]
        with pytest.raises(HostUnreachable):
            cut.bring(inputs(OLD))
    world.bring(inputs(OLD))
    assert world.drift(inputs(OLD)) == set()
    assert world.sh(f"ls {AMD.folder}") == "current\n"


def goes_by_a_restart_where_the_module_is_in_use(world: World, inputs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world.sh("touch /run/standin/busy")
    with pytest.raises(DriverRolledBack) as raised:
        world.bring(inputs(NEW))
    assert "can't be restarted: its first process is not systemd" in raised.value.message

    def restarted(host: Host, *, timeout: float) -> None:
        world.sh("rm /run/standin/busy /run/standin/amdgpu && modprobe amdgpu")

    monkeypatch.setattr(turn, "reboot", restarted)
    world.bring(inputs(NEW))
    assert world.drift(inputs(NEW)) == set()


def goes(world: World, inputs: Any) -> None:
    wanted = inputs(NEW)
    world.host.put(f"{NVIDIA.folder}/current/mark", b"")
    DRIVER.delete(world.hosts, wanted)
    DRIVER.delete(world.hosts, wanted)
    there = packages.READING.parse(world.host.run(packages.READING.argv).stdout, "n")
    assert not there.held & set(wanted["packages"])
    assert there.installed["amdgpu-dkms"].startswith("1:6.16.13.30300400"), "it stays, and goes on"
    places = "/etc/apt/sources.list.d /etc/apt/keyrings /etc/apt/preferences.d /var/lib/swarmctl"
    assert not re.search("swarmctl-amd|driver-amd", world.sh(f"ls {places}"))
    world.sh(f"ls {NVIDIA.folder}/current/mark")


def is_taken_over_as_it_is(world: World, inputs: Any) -> None:
    status = world.sh("stat -c %Y /var/lib/dpkg/info/amdgpu-dkms.list")
    world.bring(inputs(NEW))
    assert world.drift(inputs(NEW)) == set()
    assert world.sh("stat -c %Y /var/lib/dpkg/info/amdgpu-dkms.list") == status
    world.sh(f"mv {AMD.current} /srv/away")
    world.host.put(f"{AMD.current}/mark", b"")
    with pytest.raises(DriverImpossible) as raised:
        world.bring(inputs(OLD))
    assert "no way back" in raised.value.message, "its release is not in the repository of the other"
    world.sh(f"rm -r {AMD.current} && mv /srv/away {AMD.current}")
    world.bring(inputs(OLD))
    assert world.drift(inputs(OLD)) == set(), "what is held is ours now, and its files were kept"
