"""How a run that cannot go on is told."""

from __future__ import annotations

import io
import sys

import pytest

from swarmctl.cli.context import tell
from swarmctl.diagnostics import Code, Diagnostic, Position, Range
from swarmctl.errors import InvalidDeclaration, SwarmError
from swarmctl.kinds import secrets
from swarmctl.plans.events import Note
from swarmctl.reports.failure import show_bug, show_error, show_system_error
from swarmctl.reports.logfile import without_secrets
from swarmctl.reports.progress import Progress

Out = pytest.CaptureFixture[str]


def test_an_error_has_its_reason_its_details_and_its_mend(capsys: Out) -> None:
    show_error(SwarmError("no engine", "run `swarmctl engine install`", details=["PATH: none", "cache: \x1b[2J"]))
    assert capsys.readouterr().err == (
        "error: no engine\n  PATH: none\n  cache: \\x1b[2J\nhelp: run `swarmctl engine install`\n"
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_in_a_terminal_no_word_of_an_error_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    said = [
        "1 of 37 steps failed, and 4 were not begun: one more apply goes on from there",
        "the rollout of the NodePool metal was stopped: n3 failed, and no node may fail (maxFailures)",
        "n3: the hook `drain` failed; nothing was begun, and it is as declared again",
        "mend it there (`swarmctl exec n3 -- …`), and run `swarmctl apply` again after that",
    ]
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    show_error(SwarmError(said[0], said[3], details=said[1:3]))
    shown = stream.getvalue()
    assert max(map(len, shown.splitlines())) <= 60
    assert len(shown.splitlines()) >= 2 * len(said), "each is longer than the terminal is wide"
    assert shown.split() == f"error: {said[0]} {said[1]} {said[2]} help: {said[3]}".split()


def test_in_a_terminal_no_word_of_a_note_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    note = Note("rollout of metal: 4 nodes, of which 1 first, then 1 at a time; stopped when any of them fails", True)
    monkeypatch.setattr(sys, "stderr", beside := Terminal())
    tell(note)
    with Progress(progress := Terminal()) as shown:
        shown.emit(note)
    for text in (beside.getvalue(), progress.getvalue()):
        assert [len(line) <= 60 for line in text.splitlines()] == [True, True]
        assert text.split() == f"warning: {note.text}".split()


def test_invalid_declarations_are_shown_with_their_place(capsys: Out) -> None:
    code = Code("SW2104", "overlapping allowed IPs", "")
    place = Range("mesh.yaml", Position(1, 7), Position(1, 10))
    found = Diagnostic(code, "overlapping allowed IPs", place, label="also there", help="give each its own")
    show_error(InvalidDeclaration([found], {"mesh.yaml": "cidr: abc\n"}))
    shown = capsys.readouterr().err
    assert "error[SW2104]: overlapping allowed IPs" in shown
    assert "mesh.yaml:1:7" in shown
    assert "^^^ also there" in shown


def test_a_defect_names_its_place_and_asks_for_a_log(capsys: Out) -> None:
    try:
        raise RuntimeError("x\x07")
    except RuntimeError as error:
        show_bug(error, version="0.1.0", debug=False)
    shown = capsys.readouterr().err
    assert "RuntimeError: x\\x07 (test_a_defect_names_its_place_and_asks_for_a_log, line" in shown
    assert "--debug" in shown


def test_what_the_system_refuses_is_named(capsys: Out) -> None:
    show_system_error(OSError(28, "No space left on device", "/data/state"))
    assert capsys.readouterr().err.startswith("error: the system refused: /data/state: No space left on device\n")


def test_a_defect_and_a_log_quote_no_declared_secret(capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_known", {"env:TOKEN": "hunter2-canary"})
    show_bug(ValueError("invalid literal: 'hunter2-canary'"), version="1.0.0", debug=True)
    shown = capsys.readouterr().err
    assert "hunter2" not in shown
    assert "ValueError" in shown
    assert "hunter2" not in without_secrets("Authorization: hunter2-canary")
