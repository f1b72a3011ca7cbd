"""`swarmctl lock`: who works on the stack, and releasing its lease."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from swarmctl import cli
from swarmctl.errors import ExitCode
from swarmctl.operations import stack
from swarmctl.state import holder, lease, lease_files
from swarmctl.state.lease_rules import Party, Record


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    made = tmp_path / "lab"
    assert cli.run(["init", str(made)]) == 0
    return made


def test_a_stack_that_nobody_works_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["-C", str(folder), "lock", "show"]) == 0
    assert "No run has ever worked on this stack." in capsys.readouterr().out
    assert cli.run(["-C", str(folder), "lock", "release"]) == 0
    assert "nothing to release" in capsys.readouterr().out


def test_a_run_that_works_is_shown_and_not_released(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = replace(holder.me(), command="swarmctl apply", run="https://ci.example/7")
    _, store = stack.load(folder)
    with lease.acquire(store.folder, mine) as held:
        capsys.readouterr()
        assert cli.run(["-C", str(folder), "lock", "show", "--format", "json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert (document["held"], document["token"], document["life"]) == (True, held.token, "working")
        assert document["holder"]["run"] == "https://ci.example/7"
        assert cli.run(["-C", str(folder), "lock", "release"]) == ExitCode.LOCK_HELD
        told = capsys.readouterr().err
        assert "`swarmctl apply`" in told
        assert "--force" in told
        held.check()


def test_a_run_that_is_gone_is_released(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, store = stack.load(folder)
    gone = replace(holder.me(), start=1)  # an earlier process with our id
    store.folder.mkdir(parents=True)
    lease_files.write(store.folder, Record(7, Party("x", gone)), sync=True)
    capsys.readouterr()
    assert cli.run(["-C", str(folder), "lock", "show"]) == 0
    assert "is gone; the next run takes its place at once" in capsys.readouterr().out
    assert cli.run(["-C", str(folder), "lock", "release"]) == 0
    assert "Released the lease of" in capsys.readouterr().out
    found = lease_files.read(store.folder)
    assert found is not None
    assert found.owner is None
    assert found.token > 7
