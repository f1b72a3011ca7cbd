"""The engine's process is stopped with care, and never waited for in vain."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from swarmctl.engine import process
from swarmctl.engine.process import EngineProcess

STUBBORN = "trap 'echo stop >&2' INT; echo up > up; while :; do sleep 0.05; done"
OBEDIENT = "trap 'exit 7' INT; echo up > up; while :; do sleep 0.05; done"


def started(folder: Path, script: str, *, done: bool) -> EngineProcess:
    shell, idle = str(shutil.which("sh")), str(shutil.which("true"))
    environment = {"PATH": os.environ["PATH"]}
    engine = EngineProcess([shell, "-c", script], [idle], environment, folder, lambda: done)
    deadline = time.monotonic() + 10
    while not (folder / "up").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return engine


def test_an_interrupted_engine_that_has_done_everything_and_lingers_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "LINGER", 0.2)
    engine = started(tmp_path, STUBBORN, done=True)
    engine.interrupt()
    assert engine.wait() == -signal.SIGKILL
    assert engine.gone()
    engine.output()


def test_an_interrupted_engine_that_is_still_at_work_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "LINGER", 0.05)
    engine = started(tmp_path, STUBBORN, done=False)
    engine.interrupt()
    waiting = threading.Thread(target=engine.wait)
    waiting.start()
    waiting.join(0.6)
    assert waiting.is_alive()
    engine.interrupt()
    waiting.join(5)
    assert not waiting.is_alive()
    assert engine.gone()
    engine.output()


def test_one_that_obeys_ends_as_it_likes(tmp_path: Path) -> None:
    engine = started(tmp_path, OBEDIENT, done=True)
    engine.interrupt()
    assert engine.wait() == 7
    assert engine.gone()
    engine.output()


def test_one_that_is_overdue_is_ended_and_the_reason_is_kept(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"]}
    shell, idle = str(shutil.which("sh")), str(shutil.which("true"))
    engine = EngineProcess([shell, "-c", STUBBORN], [idle], environment, tmp_path, overdue=lambda: "it hangs")
    assert engine.wait() == -signal.SIGKILL
    assert engine.ended_because == "it hangs"
    assert engine.gone()
    engine.output()


def test_the_provider_is_gone_when_the_engine_is(tmp_path: Path) -> None:
    shell = str(shutil.which("sh"))
    provider = [shell, "-c", "echo $$ > provider; exec sleep 60"]
    engine = EngineProcess([shell, "-c", "until [ -s provider ]; do :; done"], provider, dict(os.environ), tmp_path)
    assert engine.wait() == 0
    assert engine.gone()
    assert not Path(f"/proc/{(tmp_path / 'provider').read_text().strip()}/exe").exists()
    engine.output()


def test_one_that_ends_just_when_it_is_to_be_killed_is_nothing_to_complain_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killpg = os.killpg

    def late(group: int, number: int) -> None:
        killpg(group, number)
        raise ProcessLookupError

    monkeypatch.setattr(os, "killpg", late)
    engine = started(tmp_path, STUBBORN, done=False)
    engine.interrupt()
    engine.interrupt()
    assert engine.wait() == -signal.SIGKILL
    assert engine.gone()
    engine.output()


def open_files() -> set[tuple[str, str]]:
    """Numbers and targets of this process's descriptors, but for the one that lists them."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add((name, os.readlink(f"/proc/self/fd/{name}")))
    return found


def test_one_that_cannot_be_started_leaves_nothing_open(tmp_path: Path) -> None:
    before = open_files()
    with pytest.raises(FileNotFoundError):
        EngineProcess(["/bin/true"], ["/bin/true"], {}, tmp_path / "missing", secrets={"TOKEN": "x"})
    assert open_files() == before


def test_a_wait_that_is_broken_off_interrupts_it_and_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_off(engine: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        raise KeyboardInterrupt

    before = open_files()
    engine = started(tmp_path, OBEDIENT, done=False)
    with monkeypatch.context() as patched:
        patched.setattr(subprocess.Popen, "wait", broken_off)
        with pytest.raises(KeyboardInterrupt):
            engine.wait()
    assert open_files() == before
    assert engine.wait() == 7
