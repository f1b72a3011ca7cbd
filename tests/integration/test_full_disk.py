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
        assert [path for path in small_disk.rglob(".pulumi/locks/**/*") if path.is_file()] == []
    assert sum(node["exists"] for node in lab.nodes()) == 5

    (small_disk / "filler").unlink()
    lab("apply", "--yes")
    assert sum(node["exists"] for node in lab.nodes()) == 6
    lab("plan", "--detailed-exitcode", code=0)


def test_with_both_files_of_the_engine_cut_off_what_was_made_since_is_found(lab: labs.Lab, small_disk: Path) -> None:
    """As a disk leaves them that fills up in a run: swarmctl's copy is from before it."""
    (checkpoint,) = small_disk.rglob("stacks/swarmctl/*.json")
    copy = checkpoint.parents[4] / "checkpoint.before.json"
    before = checkpoint.read_bytes()
    lab.edit("pools.yaml", "lab: {count: 3}", "lab: {count: 4}")
    lab("apply", "--yes")
    assert not copy.exists()

    def cut_off() -> None:
        copy.write_bytes(before)
        for file in (checkpoint, checkpoint.with_name(f"{checkpoint.name}.bak")):
            os.truncate(file, 24576)

    cut_off()
    assert "not readable" in lab("plan").err
    lab("apply", "--yes")
    assert not copy.exists()
    lab("plan", "--detailed-exitcode", code=0)
    lab("drift", code=0)
    assert sum(node["exists"] for node in lab.nodes()) == 6
    cut_off()  # and now it is destroy that has to find the sixth machine
