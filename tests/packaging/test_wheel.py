"""The wheel: what is in it, and that it works in an environment that knows nothing of this checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ("schemas", "templates", "stacks", "toolchain")
SECRET = "swarmctl/backends/.env"

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]


@cache
def tracked() -> frozenset[str]:
    """The files of the project that git knows; asked once, so that a commit meanwhile doesn't matter."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return frozenset(name for name in listed.stdout.split("\0") if name and (ROOT / name).exists())


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of what is tracked, with files lying about that git ignores: a secret and a compiled leftover."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in tracked():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    for ignored in (SECRET, "stacks/lab/.env", "swarmctl/__pycache__/old.pyc", "toolchain/pulumi/.swarmctl/key"):
        path = folder / ignored
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("PASSWORD=hunter2")
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from that checkout, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "-w", str(folder), "."], cwd=source, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel in it and its dependencies beside it; returns its swarmctl."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "-q", "--no-deps"]
    subprocess.run([*pip, "--no-index", str(wheel)], check=True, capture_output=True)
    # The dependencies of this very environment, but not the editable swarmctl: a .pth inside a .pth's folder is inert.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "swarmctl"


def run(installed: Path, *args: str, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([installed, *args], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_it_holds_what_is_tracked_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    code = {name for name in tracked() if name.startswith("swarmctl/")}
    assets = {f"swarmctl/_assets/{name}" for name in tracked() if name.split("/")[0] in ASSETS}
    assert held == code | assets


def test_no_ignored_file_is_in_it(source: Path, wheel: Path) -> None:
    assert (source / SECRET).exists()
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if b"hunter2" in archive.read(name)]


def test_it_runs_from_the_wheel_and_not_from_this_checkout(installed: Path, tmp_path: Path) -> None:
    python = installed.with_name("python")
    command = [python, "-c", "import swarmctl; print(swarmctl.__file__)"]
    assert Path(subprocess.check_output(command, cwd=tmp_path, text=True).strip()).is_relative_to(
        installed.parents[1].resolve()
    )
    assert run(installed, "version", cwd=tmp_path).startswith("swarmctl ")


def test_every_packaged_stack_is_valid_there(installed: Path, tmp_path: Path) -> None:
    script = "from swarmctl import assets; print(assets.folder('stacks'))"
    stacks = Path(
        subprocess.check_output([installed.with_name("python"), "-c", script], cwd=tmp_path, text=True).strip()
    )
    assert "_assets" in stacks.parts
    folders = [folder for folder in stacks.iterdir() if folder.is_dir()]
    assert folders
    for folder in folders:
        run(installed, "-C", str(folder), "validate", cwd=tmp_path)


def test_schemas_and_pins_are_found_there(installed: Path, tmp_path: Path) -> None:
    assert '"$schema"' in run(installed, "schema", cwd=tmp_path)
    script = "from swarmctl import toolchain as t; print(t.PULUMI.version, t.WIREGUARD_GO.version)"
    assert subprocess.check_output([installed.with_name("python"), "-c", script], cwd=tmp_path, text=True).strip()
