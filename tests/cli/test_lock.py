"""`swarmctl lock`: who works on the stack, and releasing its lease."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from swarmctl import cli, paths
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


def test_the_next_token_is_made_greater_by_force_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, store = stack.load(folder)
    assert cli.run(["-C", str(folder), "lock", "release", "--above", "7"]) == ExitCode.USAGE
    assert not store.folder.exists()
    capsys.readouterr()
    assert cli.run(["-C", str(folder), "lock", "release", "--force", "--above", "2000000000000"]) == 0
    told = capsys.readouterr().out
    assert "The next run's token is greater than 2000000000000." in told
    assert "kept out" in told
    assert cli.run(["-C", str(folder), "lock", "release", "--force", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["raisedTo"] is None


def test_by_force_the_next_token_is_greater_than_what_the_machines_have_seen(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, store = stack.load(folder)
    node = paths.lab_dir(store.identity) / "nodes" / "workers-0"
    node.mkdir(parents=True)
    (node / "owner").write_text(f"{store.identity}\n2000000000000\nme\n")
    (node.parent.parent / "owner").write_text(f"{store.identity}\n1999999999999\nme\n")
    other = node.with_name("workers-1")
    other.mkdir()
    (other / "owner").write_text("another\n3000000000000\nme\n")
    assert stack.greatest_token(store.identity) == 2000000000000

    assert cli.run(["-C", str(folder), "lock", "release", "--force"]) == 0
    assert "greater than 2000000000000." in capsys.readouterr().out
    with stack.lease_of(store, 0, lambda event: None) as held:
        assert held.token == 2000000000001
    (store.folder / "lease.json").unlink()
    with stack.lease_of(store, 0, lambda event: None) as held:
        assert held.token == 2000000000001, "a store that was lost asks them, too"
