"""How the engine and its provider are started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from swarmctl.engine import launch

SLEEPER = ["/bin/sleep", "60"]


def run(parent: int, provider: list[str], engine: str) -> subprocess.CompletedProcess[str]:
    command = launch.command(parent, provider, ["/bin/sh", "-c", engine])
    return subprocess.run(command, capture_output=True, text=True, timeout=20)


def test_the_engine_is_told_where_the_provider_is_and_dumps_no_core(tmp_path: Path) -> None:
    note = tmp_path / "port"
    provider = ["/bin/sh", "-c", f"printf %s ${launch.PORT_VARIABLE} >{note}"]

    done = run(os.getpid(), provider, f"until [ -s {note} ]; do :; done; ulimit -c; echo $PULUMI_DEBUG_PROVIDERS")

    assert done.stdout.split() == ["0", f"swarm:{note.read_text()}"]


def test_a_program_that_cannot_be_started_is_told_in_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "engine"
    broken.write_bytes(b"\x7fELF" + bytes(1000))
    broken.chmod(0o755)
    command = launch.command(os.getpid(), SLEEPER, [str(broken)])

    done = subprocess.run(command, capture_output=True, text=True, timeout=20)

    assert (done.returncode, done.stderr) == (127, f"{broken} can't be started: Exec format error\n")


def test_what_the_engine_writes_is_for_its_user_only(tmp_path: Path) -> None:
    theirs = tmp_path / "provider"
    provider = ["/bin/sh", "-c", f"umask >{theirs}.new; mv {theirs}.new {theirs}"]

    done = run(os.getpid(), provider, f"until [ -s {theirs} ]; do :; done; umask")

    assert int(done.stdout, 8) == 0o077
    before = os.umask(0)
    os.umask(before)
    assert int(theirs.read_text(), 8) == before


def test_nothing_is_started_when_the_parent_is_gone_already() -> None:
    done = run(1, SLEEPER, "echo started")

    assert (done.returncode, done.stdout) == (1, "")


def test_the_reserved_port_is_for_those_that_share_it_only() -> None:
    port = launch.reserve_port()

    with socket.socket() as stranger:
        assert stranger.connect_ex(("127.0.0.1", port)) != 0
    with socket.socket() as taker:
        try:
            taker.bind(("127.0.0.1", port))
        except OSError:
            pass
        else:
            raise AssertionError("anyone can take it")
    with socket.socket() as provider:
        provider.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        provider.bind(("127.0.0.1", port))
        provider.listen()


def test_the_engine_gets_ctrl_c_when_its_parent_dies(tmp_path: Path) -> None:
    note = tmp_path / "note"
    engine = f"trap 'echo saved >{note}; exit' INT; echo ready >{note}.ready; while :; do sleep 0.01; done"
    script = (
        "import os, subprocess, time; from swarmctl.engine import launch;"
        f"subprocess.Popen(launch.command(os.getpid(), {SLEEPER!r}, ['/bin/sh', '-c', {engine!r}]));"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    try:
        wait_for(Path(f"{note}.ready"))
        parent.send_signal(signal.SIGKILL)
        wait_for(note)
        assert note.read_text() == "saved\n"
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()


def wait_for(file: Path) -> None:
    end = time.monotonic() + 10
    while not file.exists() or not file.read_text():
        assert time.monotonic() < end
        time.sleep(0.01)
