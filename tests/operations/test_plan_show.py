"""`plan show`: a saved plan looked at again, with or without what it was made from, and nothing else touched."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from swarmctl import cli
from swarmctl.operations import stack as stacks
from swarmctl.plans import file, signing
from swarmctl.plans.model import Preconditions
from swarmctl.state import destroyed
from tests.operations.world import World
from tests.plans.sealing import laid_out
from tests.reports.plans import EVERYTHING

Out = pytest.CaptureFixture[str]


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saved plan in a folder with nothing else; whoever asks for the engine or the store fails."""

    def never(*args: Any, **options: Any) -> Any:
        raise AssertionError("asked for")

    for name in ("obtain_engine", "open_session", "compile_stack"):
        monkeypatch.setattr(stacks, name, never)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    sign = signing.with_local_key(tmp_path / "key")
    file.save(tmp_path / "plan.json", EVERYTHING, Preconditions("d", "g", "s", {"swarmctl": "0.1.0"}), sign)
    return tmp_path / "plan.json"


def show(*args: str) -> int:
    return cli.run(["plan", "show", "plan.json", *args])


def test_it_is_shown_as_plan_shows_it(world: World, capsys: Out) -> None:
    assert cli.run(["plan", "--out", "plan.json"]) == 0
    planned = capsys.readouterr().out
    assert show() == 0
    told = capsys.readouterr()
    assert told.out.endswith(planned)
    assert told.out.startswith("Saved plan ")
    assert "makes tampering evident and nothing more" in " ".join(told.out.split())
    assert "would be refused" not in told.out
    assert told.err == ""
    assert world.done == []


def test_in_json_it_is_the_file_and_what_can_be_said_of_it(world: World, capsys: Out) -> None:
    cli.run(["plan", "--out", "plan.json"])
    capsys.readouterr()
    assert show("--format", "json") == 0
    document = json.loads(capsys.readouterr().out)
    verified = document.pop("verified")
    assert document == json.loads(Path("plan.json").read_text())
    assert verified["signedBy"] is None
    assert verified["problems"] == []
    assert verified["fingerprint"].startswith("SHA256:")


def test_without_declarations_it_says_what_it_could_not_look_at(alone: Path, capsys: Out) -> None:
    assert show() == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "signed with the key SHA256:" in told
    assert "not looked at: whose key that is, and what is declared now" in told
    assert "not looked at: whether state, versions and world are as they were" in told
    assert "Plan: 2 to create" in told
    assert not Path("data").exists()


def test_in_the_folder_of_another_stack_it_says_so(world: World, capsys: Out) -> None:
    cli.run(["plan", "--out", "plan.json"])
    world.loaded.identity = "prod-77"
    capsys.readouterr()
    assert show() == 0
    assert "here is the stack prod-77" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("made", "reason"), [(-timedelta(days=2), "clock: it expired at"), (timedelta(days=2), "one clock is wrong")]
)
def test_a_plan_that_is_good_no_more_or_not_yet_is_shown_with_the_reason(
    alone: Path, capsys: Out, made: timedelta, reason: str
) -> None:
    sign = signing.with_local_key(alone.parent / "key")
    file.save(alone, EVERYTHING, Preconditions("d", "g", "s", {}), sign, now=datetime.now(UTC) + made)
    assert show() == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "would be refused: clock: it" in told
    assert reason in told


def test_declarations_that_have_moved_are_told(world: World, capsys: Out) -> None:
    cli.run(["plan", "--out", "plan.json"])
    world.loaded.digest = "d9"
    capsys.readouterr()
    assert show() == 0
    assert "would be refused: declarations: the files say something else" in " ".join(capsys.readouterr().out.split())


def test_a_stack_that_was_destroyed_since_is_told(world: World, capsys: Out) -> None:
    cli.run(["plan", "--out", "plan.json"])
    destroyed.note(world.folder)
    capsys.readouterr()
    assert show() == 0
    assert "would be refused: destroyed: the stack was destroyed at" in " ".join(capsys.readouterr().out.split())
    assert cli.run(["apply", "--yes", "--plan", "plan.json"]) == 5
    assert world.done == []


def test_who_signed_it_is_named_and_who_should_not_have(world: World, tmp_path: Path, capsys: Out) -> None:
    signing.make_local_key(tmp_path / "ci")
    cli.run(["plan", "--out", "plan.json", "--sign-with", str(tmp_path / "ci")])
    assert "will refuse it as it is: signature: " in capsys.readouterr().err
    ci = signing.Signer("ci", signing.local_public_key(tmp_path / "ci"))
    for signers, words in (
        ((ci,), "signed by ci (SHA256:"),
        ((replace(ci, name="deploy"),), "signed by deploy"),
        ((), "would be refused: signature: the plan is signed by SHA256:"),
    ):
        world.loaded.signers = signers
        assert show() == 0
        assert words in " ".join(capsys.readouterr().out.split())


def test_a_file_that_was_changed_is_not_shown(alone: Path, capsys: Out) -> None:
    document = json.loads(alone.read_text())
    alone.write_text(laid_out({**document, "notes": ["all is well"]}))
    assert show() == 5
    told = capsys.readouterr()
    assert told.out == ""
    assert "was changed after it was saved" in told.err


def test_the_help_of_plan_lists_it(capsys: Out) -> None:
    assert cli.run(["plan", "--help"]) == 0
    told = capsys.readouterr().out
    assert "show FILE" in told
    assert "--sign-with" in told
    assert "SWARMCTL_SIGNING_KEY" in told


@pytest.mark.parametrize(
    "args",
    [
        ["plan", "--out", "x", "show", "plan.json"],
        ["plan", "--target", "a/b", "show", "plan.json"],
        ["plan", "--expires", "1h"],
        ["plan", "--sign-with", "plan.json"],
        ["plan", "--out", "x", "--expires", "0"],
        ["plan", "--out", "x", "--expires", "soon"],
        ["plan", "--out", "x", "--expires", "31d"],
        ["plan", "shwo", "plan.json"],
        ["plan", "show", "missing.json"],
    ],
)
def test_options_that_would_do_nothing_are_mistakes(alone: Path, args: list[str]) -> None:
    assert cli.run(args) == 2
    assert not Path("x").exists()


def test_the_variable_names_the_key_and_plan_without_out_needs_none(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.setenv("SWARMCTL_SIGNING_KEY", str(tmp_path / "ci"))
    assert cli.run(["plan"]) == 0
    assert cli.run(["plan", "--out", "plan.json"]) == 1
    assert "cannot read the signing key" in capsys.readouterr().err
    signing.make_local_key(tmp_path / "ci")
    world.loaded.signers = (signing.Signer("ci", signing.local_public_key(tmp_path / "ci")),)
    assert cli.run(["plan", "--out", "plan.json"]) == 0
    assert "Saved: plan.json, signed by ci (SHA256:" in capsys.readouterr().err
    assert cli.run(["apply", "--yes", "--plan", "plan.json"]) == 0
    assert world.done[0] == "update"


def test_it_expires_when_it_was_asked_to(world: World) -> None:
    cli.run(["plan", "--out", "plan.json", "--expires", "90m"])
    saved = file.load(Path("plan.json"))
    assert saved.expires - saved.created == timedelta(minutes=90)


def test_the_engine_is_not_even_imported(alone: Path) -> None:
    code = (
        "import sys; from swarmctl import cli; code = cli.run(['plan', 'show', 'plan.json']); "
        "heavy = [it for it in ('grpc', 'pulumi', 'swarmctl.engine') if it in sys.modules]; sys.exit(f'{code} {heavy}')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stderr.strip().splitlines()[-1] == "0 []"
