"""Renaming a Stack under what was applied is refused, with both names and the mend; a new stack is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from swarmctl import cli, paths
from swarmctl.state.store import Store

UID = "5b2a9a52-7d0c-4c6e-9a0e-6f1f4f0a9c11"
Out = pytest.CaptureFixture[str]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A valid stack with a uid, called `new`."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("SWARMCTL_ENGINE", str(tmp_path / "none"))
    declared = tmp_path / "stack"
    monkeypatch.chdir(tmp_path)
    assert cli.run(["init", "stack", "--name", "new"]) == 0
    file = declared_in(declared)
    file.write_text(re.sub(r"uid: \S+", f"uid: {UID}", file.read_text()))
    monkeypatch.chdir(declared)
    assert cli.run(["validate"]) == 0
    return declared


def declared_in(lab: Path) -> Path:
    """The file that declares the Stack."""
    return next(file for file in lab.glob("*.yaml") if "kind: Stack" in file.read_text())


def publish(store: Store) -> None:
    with store.lease() as lease:
        store.publish(lease, 0, {"version": 3, "checkpoint": {}}, applied=None)


def applied(name: str) -> Path:
    """Leave what an apply under this name leaves."""
    store = Store(f"{name}-{UID}")
    publish(store)
    return store.folder


@pytest.mark.parametrize(
    "command",
    [["plan"], ["apply", "--yes"], ["destroy", "--yes"], ["drift"], ["status"], ["exec", "workers-0", "true"]],
)
def test_a_renamed_stack_is_refused_with_both_names_and_the_mend(lab: Path, capsys: Out, command: list[str]) -> None:
    where = applied("old")
    capsys.readouterr()
    assert cli.run(command) == 1
    words = capsys.readouterr().err
    assert "the stack new was called old when it was applied" in words
    assert str(where) in words
    assert "Name it old again" in words
    assert "swarmctl destroy" in words
    assert where.exists()


def test_a_lab_without_its_state_counts_too(lab: Path, capsys: Out) -> None:
    paths.lab_dir(f"old-{UID}").mkdir(parents=True)
    assert cli.run(["status"]) == 1
    assert "was called old" in capsys.readouterr().err


def test_the_same_name_other_uids_and_what_was_never_applied_are_no_rename(lab: Path, capsys: Out) -> None:
    paths.stack_dir(f"new-{UID}").mkdir(parents=True)
    paths.lab_dir(f"new-{UID}").mkdir(parents=True)
    paths.stack_dir(f"declined-{UID}").mkdir(parents=True)
    other = Store("old-00000000-7d0c-4c6e-9a0e-6f1f4f0a9c11")
    publish(other)
    assert cli.run(["graph"]) == 0


def test_a_store_of_its_own_is_looked_into(lab: Path, tmp_path: Path, capsys: Out) -> None:
    file = declared_in(lab)
    file.write_text(file.read_text().replace("spec:\n", f"spec:\n  state: file://{tmp_path}/states\n", 1))
    assert cli.run(["graph"]) == 0
    store = Store(f"old-{UID}", f"file://{tmp_path}/states")
    publish(store)
    capsys.readouterr()
    assert cli.run(["graph"]) == 1
    assert "was called old" in capsys.readouterr().err
