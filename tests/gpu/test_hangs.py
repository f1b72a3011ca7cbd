"""A card that hangs keeps the vendors' tools from answering: they are given up in time, named, and not left behind."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

import pytest

from swarmctl.kinds.node_pool.accelerators import amd, bounded, reading, turn, verify
from swarmctl.kinds.node_pool.accelerators.errors import DriverImpossible
from swarmctl.kinds.node_pool.accelerators.reading import Seen
from tests.gpu.below import Below, Driven

IGNORES_TERM = "trap : TERM\nwhile :; do sleep 0.2; done"
UNENDING = """
# As where a process in state D is waited for, which KILL does not end either.
case "$*" in *nvidia-smi* | *amd-smi*) trap '' TERM; while :; do sleep 0.2; done ;; esac
exec REAL "$@"
""".replace("REAL", shutil.which("timeout") or "timeout")
TOLD = "no answer of nvidia-smi within 20 s: a card hangs"


@pytest.fixture
def machine(tmp_path: Path) -> Below:
    made = Below(tmp_path / "n1")
    (made.root / "usr/bin/sleep").symlink_to(shutil.which("sleep") or "")
    made.put("/sys/module/nvidia/version", b"595.91.07\n")
    made.put("/sys/module/amdgpu/version", b"6.16.13\n")
    made.tool("nv-fabricmanager", "echo 'Fabric Manager version is : 595.91.07'")
    return made


def left(machine: Below) -> list[str]:
    """Processes of that machine that go on."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"ROOT={machine.root}\0".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it has ended meanwhile, or is somebody else's
    return found


def read(machine: Below, script: str) -> tuple[bytes, float]:
    """By a script that gives its tools one second instead of many."""
    hasty = re.sub(rf"bounded {bounded.SECONDS}\b", "bounded 1", script)
    assert hasty != script
    begun = time.monotonic()
    said = machine.run(["sh", "-c", hasty]).stdout
    return said, time.monotonic() - begun


def test_a_tool_that_ends_by_kill_alone_is_named_and_nothing_of_it_stays(machine: Below) -> None:
    machine.tool("nvidia-smi", IGNORES_TERM)
    said, seconds = read(machine, reading.SCRIPT)
    seen = reading.parse(said, "n1")
    assert (seen.failure, seen.hangs, seen.loaded, seen.fabric) == (TOLD, True, "595.91.07", "595.91.07")
    assert seconds < 8, "it is asked once"
    assert left(machine) == []


def test_a_tool_that_nothing_ends_is_waited_for_no_longer(machine: Below) -> None:
    machine.tool("nvidia-smi", "")
    (machine.root / "usr/bin/timeout").unlink()
    machine.tool("timeout", UNENDING)
    try:
        said, seconds = read(machine, reading.SCRIPT)
        assert left(machine), "it goes on, as where no signal ends it"
    finally:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if f"ROOT={machine.root}\0".encode() in (process / "environ").read_bytes():
                    os.kill(int(process.name), 9)
            except OSError:
                continue
    seen = reading.parse(said, "n1")
    assert (seen.failure, seen.hangs, seen.fabric) == (TOLD, True, "595.91.07")
    assert seconds < 10


def test_amd_s_tool_alike(machine: Below) -> None:
    machine.tool("amd-smi", IGNORES_TERM)
    said, seconds = read(machine, amd.SCRIPT)
    seen = amd.parse(said, "n1")
    assert (seen.failure, seen.hangs) == ("no answer of amd-smi within 20 s: a card hangs", True)
    assert seconds < 8
    assert left(machine) == []


def test_what_prints_without_end_is_given_up_as_well(machine: Below) -> None:
    machine.tool("nvidia-smi", "while :; do echo 0000000000000000000000000000000000000000; done")
    said, seconds = read(machine, reading.SCRIPT)
    seen = reading.parse(said, "n1")
    assert (seen.failure, seen.hangs) == ("it prints too much", False)
    assert len(said) < 4 << 20
    assert seconds < 20
    assert left(machine) == []


def test_a_driver_is_not_touched_while_a_card_hangs(machine: Below, monkeypatch: pytest.MonkeyPatch) -> None:
    driven = Driven(machine)
    monkeypatch.setattr(driven, "seen", lambda: Seen(loaded="595.91.07", failure=TOLD, hangs=True))
    with pytest.raises(DriverImpossible) as raised:
        turn._bring(driven, {}, None)  # type: ignore[arg-type]
    assert raised.value.message == f"n1: {TOLD}; its driver is left as it is"
    assert "restart it" in raised.value.hint
    assert driven.worked == []
    problem = verify.problem(driven, {"version": "595.91.07"})
    assert problem is not None
    assert (problem.text, problem.hint) == (TOLD, verify.HANGS)


@pytest.mark.parametrize("status", [124, 137])
def test_diagnostics_that_hang_are_no_failed_diagnostics(
    machine: Below, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    driven = Driven(machine)
    monkeypatch.setattr(
        driven, "seen", lambda: Seen(loaded="1.2", cards=(reading.Card(0, "0000:10:00.0", "1.2", False),))
    )
    monkeypatch.setattr("swarmctl.kinds.node_pool.accelerators.scripts.diagnose", lambda: f"exit {status}")
    wanted = {"vendor": "nvidia", "version": "1.2", "cards": {}, "fabricManager": {}}
    problem = verify.problem(driven, {**wanted, "services": ["nvidia-dcgm.service"]})
    assert problem is not None
    assert (problem.text.endswith("no answer in time: a card hangs"), problem.hint) == (True, verify.HANGS)
