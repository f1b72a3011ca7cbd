"""Go programs that swarmctl builds for itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from swarmctl import paths, toolchain
from tests.toolchain import releases as fakes


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "cat"):
        (folder / tool).symlink_to(f"/bin/{tool}")
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.parametrize("program", [toolchain.PULUMI, toolchain.WIREGUARD_GO])
def test_a_program_is_pinned_with_the_sums_of_its_modules(program: toolchain.Program) -> None:
    sums = (program.source / "go.sum").read_text()
    assert f"{program.module} v{program.version} h1:" in sums


def test_a_program_is_kept_under_its_version() -> None:
    version = toolchain.WIREGUARD_GO.version
    assert toolchain.cached(toolchain.WIREGUARD_GO) == paths.cache_home() / "bin" / f"wireguard-go-{version}"


def test_wireguard_comes_from_path_then_from_the_cache(bare: Path) -> None:
    assert toolchain.wireguard_go() is None
    kept = fakes.executable(toolchain.cached(toolchain.WIREGUARD_GO), b"#!/bin/sh\n")
    assert toolchain.wireguard_go() == kept
    installed = fakes.executable(bare / "wireguard-go", b"#!/bin/sh\n")
    assert toolchain.wireguard_go() == installed


def test_what_is_missing_is_built_once_and_from_the_pins_only(bare: Path) -> None:
    log = bare / "log"
    fakes.fake_go(bare, builds=b"#!/bin/sh\necho built\n", log=log)
    steps: list[tuple[str, int, int]] = []
    path = toolchain.obtain(toolchain.WIREGUARD_GO, lambda *step: steps.append(step))
    assert subprocess.check_output([path], text=True) == "built\n"
    assert steps[-1][1:] == (3, 3)
    calls = log.read_text().splitlines()
    assert all("-mod=readonly" in call for call in calls)
    assert "-trimpath" in calls[-1]
    assert toolchain.obtain(toolchain.WIREGUARD_GO) == path
    assert log.read_text().splitlines() == calls


def test_without_go_the_error_says_so(bare: Path) -> None:
    with pytest.raises(toolchain.ToolMissing, match="go is not on PATH"):
        toolchain.obtain(toolchain.WIREGUARD_GO)


def test_a_build_that_hangs_is_ended(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.executable(bare / "go", b"#!/bin/sh\nwhile :; do :; done\n")
    monkeypatch.setattr(toolchain, "BUILD_TIMEOUT", 0.1)
    with pytest.raises(toolchain.ToolMissing, match="ended with status -9"):
        toolchain.obtain(toolchain.WIREGUARD_GO)


@pytest.fixture(params=[toolchain.PULUMI, toolchain.WIREGUARD_GO], ids=lambda program: program.name)
def fetched(request: pytest.FixtureRequest) -> toolchain.Program:
    """A program whose modules Go has in its cache: a test run needs no network."""
    program: toolchain.Program = request.param
    if shutil.which("go") is None:
        pytest.skip("no Go on this machine")
    listing = subprocess.run(
        ["go", "list", "-mod=readonly", "-deps", program.package],
        cwd=program.source,
        env={**os.environ, "GOPROXY": "off", "GOWORK": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    if "GOPROXY=off" in listing.stderr:
        pytest.skip(f"the modules of {program.name} are not in Go's cache")
    assert listing.returncode == 0, listing.stderr
    return program


@pytest.mark.integration
def test_the_pins_are_complete_and_build(fetched: toolchain.Program, tmp_path: Path) -> None:
    if fetched is toolchain.PULUMI:
        return  # complete, says Go; building it takes minutes: see the next test
    path = toolchain.build(fetched, tmp_path / fetched.name)
    assert "wireguard-go" in subprocess.check_output([path, "--version"], text=True)


@pytest.mark.soak
@pytest.mark.integration
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fetched", [toolchain.PULUMI], indirect=True, ids=["pulumi"])
def test_the_engine_is_built_from_nothing_but_its_pins(
    fetched: toolchain.Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOCACHE", str(tmp_path / "gocache"))
    path = toolchain.build(fetched, tmp_path / "pulumi")
    assert subprocess.check_output([path, "version"], text=True).strip() == f"v{fetched.version}"
