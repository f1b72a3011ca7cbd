"""What `make setup` and `make lab` do before swarmctl runs: Python, packages, and what is said when they can't."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from swarmctl import packages, toolchain
from swarmctl.errors import SwarmError
from tests.toolchain import releases as fakes

ROOT = Path(__file__).resolve().parents[2]
TOOLS = (
    "bash",
    "env",
    "dirname",
    "cat",
    "sha256sum",
    "cut",
    "id",
    "mktemp",
    "rm",
    "sh",
    "touch",
    "mkdir",
    "cp",
    "chmod",
)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in small, and a PATH with the shell's tools and no Python; returns the folder of that PATH."""
    (tmp_path / "scripts").mkdir()
    shutil.copy2(ROOT / "scripts" / "setup", tmp_path / "scripts" / "setup")
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text("one\n")
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (folder / tool).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def setup(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(tree.parent / "scripts" / "setup")], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def fake_python(folder: Path, name: str, *, version: tuple[int, int] = (3, 12), has_venv: bool = True) -> None:
    """A `python` that answers what the script asks, makes a "venv" of itself, and writes down what pip is to do."""
    script = f"""#!/bin/sh
here={folder}
case "$*" in
  "-c import sys"*) {"exit 0" if version >= (3, 11) else "exit 1"} ;;
  "-c import ensurepip"*) {"exit 0" if has_venv else "exit 1"} ;;
  --version) echo Python {version[0]}.{version[1]}.0 ;;
  "-m venv"*) for last; do :; done; mkdir -p "$last/bin"
              cp "$0" "$last/bin/python"; echo "venv $last" >> "$here/log" ;;
  "-m pip"*) echo "$@" >> "$here/log"; touch .venv/bin/swarmctl; chmod +x .venv/bin/swarmctl ;;
esac
"""
    fakes.executable(folder / name, script.encode())


def test_without_a_new_enough_python_nothing_is_made_and_the_error_says_so(tree: Path) -> None:
    fake_python(tree, "python3", version=(3, 10))
    run = setup(tree)
    assert run.returncode != 0
    assert "error: no Python 3.11 or newer on PATH" in run.stderr
    assert not (tree.parent / ".venv").exists()


def test_a_python_without_venv_is_passed_over_for_one_with_it(tree: Path) -> None:
    fake_python(tree, "python3.13", has_venv=False)
    fake_python(tree, "python3.11", version=(3, 11))
    run = setup(tree)
    assert run.returncode == 0, run.stderr
    assert "Making .venv with Python 3.11.0" in run.stdout


def test_a_user_without_venv_is_told_all_that_is_missing_at_once(tree: Path) -> None:
    fake_python(tree, "python3.12", has_venv=False)
    (tree / "python3.12").write_text(
        (tree / "python3.12")
        .read_text()
        .replace('case "$*" in', f'case "$*" in\n  "-I "*) exec {sys.executable} "$@" ;;')
    )
    (tree / "id").unlink()
    fakes.executable(tree / "id", b"#!/bin/sh\necho 1000\n")
    (tree.parent / "swarmctl").mkdir()
    shutil.copy2(ROOT / "swarmctl" / "packages.py", tree.parent / "swarmctl" / "packages.py")
    run = setup(tree)
    assert run.returncode != 0
    missing = " ".join(packages.debian_names(packages.missing((*packages.TOOLS, *packages.OPTIONAL))))
    assert run.stderr.strip().endswith(f"python3.12-venv {missing}".strip())
    assert not (tree.parent / ".venv").exists()


def test_a_second_run_does_nothing_until_the_pins_change(tree: Path) -> None:
    fake_python(tree, "python3")
    assert setup(tree).returncode == 0
    first = (tree / "log").read_text()
    assert "-c constraints.txt" in first
    again = setup(tree)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert (tree / "log").read_text() == first
    (tree.parent / "constraints.txt").write_text("two\n")
    assert setup(tree).returncode == 0
    assert (tree / "log").read_text() != first
    assert (tree / "log").read_text().count("venv .venv") == 1, "an environment that is of use is kept"


@pytest.fixture
def prepare(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/prepare_machine.py on a Debian machine that lacks nft and wg."""
    spec = importlib.util.spec_from_file_location("prepare_machine", ROOT / "scripts" / "prepare_machine.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    there: set[str] = {"ip", "ping", "nsenter", "setpriv", *packages.OPTIONAL, *packages.TESTING}
    monkeypatch.setattr(packages, "which", lambda program: f"/bin/{program}" if program in there else None)
    monkeypatch.setattr(packages, "_os_release", lambda: {"ID": "debian"})
    monkeypatch.setattr(module.modes, "kernel_wireguard", lambda: False)
    monkeypatch.setattr(module, "install", lambda emit: None)
    monkeypatch.setenv("PATH", "/nowhere")
    module.there = there  # type: ignore[attr-defined]
    return module


@pytest.fixture
def ran(prepare: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, Any]]]:
    """What root has run; an installation brings everything but what the test says."""
    calls: list[tuple[list[str], dict[str, Any]]] = []

    def run(command: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
        calls.append((command, more))
        if "install" in command:
            prepare.there.update({"nft", "wg"} | {name for name in command if name == "wireguard-go"})
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(subprocess, "run", run)
    return calls


def test_an_ordinary_user_is_told_the_one_command_and_nothing_is_run(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: pytest.fail(f"ran {args}"))
    assert prepare.main() == 1
    said = capsys.readouterr().err
    assert "nftables, wireguard-go, wireguard-tools" in said
    assert "sudo apt-get install -y --no-install-recommends nftables wireguard-go wireguard-tools" in said


def test_root_has_them_installed_with_nothing_of_ours_in_their_environment(
    prepare: ModuleType, ran: list[tuple[list[str], dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("https_proxy", "http://proxy")
    monkeypatch.setattr(toolchain, "wireguard_go", lambda: Path("/bin/true"))
    monkeypatch.setattr(toolchain, "obtain", lambda *more: Path("/bin/true"))
    assert prepare.main() == 0
    assert [command[:2] for command, _ in ran] == [["apt-get", "update"], ["apt-get", "install"]]
    assert ran[-1][0][-2:] == ["nftables", "wireguard-tools"]
    for _, more in ran:
        assert more["timeout"] == prepare.TIMEOUT
        assert "SECRET_TOKEN" not in more["env"]
        assert (more["env"]["https_proxy"], more["env"]["DEBIAN_FRONTEND"]) == ("http://proxy", "noninteractive")


def test_a_package_manager_that_hangs_is_an_error(prepare: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(command: list[str], **_more: Any) -> None:
        raise subprocess.TimeoutExpired(command, prepare.TIMEOUT)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(SwarmError, match="apt-get update -q did not end within 30 minutes"):
        prepare.install_packages(["nft"])


def test_packages_that_are_missing_after_all_are_an_error(prepare: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(subprocess, "run", lambda command, **_kwargs: subprocess.CompletedProcess(command, 0))
    with pytest.raises(SwarmError, match="still missing"):
        prepare.install_packages(["nft"])


def test_what_only_tests_need_is_installed_by_root_and_nobody_is_stopped_without(
    prepare: ModuleType, ran: list[tuple[list[str], dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    prepare.there.difference_update(packages.TESTING)
    prepare.install_for_tests()
    assert ran[-1][0][-6:] == packages.debian_names(packages.TESTING)
    assert (
        "note: tests that need qemu-system-x86_64, qemu-img, mmdebstrap, dot, mkfs.btrfs, shellcheck are"
        in capsys.readouterr().err
    )


def test_an_ordinary_user_is_not_bothered_about_what_only_tests_need(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare.there.difference_update(packages.TESTING)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: pytest.fail(f"ran {args}"))
    prepare.install_for_tests()


@pytest.fixture
def go(prepare: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but WireGuard is there, and a Go that can't build it."""
    prepare.there.update({"nft", "wg"})
    monkeypatch.setenv("PATH", str(tmp_path))
    fakes.executable(tmp_path / "go", b"#!/bin/sh\nexit 1\n")


def test_wireguard_go_that_cannot_be_built_comes_from_the_distribution(
    prepare: ModuleType, ran: list[tuple[list[str], dict[str, Any]]], go: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert toolchain.wireguard_go() is None
    assert prepare.main() == 0
    assert ran[-1][0][-1] == "wireguard-go"


def test_without_any_way_to_wireguard_nothing_is_called_ready(
    prepare: ModuleType, go: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert prepare.main() == 1
    assert "sudo apt-get install -y --no-install-recommends wireguard-go" in capsys.readouterr().err


def test_a_kernel_with_wireguard_does_without(
    prepare: ModuleType, go: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prepare.modes, "kernel_wireguard", lambda: True)
    assert prepare.main() == 0
    assert capsys.readouterr().err == ""


def test_a_cache_that_cannot_be_written_is_an_error_in_one_sentence(tmp_path: Path) -> None:
    for tool in (*packages.TOOLS, *packages.OPTIONAL, "go"):
        fakes.executable(tmp_path / tool, b"#!/bin/sh\n")
    run = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "prepare_machine.py")],
        env={
            "XDG_CACHE_HOME": "/proc/nope",
            "HOME": str(tmp_path),
            "PATH": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert "error: engine can't be kept in /proc/nope" in run.stderr
    assert "XDG_CACHE_HOME" in run.stderr


@pytest.mark.parametrize("target", ["lab-down", "clean"])
def test_where_there_is_no_lab_nothing_is_set_up_to_take_it_away(tmp_path: Path, target: str) -> None:
    make = shutil.which("make")
    assert make is not None
    shutil.copy2(ROOT / "Makefile", tmp_path / "Makefile")
    (tmp_path / "scripts").mkdir()
    fakes.executable(tmp_path / "scripts" / "setup", b"#!/bin/sh\necho setting up; exit 1\n")
    environment = {"PATH": os.environ["PATH"], "XDG_DATA_HOME": str(tmp_path / "data"), "HOME": str(tmp_path)}

    def made() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [make, target], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    assert (made().returncode, "setting up" in made().stdout) == (0, False)
    (tmp_path / "data" / "swarmctl" / "lab" / "lab-1").mkdir(parents=True)
    assert "setting up" in made().stdout
    assert made().returncode != 0


def test_every_benchmark_is_run_whatever_the_first_says(tmp_path: Path) -> None:
    make = shutil.which("make")
    assert make is not None
    shutil.copy2(ROOT / "Makefile", tmp_path / "Makefile")
    for folder in ("scripts", "bench"):
        (tmp_path / folder).mkdir()
    fakes.executable(tmp_path / "scripts" / "setup", b"#!/bin/sh\n")
    fakes.executable(tmp_path / ".venv" / "bin" / "python", b'#!/bin/sh\necho ran "$1"; test "$1" != bench/a.py\n')
    for name in ("a", "b"):
        (tmp_path / "bench" / f"{name}.py").touch()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    run = subprocess.run([make, "bench"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "ran bench/a.py" in run.stdout
    assert "ran bench/b.py" in run.stdout
    assert run.returncode != 0
    assert "failed: bench/a.py\n" in run.stderr
