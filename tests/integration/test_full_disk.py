"""A disk that fills up while state is written: the old state survives, and the next apply goes on from it."""

from __future__ import annotations

import contextlib
import json
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
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def checkpoints(disk: Path) -> dict[str, int]:
    """Every checkpoint on the disk that can be read as JSON, with the number of resources in it."""
    found = {}
    for path in disk.rglob("stacks/**/*.json"):
        found[path.name] = len(json.loads(path.read_text())["checkpoint"]["latest"].get("resources", []))
    return found


def fill(filler: Path) -> None:
    """Take every free byte of the disk."""
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT)
    with os.fdopen(descriptor, "wb", buffering=0) as out, contextlib.suppress(OSError):
        while out.write(b"\0" * 4096):
            pass
    assert os.statvfs(filler).f_bavail == 0


def test_the_old_state_survives_a_full_disk(tmp_path: Path, small_disk: Path, engine: object) -> None:
    lab = labs.make(tmp_path)
    lab.edit(
        "cluster.yaml",
        "  defaults: {cluster: core}",
        f"  state: file://{small_disk}/state\n  defaults: {{cluster: core}}",
    )
    try:
        lab("apply", "--yes")
        before = checkpoints(small_disk)
        assert before
        assert max(before.values()) > 20

        lab.edit("pools.yaml", "lab: {count: 3}", "lab: {count: 4}")
        filler = small_disk / "filler"
        fill(filler)
        failed = lab("apply", "--yes", code=None)
        assert failed.code != 0
        assert "space" in failed.err.lower(), failed.err

        filler.unlink()
        after = checkpoints(small_disk)
        assert max(after.values()) >= max(before.values()), "nothing that was known is forgotten"
        lab("apply", "--yes")
        lab("plan", "--detailed-exitcode", code=0)
        assert len(lab.nodes()) == 6
    finally:
        lab("destroy", "--yes", code=None)
    labs.assert_nothing_left(lab)
