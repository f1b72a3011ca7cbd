"""One node by name; a command on it; its logs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pytest

from swarmctl.backends.base import Host
from swarmctl.cli import run
from swarmctl.errors import ExitCode, UsageError
from swarmctl.operations import exec as exec_
from swarmctl.operations import logs
from swarmctl.operations.nodes import find, natural
from tests.status.world import declared

NAMES = "control-0, control-1, workers-0, workers-1, workers-2"


class Terminal:
    """A host with a terminal and logs that grow."""

    def __init__(self, rounds: Sequence[Sequence[tuple[str, str]]] = ()) -> None:
        self.ran: list[list[str]] = []
        self.rounds = list(rounds)

    def exec(self, argv: Sequence[str]) -> int:
        self.ran.append(list(argv))
        return 42

    def logs(self, *, tail: int = 200) -> Iterator[tuple[str, str]]:
        lines = self.rounds.pop(0) if len(self.rounds) > 1 else self.rounds[0]
        by_log: dict[str, list[str]] = {}
        for name, line in lines:
            by_log.setdefault(name, []).append(line)
        return ((name, line) for name, kept in by_log.items() for line in (kept[-tail:] if tail else []))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """The stack of the tests' world, whose machines all are one `Terminal`."""
    host = Terminal([[("wireguard", "up\x1b[2J"), ("wireguard", "handshake")]])
    monkeypatch.setattr(exec_, "declared", lambda folder, emit, **more: declared())
    monkeypatch.setattr(logs, "declared", lambda folder, emit, **more: declared())
    monkeypatch.setattr(exec_, "open_host", lambda wanted: cast(Host, host))
    return host


def test_an_unknown_node_is_named_with_the_nearest_and_all_others() -> None:
    with pytest.raises(UsageError) as error:
        find(declared().machines, "worker-1")
    assert error.value.message == "no such node: 'worker-1'"
    assert error.value.hint == f"did you mean 'workers-1'? nodes: {NAMES}"
    assert error.value.exit_code is ExitCode.USAGE


def test_without_machines_it_says_so() -> None:
    with pytest.raises(UsageError, match="no such node") as error:
        find((), "a")
    assert error.value.hint == "nodes: none; the stack declares no machines"


def test_names_sort_as_people_count() -> None:
    assert sorted(["w-10", "w-2", "a", "w", "w-x"], key=natural) == ["a", "w", "w-2", "w-10", "w-x"]


def test_exec_passes_the_command_and_its_status_on(terminal: Terminal, tmp_path: Path) -> None:
    code = run(["-C", str(tmp_path), "exec", "workers-0", "--", "sh", "-c", "exit 42", "--tail", "-C", "x"])
    assert code == 42
    assert terminal.ran == [["sh", "-c", "exit 42", "--tail", "-C", "x"]]


def test_exec_keeps_dashes_that_belong_to_the_command(terminal: Terminal, tmp_path: Path) -> None:
    assert run(["-C", str(tmp_path), "exec", "workers-0", "git", "log", "--", "file"]) == 42
    assert terminal.ran == [["git", "log", "--", "file"]]


@pytest.mark.parametrize("args", [["exec"], ["exec", "workers-0"], ["exec", "workers-0", "--"]])
def test_exec_without_a_command_is_a_usage_error(
    args: list[str], terminal: Terminal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["-C", str(tmp_path), *args]) == ExitCode.USAGE
    assert terminal.ran == []


def test_exec_on_an_unknown_node_runs_nothing(
    terminal: Terminal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["-C", str(tmp_path), "exec", "wrokers-0", "--", "true"]) == ExitCode.USAGE
    assert terminal.ran == []
    told = capsys.readouterr().err
    assert "no such node: 'wrokers-0'" in told
    assert "workers-0" in told


def test_logs_are_printed_with_their_name_and_without_what_a_terminal_obeys(
    terminal: Terminal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["-C", str(tmp_path), "logs", "workers-0"]) == 0
    assert capsys.readouterr().out == "wireguard up\\x1b[2J\nwireguard handshake\n"


def test_logs_of_an_unknown_node_is_a_usage_error(terminal: Terminal, tmp_path: Path) -> None:
    assert run(["-C", str(tmp_path), "logs", "nobody"]) == ExitCode.USAGE


def test_tail_bounds_every_log(terminal: Terminal) -> None:
    terminal.rounds = [[("a", "1"), ("a", "2"), ("b", "3")]]
    assert list(logs.read_logs(Path(), "workers-0", tail=1, follow=False, emit=print)) == [("a", "2"), ("b", "3")]


def test_following_prints_the_tail_and_then_only_what_is_new(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(logs.time, "sleep", slept.append)
    first = [("a", "1"), ("a", "2")]
    terminal.rounds = [first, [*first, ("a", "2"), ("b", "new")], [*first, ("a", "2"), ("b", "new"), ("a", "3")]]
    followed = logs.read_logs(Path(), "workers-0", tail=1, follow=True, emit=print)
    assert list(islice(followed, 4)) == [("a", "2"), ("a", "2"), ("b", "new"), ("a", "3")]
    assert slept == [logs.INTERVAL, logs.INTERVAL]


@pytest.mark.parametrize(
    ("before", "after", "new"),
    [
        ([], ["a"], ["a"]),
        (["a", "b"], ["a", "b"], []),
        (["a", "b"], ["b", "c"], ["c"]),
        (["a", "a"], ["a", "a", "a"], ["a"]),
        (["a", "b"], ["x"], ["x"]),
        (["a"], [], []),
    ],
)
def test_what_a_log_has_got_more_of(before: list[str], after: list[str], new: list[str]) -> None:
    assert logs.added(before, after) == new


def test_lines_that_came_too_fast_are_said_to_be_lost() -> None:
    before, after = ([f"{word} {number}" for number in range(logs.WINDOW)] for word in ("old", "new"))
    assert logs.added(before, after)[0] == "(lines were lost: the log grows faster than it is read)"


def test_node_names_complete_from_the_declarations(monkeypatch: pytest.MonkeyPatch) -> None:
    import click

    from swarmctl.cli import cli
    from swarmctl.cli.context import complete_nodes
    from swarmctl.operations import nodes

    monkeypatch.setattr(nodes, "declared", lambda folder, emit, **more: declared())
    context = click.Context(cli)
    argument: Any = None
    assert complete_nodes(context, argument, "work") == ["workers-0", "workers-1", "workers-2"]
