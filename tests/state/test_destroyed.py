"""When a stack was destroyed outlives its store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from swarmctl import paths
from swarmctl.errors import SwarmError
from swarmctl.plans.saved import LONGEST
from swarmctl.state import destroyed

WHEN = datetime(2026, 3, 1, 12, 0, 0, 5000, tzinfo=UTC)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return paths.data_home()


def test_the_last_time_is_kept_per_stack_and_outside_of_its_store(data: Path) -> None:
    store = paths.stack_dir("lab-1")
    assert destroyed.last(store) is None
    destroyed.note(store, WHEN - timedelta(hours=1))
    destroyed.note(store, WHEN.astimezone(timezone(timedelta(hours=5))))
    assert destroyed.last(store) == WHEN
    assert destroyed.last(paths.stack_dir("lab-2")) is None
    assert [it for it in data.rglob("*") if it.is_file()] == [data / "destroyed" / "lab-1"]
    assert (data / "destroyed" / "lab-1").stat().st_mode & 0o777 == 0o600


def test_where_the_place_of_states_was_chosen_it_is_kept_there_for_everyone(data: Path, tmp_path: Path) -> None:
    store = tmp_path / "shared" / "lab-1"
    destroyed.note(store, WHEN)
    assert destroyed.last(store) == WHEN
    assert destroyed.last(paths.stack_dir("lab-1")) is None
    assert not data.exists()


def test_what_no_plan_can_be_older_than_is_removed_when_another_is_kept(data: Path) -> None:
    assert destroyed.KEPT > LONGEST
    for name, age in (("old", destroyed.KEPT + timedelta(seconds=1)), ("young", destroyed.KEPT)):
        destroyed.note(paths.stack_dir(name), WHEN - age)
    destroyed.note(paths.stack_dir("new"), WHEN)
    assert {it.name for it in (data / "destroyed").iterdir()} == {"young", "new"}


def test_what_keeps_it_from_being_written_is_told(data: Path) -> None:
    (data / "destroyed" / "lab-1").mkdir(parents=True)
    destroyed.note(paths.stack_dir("lab-2"), WHEN)
    with pytest.raises(SwarmError, match="lab-1, when the stack was destroyed, cannot be written: Is a directory"):
        destroyed.note(paths.stack_dir("lab-1"), WHEN)
    with pytest.raises(SwarmError, match="lab-1, when the stack was destroyed, cannot be read: Is a directory"):
        destroyed.last(paths.stack_dir("lab-1"))


@pytest.mark.parametrize("content", [b"", b"yesterday", b"\xff", b"2026-03-01T12:00:00"])
def test_one_that_says_nothing_is_no_leave_to_apply_old_plans(data: Path, content: bytes) -> None:
    destroyed.note(paths.stack_dir("lab-1"), WHEN)
    (data / "destroyed" / "lab-1").write_bytes(content)
    with pytest.raises(SwarmError, match="does not say when the stack was destroyed"):
        destroyed.last(paths.stack_dir("lab-1"))
    destroyed.note(paths.stack_dir("lab-2"), WHEN)
    destroyed.note(paths.stack_dir("lab-1"), WHEN)
    assert destroyed.last(paths.stack_dir("lab-1")) == WHEN
