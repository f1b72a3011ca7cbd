"""Ctrl-C, a closed terminal, a provider that hangs, a provider or an engine that talks nonsense."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.faults.stack import Stack
from tests.faults.test_kills import changed
from tests.integration.watching import alive

pytestmark = [pytest.mark.integration, pytest.mark.slow]
THINGS = 30
MANY = 120
"""More than the engine has in flight at two moments: a stop always leaves some that were not begun."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_finishes_what_is_in_flight_and_saves(stack: Stack, number: signal.Signals) -> None:
    stack.declare(web={"count": MANY, "slow": 300})
    run = stack.watch("apply", "--yes")
    run.until(changed(1))
    run.process.send_signal(number)
    assert run.end() == 130, run.out + run.err
    made = stack.world.things()
    assert 0 < len(made) < MANY
    assert stack.processes() == {}
    assert {f"costless/{address}" for address in made} == recorded(stack)
    stack("apply", "--yes")
    stack.assert_converged()


def recorded(stack: Stack) -> set[str]:
    """Addresses in the published state."""
    resources = stack.state()["checkpoint"]["checkpoint"]["latest"]["resources"]
    return {it["urn"].rpartition("::")[2] for it in resources if it.get("custom") and "costless" in it["type"]}


def test_a_second_ctrl_c_ends_at_once_and_the_journal_has_what_was_done(stack: Stack) -> None:
    stack.declare(web={"count": THINGS, "slow": 15000})
    run = stack.watch("apply", "--yes")
    run.until(lambda run: list(stack.store.glob("runs/*/journal")) and run.find("provider"))
    run.until(lambda run: any(it.stat().st_size for it in stack.store.glob("runs/*/journal")))
    run.process.send_signal(signal.SIGINT)
    run.until(lambda run: "once more" in run.err)
    pressed = time.monotonic()
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 130, run.out + run.err
    assert time.monotonic() - pressed < 10, "not even the steps in flight are waited for"
    stack.quiet()
    stack.declare(web={"count": THINGS})
    stack("apply", "--yes")
    stack.assert_converged()


def test_ctrl_c_in_the_preview_changes_nothing(stack: Stack) -> None:
    stack.declare(web={"count": THINGS})
    run = stack.watch("apply", "--yes")
    run.until(lambda run: run.find("engine"))
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 130, run.out + run.err
    assert stack.world.things() == {}
    stack("apply", "--yes")
    stack.assert_converged()


def test_a_provider_that_hangs_is_ended_and_named(stack: Stack) -> None:
    stack.declare(web={"count": 4, "slow": 1000, "timeout": 3})
    run = stack.watch("apply", "--yes")
    run.until(lambda run: any(it.stat().st_size for it in stack.store.glob("runs/*/journal")))
    provider = run.find("provider")
    os.kill(provider, signal.SIGSTOP)
    assert run.end(90) in (1, 7), run.out + run.err
    assert "costless/web[" in run.err
    assert "did not answer within" in run.err
    assert not alive(provider)
    stack.declare(web={"count": 4})
    stack("apply", "--yes")
    stack.assert_converged()


ENGINES = {
    "it prints bytes before it works": 'head -c 200000 /dev/urandom; head -c 200000 /dev/urandom >&2; exec {real} "$@"',
    "it prints bytes and ends well": "head -c 200000 /dev/urandom; head -c 200000 /dev/urandom >&2; exit 0",
    "it prints bytes and fails": "head -c 200000 /dev/urandom; head -c 200000 /dev/urandom >&2; exit 3",
    "it talks to our event log in bytes": '{python} {babble} "$@"; exec {real} "$@"',
    "it dies of a signal": "kill -SEGV $$",
}
BABBLE = """
import os, re, socket, sys
(address,) = [it.partition("=")[2] for it in sys.argv if it.startswith("--client=")]
host, _, port = address.rpartition(":")
with socket.create_connection((host, int(port))) as talk:
    talk.sendall(os.urandom(100000))
"""


@pytest.mark.parametrize("script", ENGINES.values(), ids=ENGINES)
def test_an_engine_that_talks_nonsense_does_no_harm(stack: Stack, tmp_path: Path, script: str) -> None:
    stack.declare(web={"count": 3})
    real = stack.env["SWARMCTL_ENGINE"]
    (tmp_path / "babble.py").write_text(BABBLE)
    engine = tmp_path / "pulumi"
    noise = "head -c 200000 /dev/urandom; head -c 200000 /dev/urandom >&2"
    words = {"bytes": noise, "real": shlex.quote(real), "python": sys.executable, "babble": tmp_path / "babble.py"}
    engine.write_text(f'#!/bin/sh\n[ "$1" = version ] && exec {real} version\n{script.format(**words)} 2>/dev/null\n')
    engine.chmod(0o755)
    run = stack("apply", "--yes", env={"SWARMCTL_ENGINE": str(engine)}, code=None)
    if "exec" in script:
        assert run.code == 0, run.out + run.err
    else:
        assert run.code == 1, run.out + run.err
        assert "error: the Pulumi engine" in run.err
        assert stack.world.things() == {}
    assert "\ufffd" not in run.out
    stack("apply", "--yes")
    stack.assert_converged()


PROVIDERS = {
    "it ends at once": "raise SystemExit(3)",
    "it answers in bytes": """
import os, socket
port = int(os.environ["SWARMCTL_PROVIDER_PORT"])
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
server.bind(("127.0.0.1", port))
server.listen()
while True:
    talk, _ = server.accept()
    with talk:
        talk.sendall(os.urandom(10000))
""",
}


@pytest.mark.parametrize("script", PROVIDERS.values(), ids=PROVIDERS)
def test_a_provider_that_talks_nonsense_does_no_harm(stack: Stack, tmp_path: Path, script: str) -> None:
    stack.declare(web={"count": 3})
    provider = tmp_path / "provider.py"
    provider.write_text(script)
    run = stack("apply", "--yes", env={"COSTLESS_PROVIDER": str(provider)}, code=None, timeout=200)
    assert run.code == 1, run.out + run.err
    assert "error:" in run.err
    assert stack.processes() == {}
    stack("apply", "--yes")
    stack.assert_converged()
