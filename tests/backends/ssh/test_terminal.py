"""Commands that have the caller's own streams, and his terminal when there is one."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from swarmctl.backends.ssh.host import SshHost

from .servers import Server

pytestmark = pytest.mark.integration
Machine = Callable[..., SshHost]
ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import json, sys
from swarmctl.backends.ssh.host import SshHost
from swarmctl.backends.ssh import answers
from swarmctl.errors import SwarmError
answers.BEGINS = 3.0
try:
    sys.exit(SshHost(json.loads(sys.argv[1])).exec(sys.argv[2:]))
except SwarmError as error:
    print(error.message, "|", error.hint)
    sys.exit(99)
"""


def command(server: Server, user: str, *argv: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM, json.dumps(server.host(user)), *argv]


@pytest.mark.parametrize("user", ["root", "worker"])
def test_streams_and_status_are_passed_on_and_noise_is_not(server: Server, user: str) -> None:
    script = "cat; echo $LC_ALL; echo wrong >&2; exit 5"
    done = subprocess.run(
        command(server, user, "sh", "-c", script), input=b"a\0b\n", capture_output=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (5, b"a\0b\nC.UTF-8\n", b"wrong\n")


def test_a_command_that_can_not_begin_says_why(server: Server) -> None:
    done = subprocess.run(
        command(server, "asking", "id"), capture_output=True, cwd=ROOT, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 99
    assert b"sudo asks asking for a password" in done.stdout


def profile(machine: Machine, text: str) -> None:
    """What `worker`'s profile does before anything else."""
    script = f"f=/home/worker/.bashrc; [ -e $f.was ] || cp $f $f.was; printf '%s\n' '{text}' >$f; cat $f.was >>$f"
    machine().run(["sh", "-c", script])


@pytest.fixture
def own_profile(machine: Machine) -> Iterator[None]:
    yield
    machine().run(["mv", "/home/worker/.bashrc.was", "/home/worker/.bashrc"])


@pytest.mark.usefixtures("own_profile")
@pytest.mark.parametrize("hangs", ["exec sleep 1000", "read x"])
@pytest.mark.parametrize("terminal", [True, False])
def test_a_profile_that_does_not_end_is_given_up_and_named(
    machine: Machine, server: Server, hangs: str, terminal: bool
) -> None:
    profile(machine, hangs)
    outer, inner = pty.openpty()
    stdin = inner if terminal else subprocess.PIPE
    out = inner if terminal else subprocess.PIPE
    process = subprocess.Popen(
        command(server, "worker", "id"), stdin=stdin, stdout=out, stderr=out, cwd=ROOT, start_new_session=True
    )
    os.close(inner)
    begun = time.monotonic()
    if process.stdin:
        process.stdin.write(b"word\n")  # which is not for the profile
        process.stdin.flush()
    try:
        assert process.wait(30) == 99
    finally:
        process.kill()
    assert time.monotonic() - begun > 2.5
    said = os.read(outer, 4096) if terminal else process.communicate()[0]
    os.close(outer)
    told = b"the login shell of worker did not begin id within 3 s; its profile may hang | its profile"
    assert told in said.replace(b"\r\n", b"")


@pytest.mark.usefixtures("own_profile")
def test_ctrl_c_ends_what_waits_for_a_profile(machine: Machine, server: Server) -> None:
    profile(machine, "touch /tmp/waits; exec sleep 1000")
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command(server, "worker", "id")],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        cwd=ROOT,
    )
    os.close(inner)
    deadline = time.monotonic() + 20
    while machine().get("/tmp/waits") is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    begun = time.monotonic()
    os.write(outer, b"\x03")
    seen = b""
    while time.monotonic() < deadline:
        try:
            block = os.read(outer, 4096)
        except OSError:
            break
        seen += block
        if not block:
            break
    process.wait(10)
    os.close(outer)
    assert time.monotonic() - begun < 2
    assert b"KeyboardInterrupt" in seen


@pytest.mark.usefixtures("own_profile")
@pytest.mark.parametrize("setting", ["true", "stty -onlcr", "stty raw"])
def test_a_terminal(machine: Machine, server: Server, setting: str) -> None:
    profile(machine, f"{setting}; stty icrnl icanon")  # so that a typed line ends
    outer, inner = pty.openpty()
    argv = command(server, "worker", "sh", "-c", "tty; stty size; read line; echo got:$line; exit 7")
    process = subprocess.Popen(argv, stdin=inner, stdout=inner, stderr=inner, cwd=ROOT, start_new_session=True)
    os.close(inner)
    seen, typed, deadline = b"", False, time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            block = os.read(outer, 4096)
        except OSError:
            break
        if not block:
            break
        seen += block
        if not typed and b"/dev/pts/" in seen:
            os.write(outer, b"word\r")
            typed = True
    os.close(outer)
    assert process.wait(10) == 7
    assert b"got:word" in seen
    assert b"Willkommen" not in seen
