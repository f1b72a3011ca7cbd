"""A state that nobody can read: what is said of it fits what is done then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swarmctl import cli
from swarmctl.operations import stack as stacks
from swarmctl.plans.events import Event, Note
from swarmctl.state.checkpoint import StateUnreadable
from tests.operations.world import World

REMOVED = "what carries the stack's mark is removed without it"


class Damaged:
    """A store whose state is damaged; `good`: there is an earlier one."""

    def __init__(self, folder: Path, *, good: bool) -> None:
        self.folder = folder
        self._good = good

    def runs(self) -> tuple[()]:
        return ()

    def damage(self) -> StateUnreadable:
        return StateUnreadable("the recorded state is not readable", "restore it")

    def current(self) -> None:
        if not self._good:
            raise self.damage()


@pytest.mark.parametrize("good", [True, False])
def test_the_last_good_state_is_named_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: bool
) -> None:
    from swarmctl.state import unlocking

    monkeypatch.setattr(stacks, "tell_unread", lambda store, emit: None)
    monkeypatch.setattr(unlocking, "digests", lambda store: [])
    told: list[Event] = []
    stacks.look_around(Damaged(tmp_path, good=good), told.append)  # type: ignore[arg-type]
    texts = [event.text for event in told if isinstance(event, Note)]
    assert texts == (["the recorded state is not readable; the last good state is shown. restore it"] if good else [])


@pytest.fixture
def damaged(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    def unreadable() -> Any:
        raise StateUnreadable("the recorded state is not readable", "restore it")

    monkeypatch.setattr(world, "snapshot", unreadable)
    return world


def test_destroy_without_a_state_and_without_marks_says_only_why_it_refuses(
    damaged: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["destroy", "--yes"]) == 1
    told = capsys.readouterr().err
    assert "error: the recorded state is not readable" in told
    assert REMOVED not in told
    assert damaged.done == []


def test_destroy_without_a_state_says_that_it_goes_by_the_marks(
    damaged: World, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged.machines = ["workers-0"]
    assert cli.run(["destroy", "--yes"]) == 0
    assert REMOVED in capsys.readouterr().err
    assert damaged.machines == []


def test_what_is_unwise_about_secrets_is_told_when_it_is_planned(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compiled = stacks.compile_stack
    warning = "stack.yaml:3:9: the secret in the file `token` can be read by others (mode 0644)"

    def compile_stack(loaded: Any, store: Any, *, rotate: Any = (), emit: Any = None) -> stacks.Stack:
        return replace(compiled(loaded, store), warnings=(warning,))

    monkeypatch.setattr(stacks, "compile_stack", compile_stack)
    for command in (["plan"], ["apply", "--yes"]):
        assert cli.run(command) == 0
        assert f"warning: {warning}" in capsys.readouterr().err
