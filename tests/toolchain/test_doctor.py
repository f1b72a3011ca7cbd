"""`swarmctl doctor`: what is checked, what is said, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from swarmctl import backends, packages
from swarmctl.backends.base import Check
from swarmctl.errors import SwarmError
from swarmctl.operations import doctor
from swarmctl.reports import doctor as report
from tests.toolchain import releases as fakes


class Backend:
    """A backend of which only the doctor is asked."""

    def __init__(self, *checks: Check, error: SwarmError | None = None) -> None:
        self._checks, self._error = checks, error

    def doctor(self) -> Sequence[Check]:
        if self._error:
            raise self._error
        return self._checks


@pytest.fixture
def healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with every tool, an engine and a backend that works; returns the folder of the tools."""
    folder = tmp_path / "bin"
    for tool in packages.TOOLS:
        fakes.executable(folder / tool, b"#!/bin/sh\n")
    fakes.executable(folder / "pulumi", fakes.program(fakes.VERSION))
    for tool in ("sh",):
        (folder / tool).symlink_to(f"/bin/{tool}")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(backends, "names", lambda: ["lab"])
    monkeypatch.setattr(backends, "load", lambda name: Backend(Check("mode", True, "root")))
    return folder


def command(*args: str) -> tuple[int, str]:
    from swarmctl.cli.doctor import command as doctor_command

    result = CliRunner().invoke(doctor_command, args, standalone_mode=False)
    assert result.exception is None
    return int(result.return_value), result.output


def failed(areas: list[doctor.Area]) -> list[str]:
    return [check.name for area in areas for check in area.checks if not check.ok]


def test_a_healthy_machine_passes(healthy: Path) -> None:
    code, output = command()
    assert code == 0
    assert "All is well." in output
    assert "Pulumi" in output
    assert "FAIL" not in output


def test_missing_tools_are_named_with_one_command_for_all(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "which", lambda tool: None if tool in ("nft", "wg", "ping") else f"/bin/{tool}")
    monkeypatch.setattr(packages, "_os_release", lambda: {"ID": "debian"})
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert packages.missing() == ["nft", "wg", "ping"]
    code, output = command()
    assert code == 1
    expected = "sudo apt-get install -y --no-install-recommends iputils-ping nftables wireguard-tools"
    assert output.count(expected) == 1
    assert f"nft, wg, ping: {expected}" in output


@pytest.mark.parametrize(
    ("release", "starts", "ends"),
    [
        ({"ID": "debian"}, "apt-get install", "iproute2 iputils-ping"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "apt-get install", "iproute2 iputils-ping"),
        ({"ID": "fedora"}, "dnf install", "iproute iputils"),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "dnf install", "iproute iputils"),
        ({"ID": "arch"}, "pacman -S", "iproute2 iputils"),
        ({"ID": "opensuse-leap", "ID_LIKE": "suse opensuse"}, "zypper ", "iproute2 iputils"),
    ],
)
def test_the_install_command_is_the_distribution_s_own(release: dict[str, str], starts: str, ends: str) -> None:
    command = packages.install_command(["ping", "ip"], release)
    assert command.startswith(starts)
    assert command.endswith(ends)


def test_an_unknown_distribution_gets_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packages.install_command(["ip"], {"ID": "plan9"}) == ""
    monkeypatch.setattr(packages, "_os_release", lambda: {"ID": "plan9"})
    assert packages.how_to_install(["ip", "wireguard-go"]) == "install what Debian calls iproute2 wireguard-go"


def test_two_tools_of_one_package_install_it_once() -> None:
    assert packages.install_command(["nsenter", "setpriv"], {"ID": "debian"}).split()[-2:] == [
        "--no-install-recommends",
        "util-linux",
    ]


def test_a_missing_engine_is_told_with_every_way_tried(healthy: Path) -> None:
    (healthy / "pulumi").unlink()
    areas = doctor.examine()
    assert failed(areas) == ["engine"]
    text = report.render(areas, color=False)
    assert "PATH: no pulumi there" in text
    assert "engine: run `swarmctl engine install`" in text


def test_a_data_folder_that_cannot_be_written_is_told(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/dev/null/data")
    assert failed(doctor.examine()) == ["data"]


def test_a_full_disk_is_told(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_SPACE", 1 << 62)
    assert failed(doctor.examine()) == ["data"]


def test_another_platform_is_told_plainly(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    areas = doctor.examine()
    assert failed(areas) == ["platform"]
    assert "from Linux only" in report.render(areas, color=False)


def test_a_backend_that_fails_is_a_failed_check(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Backend(error=SwarmError("no user namespaces here", "be root"))
    monkeypatch.setattr(backends, "load", lambda name: broken)
    code, output = command("--format", "json")
    document = json.loads(output)
    assert code == 1
    assert (document["schema"], document["ok"]) == ("swarmctl/doctor/v1", False)
    assert document["checks"][-1] == {
        "area": "backend lab",
        "name": "lab",
        "ok": False,
        "detail": "no user namespaces here",
        "mend": "be root",
    }


def test_it_changes_nothing(healthy: Path, environment: Path) -> None:
    doctor.examine()
    left = [path for path in environment.rglob("*") if path.is_file()]
    assert [path.name for path in left] in ([], ["versions.json"])
    assert not (environment / "data").exists()
