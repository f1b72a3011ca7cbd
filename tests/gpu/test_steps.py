"""Each step that brings a driver to a machine does what it is there for: its own script, run below a folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from swarmctl.gpu.model import IN_TREE
from swarmctl.kinds.node_pool.accelerators import scripts, services, turn
from swarmctl.kinds.node_pool.accelerators.errors import DriverImpossible
from swarmctl.kinds.node_pool.accelerators.machine import is_file_of
from swarmctl.kinds.node_pool.accelerators.places import NVIDIA
from tests.gpu.below import Below, Driven

URL = "https://mirror.example/debian12/x86_64"
REPOSITORY = {"url": URL}
OLD, NEW = "580.173.02", "595.91.07"
DEB822 = "Types: deb\nURIs: {}\nSuites: /\nSigned-By: /usr/share/keyrings/other.gpg\n"


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("sources.list.d/vendor.sources", DEB822.format(URL), True),
        ("sources.list.d/vendor.sources", DEB822.format(f"https://a.example/x {URL}/"), True),
        ("sources.list.d/vendor.sources", "Enabled: no\n" + DEB822.format(URL), False),
        ("sources.list.d/vendor.sources", DEB822.format("https://a.example/x") + f"# {URL}\n", False),
        ("sources.list.d/vendor.sources", DEB822.format(f"{URL}-old"), False),
        ("sources.list.d/vendor.sources", DEB822.format(URL).replace(": ", ":").replace("\n", "\r\n"), True),
        (
            "sources.list.d/vendor.sources",
            "Enabled: no\n" + DEB822.format("https://a.example/x") + "\n" + DEB822.format(URL),
            True,
        ),
        ("sources.list.d/vendor.sources", "enabled: False\n" + DEB822.format(URL), False),
        ("sources.list.d/vendor.list", f"deb [signed-by=/k.gpg] {URL}/ /\n", True),
        ("sources.list.d/vendor.list", f"#deb [signed-by=/k.gpg] {URL}/ /\n", False),
        ("sources.list", f"deb {URL} /\n", True),
        (NVIDIA.sources.removeprefix("/etc/apt/"), scripts.source_lines(NVIDIA, REPOSITORY), False),
    ],
    ids=[
        "deb822",
        "second address",
        "disabled",
        "deb822 comment",
        "longer",
        "deb822 in other letters",
        "deb822 of two parts",
        "disabled in other words",
        "line",
        "line comment",
        "main list",
        "ours",
    ],
)
def test_who_else_told_apt_of_the_repository_is_found_in_either_format(
    tmp_path: Path, file: str, text: str, told: bool
) -> None:
    host = Below(tmp_path / "n1")
    host.put(f"/etc/apt/{file}", text.encode())
    lines = host.sh(scripts.elsewhere(NVIDIA, REPOSITORY)).splitlines()
    assert lines == ([f"/etc/apt/{file} {URL}"] if told else [])


def test_a_repository_that_somebody_else_brought_is_refused_before_anything_is_changed(tmp_path: Path) -> None:
    host = Below(tmp_path / "n1")
    machine = Driven(host)
    machine.alone(REPOSITORY)
    host.put("/etc/apt/sources.list.d/vendor.sources", DEB822.format(URL).encode())
    with pytest.raises(DriverImpossible, match=f"/vendor.sources has apt take packages from {re.escape(URL)} already"):
        machine.alone(REPOSITORY)
    assert not machine.worked


def test_the_exporter_is_told_of_its_list_and_of_no_other(tmp_path: Path) -> None:
    host = Below(tmp_path / "n1")
    own = "# a comment\nDCGM_FI_DEV_SM_CLOCK, gauge, clock\nDCGM_FI_DEV_XID_ERRORS, gauge, its own words\n"
    host.put("/etc/dcgm-exporter/default-counters.csv", own.encode())
    host.sh(services.counters_script(["DCGM_FI_DEV_XID_ERRORS", "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"]))
    override = (host.get(services.OVERRIDE) or b"").decode().splitlines()
    # A second ExecStart= is refused by systemd unless an empty one has taken the first away.
    assert override == ["[Service]", "ExecStart=", f"ExecStart=/usr/bin/dcgm-exporter -f {services.COUNTERS}"]
    counters = [line.partition(",")[0] for line in (host.get(services.COUNTERS) or b"").decode().splitlines()]
    assert counters == ["DCGM_FI_DEV_SM_CLOCK", "DCGM_FI_DEV_XID_ERRORS", "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"]
    assert host.sh(services.counters_script(["DCGM_FI_DEV_XID_ERRORS", "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"])) == ""
    assert host.sh(services.counters_script(["DCGM_FI_DEV_XID_ERRORS"])) == "changed\n"


def test_an_exporter_that_runs_takes_up_a_new_list(tmp_path: Path) -> None:
    machine = Driven(Below(tmp_path / "n1"))
    machine.start([services.EXPORTER])
    machine.end(services.EXPORTER)
    assert machine.host.units("runs") == set(), "so that it starts anew"


def test_modules_are_loaded_whenever_the_machine_starts_until_none_is_named(tmp_path: Path) -> None:
    host = Below(tmp_path / "n1")
    machine = Driven(host)
    machine.load_at_start(["nvidia_peermem", "gdrdrv"])
    assert host.get(NVIDIA.modules) == b"nvidia_peermem\ngdrdrv\n"
    assert machine.seen().modules == ("nvidia_peermem", "gdrdrv")
    machine.load_at_start([])
    assert host.get(NVIDIA.modules) is None


def test_units_run_now_and_after_a_restart_and_no_others(tmp_path: Path) -> None:
    host = Below(tmp_path / "n1")
    machine = Driven(host)
    wanted = {"nvidia-fabricmanager.service", services.PERSISTENCE}
    machine.start(["nvidia-imex.service", services.PERSISTENCE])
    machine.start(sorted(wanted))
    assert host.units("enabled") == wanted, "a unit that is not enabled is gone after the next restart"
    assert host.units("runs") == wanted
    reloaded, first = host.calls.index("systemctl daemon-reload"), f"systemctl enable --now {services.PERSISTENCE}"
    assert reloaded < host.calls.index(first), "an override counts only once it is read"
    machine.stop()
    assert host.units("runs") == set()
    assert host.units("enabled") == wanted, "what is stopped for a moment comes back with the machine"


@pytest.mark.parametrize(
    ("tools", "called"),
    [
        (("update-initramfs", "dracut"), ["update-initramfs -u"]),
        (("update-initramfs",), ["update-initramfs -u"]),
        (("dracut",), ["dracut --force"]),
        ((), []),
    ],
    ids=["both", "initramfs-tools", "dracut", "neither"],
)
def test_the_kernel_s_own_driver_leaves_the_initramfs_too(
    tmp_path: Path, tools: tuple[str, ...], called: list[str]
) -> None:
    host = Below(tmp_path / "n1", ("modprobe",))
    for tool in tools:  # what keeps the driver out has to be there before it can get into the initramfs
        host.tool(tool, f'[ -s "$ROOT{NVIDIA.kept_out}" ]')
    host.load("nouveau")
    (host.root / "built").write_text(f"{NEW} open\n")
    assert host.sh(scripts.reload(NEW, "open", [])) == "loaded\n"
    assert [call for call in host.calls if not call.startswith("modprobe")] == called
    assert (host.get(NVIDIA.kept_out) or b"").decode() == "".join(f"blacklist {name}\n" for name in IN_TREE)
    assert host.loaded == {"nvidia", "nvidia_uvm"}


def test_an_initramfs_is_left_alone_where_nothing_gave_way(tmp_path: Path) -> None:
    host = Below(tmp_path / "n1", ("modprobe", "update-initramfs", "dracut"))
    (host.root / "built").write_text(f"{NEW} open\n")
    host.sh(scripts.reload(NEW, "open", []))
    assert {call.split()[0] for call in host.calls} == {"modprobe"}
    assert host.get(NVIDIA.kept_out) is None


def has(host: Below, version: str, flavour: str, *users: str) -> None:
    """That module is loaded, those others use it."""
    (host.root / "built").write_text(f"{version} {flavour}\n")
    host.sh("modprobe nvidia")
    host.load(f"nvidia:{','.join(users)}", *users)
    if "nvidia_modeset" in users:
        host.load(f"nvidia:{','.join(users)}", "nvidia_modeset:nvidia_drm", "nvidia_drm")


@pytest.mark.parametrize(
    "users",
    [("nvidia_uvm",), ("nvidia_modeset", "nvidia_drm"), ("nvidia_peermem",), ("nvidia_fs",), ("gdrdrv",)],
    ids=lambda users: users[0],
)
def test_modules_that_use_the_driver_s_go_before_it(tmp_path: Path, users: tuple[str, ...]) -> None:
    host = Below(tmp_path / "n1", ("modprobe",))
    has(host, OLD, "open", *users)
    (host.root / "built").write_text(f"{NEW} open\n")
    assert host.sh(scripts.reload(NEW, "open", [])) == "loaded\n"
    assert (host.get("/sys/module/nvidia/version") or b"").decode().strip() == NEW
    assert host.loaded == {"nvidia", "nvidia_uvm", *users}, "who was there comes again, and needs the new one"


def test_one_that_another_module_uses_is_said_to_stay(tmp_path: Path) -> None:
    host = Below(tmp_path / "n1", ("modprobe",))
    has(host, OLD, "open", "of_somebody_else")
    assert host.sh(scripts.reload(NEW, "open", [])) == "stays nvidia\n"
    assert (host.get("/sys/module/nvidia/version") or b"").decode().strip() == OLD


def test_the_cdi_specification_is_its_service_s_where_systemd_runs(tmp_path: Path) -> None:
    host = Below(tmp_path / "n1", ("systemctl", "nvidia-ctk"))
    host.sh(scripts.cdi())
    assert host.calls == ["systemctl restart nvidia-cdi-refresh.service"]


def test_the_cdi_specification_is_written_where_it_does_not(tmp_path: Path) -> None:
    host = Below(tmp_path / "n1", ("systemctl", "nvidia-ctk"), systemd=False)
    (host.root / "library").write_text(NEW)
    host.sh(scripts.cdi())
    assert host.calls == [f"nvidia-ctk cdi generate --output={NVIDIA.cdi}"]
    assert Driven(host).seen().cdi == NEW


@pytest.mark.parametrize("start", [services.stop_script, lambda: services.start_script([services.EXPORTER])])
def test_where_systemd_does_not_run_its_tools_are_not_asked(tmp_path: Path, start: Callable[[], str]) -> None:
    host = Below(tmp_path / "n1", systemd=False)
    assert host.sh(start()) == "none\n"
    assert host.calls == []


def test_a_machine_settles_with_all_that_is_declared(tmp_path: Path) -> None:
    host = Below(tmp_path / "n1")
    machine = Driven(host)
    units = {services.EXPORTER, "nvidia-cdi-refresh.service"}
    declared = {"held": ["nvidia-driver"], "modules": ["nvidia_peermem"], "counters": ["DCGM_FI_DEV_XID_ERRORS"]}
    declared |= {"services": sorted(units), "cdi": NEW, "version": NEW, "kernelModule": "open"}
    turn._settle(machine, declared, reload=False)
    seen = machine.seen()
    assert (seen.modules, seen.counters) == (("nvidia_peermem",), {"DCGM_FI_DEV_XID_ERRORS"})
    assert host.units("enabled") == units
    assert host.get(services.OVERRIDE) is not None
    assert "systemctl restart nvidia-cdi-refresh.service" in host.calls, "it names other libraries than those declared"
    assert ["nvidia-driver" in work.script for work in machine.worked] == [True]


@pytest.mark.parametrize(
    ("wanted", "file", "is_it"),
    [
        ("libcuda1=580.95-1", "libcuda1_580.95-1_amd64.deb", True),
        ("libcuda1=580.95-1", "libcuda1_580.95-1_i386.deb", False),
        ("libcuda1=580.95-1", "libcuda1_580.95-11_amd64.deb", False),
        ("libcuda1=580.95-1", "libcuda1-dev_580.95-1_amd64.deb", False),
        ("libcuda1:i386=580.95-1", "libcuda1_580.95-1_i386.deb", True),
        ("libcuda1:i386=580.95-1", "libcuda1_580.95-1_amd64.deb", False),
        ("nvidia-fs=1:2.0-1", "nvidia-fs_1%3a2.0-1_all.deb", True),
        ("nvidia-libs=3:580.95-1.el9", "nvidia-libs_3%3a580.95-1.el9_x86%5f64.rpm", True),
        ("nvidia-libs=3:580.95-1.el9", "nvidia-libs_3%3a580.95-1.el9_i686.rpm", False),
        ("nvidia-libs.i686=3:580.95-1.el9", "nvidia-libs_3%3a580.95-1.el9_i686.rpm", True),
        ("nvidia_libs=1.0_1-1", "nvidia%5flibs_1.0%5f1-1_noarch.rpm", True),
    ],
)
def test_whose_file_it_is_its_name_version_and_architecture_say(wanted: str, file: str, is_it: bool) -> None:
    assert is_file_of(wanted, f"/var/lib/swarmctl/driver/new/{file}") is is_it


def test_what_is_kept_takes_the_place_of_the_version_before_for_each_architecture(tmp_path: Path) -> None:
    host = Below(tmp_path / "n1")
    for version, place in ((OLD, NVIDIA.current), (NEW, NVIDIA.new)):
        for file in ("amd64.deb", "i386.deb", "x86%5f64.rpm"):
            host.put(f"{place}/libcuda1_{version}-1_{file}", version.encode())
    host.sh(scripts.keep(NVIDIA))
    kept = sorted(file.name for file in (tmp_path / "n1" / NVIDIA.current[1:]).iterdir())
    assert kept == [f"libcuda1_{NEW}-1_{file}" for file in ("amd64.deb", "i386.deb", "x86%5f64.rpm")]
