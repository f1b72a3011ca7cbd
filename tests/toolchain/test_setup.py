"""What `make setup` and `make lab` do before swarmctl runs: Python, packages, and what is said when they can't."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from swarmctl import toolchain
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
    monkeypatch.setattr(module, "missing_tools", lambda: ["nft", "wg"])
    monkeypatch.setattr("swarmctl.operations.doctor._os_release", lambda: {"ID": "debian"})
    return module


def test_an_ordinary_user_is_told_the_one_command_and_nothing_is_run(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: pytest.fail(f"ran {args}"))
    with pytest.raises(SwarmError, match="nftables, wireguard-tools") as raised:
        prepare.install_packages()
    assert raised.value.hint == "sudo apt-get install -y --no-install-recommends nftables wireguard-tools"


def test_root_has_them_installed(prepare: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def run(command: list[str], **_kwargs: object) -> subprocess.CompletedProcess[str]:
        ran.append(command)
        if "install" in command:
            monkeypatch.setattr(prepare, "missing_tools", lambda: [])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(subprocess, "run", run)
    prepare.install_packages()
    assert [command[:2] for command in ran] == [["apt-get", "update"], ["apt-get", "install"]]
    assert ran[-1][-2:] == ["nftables", "wireguard-tools"]


def test_packages_that_are_missing_after_all_are_an_error(prepare: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(subprocess, "run", lambda command, **_kwargs: subprocess.CompletedProcess(command, 0))
    with pytest.raises(SwarmError, match="still missing"):
        prepare.install_packages()


def test_no_way_to_wireguard_go_is_a_note_not_an_error(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    prepare.make_wireguard(lambda *step: None)
    assert "go is not on PATH" in capsys.readouterr().err
    assert toolchain.wireguard_go() is None
