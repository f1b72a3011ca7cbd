"""A driver is verified only when all of it works, and so is the one that comes back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from swarmctl.hosts.packages import Packages, PackagesFailed, Work
from swarmctl.kinds.node_pool.accelerators import manifest, turn, verify
from swarmctl.kinds.node_pool.accelerators.errors import DriverBroken, DriverRolledBack, DriverUnverified
from swarmctl.kinds.node_pool.accelerators.places import NVIDIA
from swarmctl.kinds.node_pool.accelerators.verify import Problem
from tests.gpu.below import Below, Driven

OLD, NEW = "580.173.02", "595.91.07"
CARDS = ["0000:10:00.0", "0000:11:00.0"]
TOOLS = ("modprobe", "systemctl", "nvidia-smi", "nv-fabricmanager", "dcgmi")
FABRIC = "nvidia-fabricmanager.service"
SERVICES = [FABRIC, "nvidia-dcgm.service"]


def inputs(version: str = NEW, **more: Any) -> dict[str, Any]:
    """As declared."""
    made: dict[str, Any] = {"vendor": "nvidia", "version": version, "kernelModule": "open", "modules": [], "mig": {}}
    made |= {"cards": dict.fromkeys(CARDS, "H100"), "services": SERVICES, "cdi": ""}
    return {**made, "fabricManager": {"version": version}, **more}


class World(Driven):
    """A machine on which a driver works; its packages are those in `goes_to` once they are installed."""

    def __init__(self, root: Path) -> None:
        self.below = Below(root, TOOLS)
        super().__init__(self.below)
        self.goes_to = (OLD, "open")
        (root / "cards").write_text("".join(f"{card}\n" for card in CARDS))
        (root / "usr/bin/nv-hostengine").symlink_to(root / "usr/bin/dcgmi")
        self.has(NEW, "open")
        self.below.sh("modprobe nvidia")
        self.start(SERVICES)

    def has(self, version: str, flavour: str) -> None:
        """On its disk."""
        (self.below.root / "built").write_text(f"{version} {flavour}\n")
        (self.below.root / "library").write_text(version)

    def work(self, work: Work) -> str:
        """Packages come from the files that were kept."""
        if work.what.startswith("installing"):
            self.has(*self.goes_to)
        return super().work(work)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "n1")


def told(world: World, **more: Any) -> str:
    """What is wrong; empty when it is verified."""
    world.changed()
    problem = verify.problem(world, inputs(**more))
    return problem.text if problem else ""


def test_a_driver_that_works_is_verified(world: World) -> None:
    assert told(world) == ""


def test_fabric_manager_has_to_run_where_the_machine_needs_it(world: World) -> None:
    world.below.sh(f"systemctl stop {FABRIC}")
    assert told(world) == "Fabric Manager does not run: CUDA fails without it (802)"
    assert told(world, fabricManager={}) == ""


@pytest.mark.parametrize(("says", "told_of"), [(OLD, OLD), ("", "not there")])
def test_fabric_manager_has_to_be_of_the_driver_s_version(world: World, says: str, told_of: str) -> None:
    world.below.tool("nv-fabricmanager", f"echo 'Fabric Manager version is : {says}'")
    assert told(world) == f"Fabric Manager is {told_of}, and the driver {NEW}"


@pytest.mark.parametrize("missing", CARDS)
def test_every_card_on_the_bus_has_to_be_seen(world: World, missing: str) -> None:
    (world.below.root / "cards").write_text("".join(f"{card}\n" for card in CARDS if card != missing))
    assert told(world) == f"nvidia-smi does not see the card at {missing}, which is on the bus"


def test_another_module_or_other_libraries_are_told(world: World) -> None:
    assert told(world, version=OLD) == f"the kernel module that is loaded is {NEW}, not {OLD}"
    (world.below.root / "library").write_text(OLD)
    assert told(world) == "nvidia-smi says: Failed to initialize NVML: Driver/library version mismatch"


def test_what_dcgm_says_is_told(world: World) -> None:
    world.below.tool("dcgmi", "echo '| Deployment | Pass |'; echo '| Hardware | Fail - XID 79 |'; exit 226")
    assert told(world) == "DCGM's diagnostics (level 1) fail: | Hardware | Fail - XID 79 |"


# The way back: what was there before stands in the manifest.


def back(world: World, version: str, before: str, **more: Any) -> None:
    world.there = Packages("apt", {"nvidia-driver": f"{NEW}-1"})
    world.below.put(NVIDIA.manifest, f"{version}\n{before}".encode())
    world.below.put(f"{NVIDIA.old}/nvidia-driver_{version}-1_amd64.deb", b"")
    turn._back(world, inputs(**more), Problem("it does not compute"), SERVICES)


def flavour(world: World) -> str:
    world.changed()
    return world.seen().flavour


def test_the_old_driver_is_back_once_it_is_verified_and_nothing_points_back_any_more(world: World) -> None:
    with pytest.raises(DriverRolledBack, match=f"it does not compute; {re.escape(OLD)} is back and verified"):
        back(world, OLD, f"nvidia-driver={OLD}-1 held\nnvidia-fs={OLD}-1\n")
    assert told(world, version=OLD) == ""
    assert not (world.below.root / NVIDIA.old[1:]).exists()
    assert f"Pin: version {OLD}-*".encode() in (world.below.get(NVIDIA.preferences) or b"")
    installing, holding = (work.script for work in world.worked)
    assert f"{NVIDIA.old}/nvidia-driver_{OLD}-1_amd64.deb" in installing
    assert "nvidia-driver" in holding
    assert "nvidia-fs" not in holding, "what nobody has held is not held now"


@pytest.mark.parametrize(
    ("version", "before"),
    [
        ("", ""),
        ("\x1b]0;pwned\x07", f"nvidia-driver={OLD}-1\n"),
        (OLD, f"nvidia-driver={OLD}-1\nnvidia driver={OLD}-1 held\n"),
        (OLD, f"nvidia-driver={OLD}-1; reboot\n"),
        (OLD, f"nvidia-driver-={OLD}-1 held\n"),
    ],
)
def test_what_is_no_record_of_before_leads_nowhere_back(world: World, version: str, before: str) -> None:
    with pytest.raises(DriverUnverified) as raised:
        back(world, version, before)
    assert raised.value.message == f"n1: nvidia driver {NEW} is installed and not verified: it does not compute"
    assert world.worked == []


def test_a_record_of_before_names_whatever_came_along(world: World) -> None:
    there = {"g++": "4:12.2.0-3", "libnvidia-compute-595:i386": "", "kmod-nvidia-open-dkms": "3:595.91.07-1.el9_5^a~b"}
    lines = "".join(f"{name}={version}\n" for name, version in there.items())
    found = manifest.parse(f"{OLD}\n{lines}dkms=3.0.10-8 held\n".encode())
    assert found == (OLD, {**there, "dkms": "3.0.10-8"}, ["dkms"])


def fails_library(world: World) -> None:
    world.below.tool("nvidia-smi", "echo 'Unable to determine the device handle'; exit 255")


def fails_fabric(world: World) -> None:
    (world.below.root / f"units/{FABRIC}.fails").touch()


def fails_card(world: World) -> None:
    (world.below.root / "cards").write_text(f"{CARDS[0]}\n")


def fails_dcgm(world: World) -> None:
    world.below.tool("dcgmi", "echo '| Hardware | Fail - XID 79 |'; exit 226")


def fails_module(world: World) -> None:
    world.goes_to = (NEW, "open")


@pytest.mark.parametrize(
    ("fails", "why"),
    [
        (fails_library, "nvidia-smi says: Unable to determine the device handle"),
        (fails_fabric, "Fabric Manager does not run"),
        (fails_card, f"nvidia-smi does not see the card at {CARDS[1]}"),
        (fails_dcgm, "DCGM's diagnostics (level 1) fail: | Hardware | Fail - XID 79 |"),
        (fails_module, f"the kernel module that is loaded is {NEW}, not {OLD}"),
    ],
    ids=["nvidia-smi", "Fabric Manager", "a card", "DCGM", "the module"],
)
def test_an_old_driver_that_does_not_work_either_is_not_called_back(world: World, fails: Any, why: str) -> None:
    fails(world)
    with pytest.raises(DriverBroken) as raised:
        back(world, OLD, f"nvidia-driver={OLD}-1\n")
    assert f"it does not compute; going back to {OLD} failed, too: {why}" in raised.value.message
    assert world.below.get(NVIDIA.manifest) is not None, "the next turn goes on from there"


@pytest.mark.parametrize(
    ("declared", "was", "before"),
    [
        ("proprietary", "open", f"nvidia-kernel-open-dkms={NEW}-1\nnvidia-kernel-dkms=\n"),
        ("open", "proprietary", f"nvidia-kernel-open-dkms=\nnvidia-kernel-dkms={NEW}-1 held\n"),
        ("open", "proprietary", f"nvidia-dkms-595-server={NEW}-1\nnvidia-dkms-595-server-open=\n"),
    ],
    ids=["open", "proprietary", "proprietary, as Ubuntu calls it"],
)
def test_the_module_that_comes_back_is_of_the_flavour_that_was_there(
    world: World, declared: str, was: str, before: str
) -> None:
    # Of one version: the flavour alone says that the module in the kernel is not the one that was there.
    world.below.sh("modprobe -r nvidia || :")
    world.below.load()
    world.has(NEW, declared)
    world.below.sh("modprobe nvidia")
    assert flavour(world) == declared
    world.goes_to = (NEW, was)
    with pytest.raises(DriverRolledBack):
        back(world, NEW, before, kernelModule=declared)
    assert flavour(world) == was


@pytest.mark.parametrize("kept", ["open", "proprietary"])
def test_a_module_that_is_right_already_need_not_go(world: World, kept: str) -> None:
    world.below.sh("modprobe -r nvidia || :")
    world.has(NEW, kept)
    world.below.sh("modprobe nvidia")
    world.below.load("nvidia:of_somebody_else", "of_somebody_else")
    world.goes_to = (NEW, kept)
    with pytest.raises(DriverRolledBack):
        back(world, NEW, f"nvidia-driver={NEW}-1\n", kernelModule=kept)
    assert flavour(world) == kept


class Unbuildable(World):
    """The kernel keeps the old module, and no package of a module can be installed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.below.sh("modprobe -r nvidia")
        self.has(OLD, "open")
        self.below.sh("modprobe nvidia")
        self.stop()

    def work(self, work: Work) -> str:
        if work.what.startswith("installing"):
            raise PackagesFailed("n1: the module could not be built", "see the log of DKMS")
        return super().work(work)

    def fails(self) -> str:
        """What is told when both ways have failed."""
        with pytest.raises(DriverBroken) as raised:
            back(self, OLD, f"nvidia-driver={OLD}-1\n")
        return raised.value.message


@pytest.fixture
def unbuildable(tmp_path: Path) -> Unbuildable:
    return Unbuildable(tmp_path / "n1")


def test_what_ran_beside_the_old_driver_runs_again_where_that_answers(unbuildable: Unbuildable) -> None:
    said = unbuildable.fails()
    assert set(SERVICES) <= unbuildable.below.units("runs")
    assert said.endswith(f"{OLD} is loaded and answers, so that what ran beside it runs again")
    assert unbuildable.below.get(NVIDIA.manifest) is not None, "the next turn goes on from there"


def other_libraries(world: World) -> None:
    (world.below.root / "library").write_text(NEW)


def other_fabric(world: World) -> None:
    world.below.tool("nv-fabricmanager", f"echo 'Fabric Manager version is : {NEW}'")


def no_module(world: World) -> None:
    world.below.sh("modprobe -r nvidia")


@pytest.mark.parametrize("differs", [other_libraries, other_fabric, no_module])
def test_nothing_runs_beside_what_is_of_another_version(unbuildable: Unbuildable, differs: Any) -> None:
    differs(unbuildable)
    assert "runs again" not in unbuildable.fails()
    assert not set(SERVICES) & unbuildable.below.units("runs")


def test_nothing_runs_beside_packages_of_another_version(unbuildable: Unbuildable, monkeypatch: Any) -> None:
    kept = Packages("apt", {"libnvidia-nscq": f"{NEW}-1"})
    monkeypatch.setattr(unbuildable, "installed", lambda: kept)
    assert "runs again" not in unbuildable.fails()
    assert not set(SERVICES) & unbuildable.below.units("runs")


def test_what_can_t_be_started_is_not_said_to_run(unbuildable: Unbuildable) -> None:
    (unbuildable.below.root / f"units/{FABRIC}.fails").touch()
    assert "runs again" not in unbuildable.fails()
