"""The lease on a disk that is really full, and on one that is really read-only."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
WORLD = """
    import os, subprocess, sys, time
    from pathlib import Path
    from swarmctl.errors import LockHeld
    from swarmctl.state import holder, lease
    from swarmctl.state.files import DiskFull, ReadOnly
    disk = Path(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
    folder, timing = disk / "stack", lease.Timing(ttl=0.5)

    def fill():
        with open(disk / "ballast", "ab", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4096))
            except OSError:
                pass

    def take(expected):
        try:
            lease.acquire(folder, holder.me(), timing=timing).release()
        except expected as error:
            return error.message
        raise AssertionError("it could be taken")
"""


def in_a_world_of_its_own(disk: Path, program: str) -> None:
    """Run a program in a mount namespace."""
    code = textwrap.dedent(WORLD) + textwrap.dedent(program)
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", code, str(disk)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr


def test_on_a_full_disk_the_holder_keeps_it_and_the_next_one_is_told(tmp_path: Path) -> None:
    in_a_world_of_its_own(
        tmp_path,
        """
        held = lease.acquire(folder, holder.me(), timing=timing)
        fill()
        time.sleep(3 * timing.ttl)
        held.check()
        take(LockHeld)
        held.release()  # nothing can be written, and the run does not fail by that
        (disk / "ballast").unlink()
        fresh = lease.acquire(disk / "other", holder.me(), timing=timing)
        fresh.release()
        fill()
        folder = disk / "other"
        assert "is full" in take(DiskFull)
        """,
    )


def test_on_a_read_only_disk_it_is_told_and_can_be_looked_at(tmp_path: Path) -> None:
    in_a_world_of_its_own(
        tmp_path,
        """
        lease.acquire(folder, holder.me(), timing=timing).release()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        assert "read-only" in take(ReadOnly)
        assert lease.status(folder).holder is None
        """,
    )
