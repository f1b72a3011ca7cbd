"""Kill -9 in the middle of anything: what was begun is found again, finished or taken away."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from swarmctl.backends.lab import marks

from . import labs

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
WORK = """
import sys
from tests.backends import labs
placements = labs.place(labs.pool("a", 2), labs.pool("b", 1, "us"))
print("started", flush=True)
if sys.argv[1] == "create":
    labs.create(placements)
    for placement in placements:
        host = labs.host(placement)
        host.put("/etc/mark", b"x" * 100000)
        host.start_service("one", ["sleep", "2468"])
elif sys.argv[1] == "delete":
    labs.delete(placements)
else:
    labs.backend.sweep(labs.STACK)
print("done", flush=True)
"""


@contextmanager
def worker(what: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", WORK, what], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        yield process


def cut_off(what: str, delay: float) -> None:
    """Do it in another process and kill that one after `delay` seconds; what it has started is left alone."""
    with worker(what) as process:
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)


POINTS = [n * 0.04 + random.Random(n).random() * 0.04 for n in range(11)]


@pytest.mark.parametrize("delay", POINTS)
def test_a_creation_that_was_killed_leaves_nothing_after_a_sweep(lab: None, delay: float) -> None:
    cut_off("create", delay)
    labs.backend.sweep(labs.STACK)
    assert labs.soon(lambda: not labs.left_behind()), labs.left_behind()


@pytest.mark.parametrize("delay", POINTS[1::3])
def test_a_creation_that_was_killed_is_finished_by_the_next(lab: None, delay: float) -> None:
    cut_off("create", delay)
    placements = labs.place(labs.pool("a", 2), labs.pool("b", 1, "us"))
    labs.create(placements)
    for placement in placements:
        assert labs.backend.read_machine(placement.inputs) == placement.inputs
        host = labs.host(placement)
        host.run(["ping", "-c1", "-W2", placements[-1].underlay[0]])
        host.start_service("one", ["sleep", "2468"])
        assert host.run(["sh", "-c", "ps ax -o args | grep -c '^sleep 2468'"]).text == "1\n"
    cut_off("delete", delay / 2)
    labs.delete(placements)
    assert labs.soon(lambda: not labs.left_behind()), labs.left_behind()


def test_a_sweep_that_was_killed_is_finished_by_the_next(lab: None) -> None:
    for delay in (0.0, 0.05):
        labs.create(labs.place(labs.pool("a", 2)))
        cut_off("sweep", delay)
        labs.backend.sweep(labs.STACK)
        assert labs.soon(lambda: not labs.left_behind()), labs.left_behind()


def test_a_lab_outlives_the_process_group_and_terminal_that_made_it(lab: None) -> None:
    with worker("create") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        os.killpg(process.pid, signal.SIGKILL)
    for placement in labs.place(labs.pool("a", 2), labs.pool("b", 1, "us")):
        assert labs.backend.read_machine(placement.inputs) == placement.inputs
        assert [service.running for service in labs.host(placement).services()] == [True]
    for process_ in labs.holders():
        stat = Path(f"/proc/{process_.pid}/stat").read_text().rsplit(")", 1)[1].split()
        assert stat[4] == "0"  # no terminal
        for name in os.listdir(f"/proc/{process_.pid}/fd"):
            assert os.stat(f"/proc/{process_.pid}/fd/{name}").st_rdev == os.stat("/dev/null").st_rdev
    assert marks.Lab(labs.STACK).folder.stat().st_mode & 0o777 == 0o700


def test_what_a_killed_run_has_begun_ends_before_the_next_begins(tmp_path: Path) -> None:
    """As `ip` goes on that takes a bridge away: what the next run makes must not be what it removes."""
    script = (
        "import sys; from pathlib import Path; from swarmctl.backends.lab import marks, network\n"
        "with marks.locked(Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    network.call(['sh', '-c', 'echo >begun; sleep 1; echo >ended'], 'tag', [], b'')\n"
    )
    (tmp_path / "lab").mkdir()
    command = [sys.executable, "-c", script, str(tmp_path / "lab")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE) as process:
        assert labs.soon(lambda: (tmp_path / "begun").exists())
        process.kill()
    with marks.locked(tmp_path / "lab") as there:
        assert there
        assert (tmp_path / "ended").exists()
    assert marks.held() == []
