"""A disk that fills up while state is written: the old state survives, and the next apply goes on from it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import lab as labs

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "none", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(filler: Path, but: int = 0) -> None:
    """Take every free byte of the disk, and give the last `but` back."""
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT)
    with os.fdopen(descriptor, "wb", buffering=0) as out, contextlib.suppress(OSError):
        while out.write(b"\0" * 4096):
            pass
    os.truncate(filler, filler.stat().st_size - but)
    found = os.statvfs(filler)
    assert found.f_bavail * found.f_frsize == but


@pytest.fixture
def lab(tmp_path: Path, small_disk: Path, engine: object) -> Iterator[labs.Lab]:
    """A lab whose state is on the small disk."""
    lab = labs.make(tmp_path)
    lab.edit(
        "cluster.yaml",
        "  defaults: {cluster: core}",
        f"  state: file://{small_disk}/state\n  defaults: {{cluster: core}}",
    )
    try:
        lab("apply", "--yes")
        yield lab
    finally:
        (small_disk / "filler").unlink(missing_ok=True)
        lab("destroy", "--yes")
    labs.assert_nothing_left(lab)


@pytest.mark.parametrize("free", [0, 40 * 1024])
def test_a_run_that_could_not_save_what_it_does_is_refused(lab: labs.Lab, small_disk: Path, free: int) -> None:
    before = {path: path.read_bytes() for path in small_disk.rglob("stacks/**/*.json*")}
    lab.edit("pools.yaml", "lab: {count: 3}", "lab: {count: 4}")
    fill(small_disk / "filler", but=free)

    for command in ("apply", "destroy"):
        refused = lab(command, "--yes", code=1)
        assert f"the file system with the state in {small_disk}/state" in refused.err
        assert "make room" in refused.err
        assert {path: path.read_bytes() for path in small_disk.rglob("stacks/**/*.json*")} == before
        assert list(small_disk.rglob("runs/*")) == []
    assert sum(node["exists"] for node in lab.nodes()) == 5

    (small_disk / "filler").unlink()
    lab("apply", "--yes")
    assert sum(node["exists"] for node in lab.nodes()) == 6
    lab("plan", "--detailed-exitcode", code=0)


def test_a_state_that_was_cut_off_is_followed_by_the_one_before_and_what_was_made_since_is_found(
    lab: labs.Lab, small_disk: Path
) -> None:
    (state,) = small_disk.rglob("state.json")
    lab.edit("pools.yaml", "lab: {count: 3}", "lab: {count: 4}")
    lab("apply", "--yes")

    os.truncate(state, 24576)
    assert "not readable" in lab("plan").err
    assert state.stat().st_size == 24576, "looking changes nothing"
    assert "adopted" in lab("apply", "--yes").out
    lab("plan", "--detailed-exitcode", code=0)
    lab("drift", code=0)
    assert sum(node["exists"] for node in lab.nodes()) == 6
    os.truncate(state, 24576)
    for backup in state.parent.glob("backups/*"):
        if int(backup.stem) > 1:  # and now it is destroy that has to find the sixth machine
            backup.unlink()
