"""Commands that have the caller's own streams, and his terminal when there is one."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .servers import Server

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import json, sys
from swarmctl.backends.ssh.host import SshHost
from swarmctl.errors import SwarmError
try:
    sys.exit(SshHost(json.loads(sys.argv[1])).exec(sys.argv[2:]))
except SwarmError as error:
    print(error.message)
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


def test_a_terminal(server: Server) -> None:
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
