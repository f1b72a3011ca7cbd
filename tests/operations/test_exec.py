"""`exec` with commands that nobody can mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from swarmctl.graph.model import Address, Graph, Machine
from swarmctl.operations import exec as execs
from swarmctl.operations.nodes import Declared
from swarmctl.plans.events import Event, Note


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Graph("demo")
    graph.export(Machine("a", Address("nodepool", "p", "a"), "p", "c", "r", {}, (), {"backend": "ssh"}))
    monkeypatch.setattr(execs, "declared", lambda folder, emit, **more: Declared.of("demo", None, graph))  # type: ignore[arg-type]


class Host:
    def __init__(self, status: int) -> None:
        self._status = status

    def exec(self, argv: list[str]) -> int:
        return self._status


@pytest.mark.parametrize(
    ("command", "status", "told"),
    [
        (["ls -l /tmp"], 127, True),
        (["ls", "-l /tmp"], 127, False),
        (["nothing"], 127, False),
        (["ls -l /tmp"], 0, False),  # there may be such a program
    ],
)
def test_a_command_in_quotes_is_told_to_be_one_word(stack: None, command: list[str], status: int, told: bool) -> None:
    said: list[Event] = []
    open_: Any = lambda machine: Host(status)  # noqa: E731
    assert execs.execute(Path(), "a", command, emit=said.append, open_=open_) == status
    assert [event for event in said if isinstance(event, Note) and "given as one word" in event.text] == said
    assert bool(said) is told
