"""A saved plan is applied exactly as it was reviewed, or refused with the reason and nothing touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from swarmctl import cli
from swarmctl.plans.model import Action
from tests.operations.world import Engine, Recorded, Snapshot, World, change

Out = pytest.CaptureFixture[str]


@pytest.fixture
def saved(world: World) -> Path:
    """A plan of the world as it is."""
    assert cli.run(["plan", "--out", "plan.json"]) == 0
    return Path("plan.json").resolve()


def refused(capsys: Out, world: World) -> str:
    """Apply the plan, expect it to be refused, and return the words."""
    capsys.readouterr()
    assert cli.run(["apply", "--yes", "--plan", "plan.json"]) == 5
    assert world.done == []
    return capsys.readouterr().err


def test_a_plan_that_still_fits_is_applied(saved: Path, world: World) -> None:
    assert cli.run(["apply", "--yes", "--plan", "plan.json"]) == 0
    assert world.done == ["update"]


def test_the_file_is_a_plan_document_with_what_it_was_made_from(saved: Path) -> None:
    document = json.loads(saved.read_text())
    assert document["schema"] == "swarmctl/plan/v1"
    assert document["summary"]["update"] == 1
    assert document["preconditions"] == {
        "declarations": "d0",
        "graph": "g0",
        "state": "s0",
        "versions": {"pulumi": "3.259.0", "swarmctl": "0.1.0"},
    }


def test_equal_plans_are_equal_files_but_for_the_time(saved: Path) -> None:
    first = json.loads(saved.read_text())
    cli.run(["plan", "--out", "other.json"])
    second = json.loads(Path("other.json").read_text())
    assert first.pop("createdAt")
    assert second.pop("createdAt")
    assert first == second
    assert str(saved.parent) not in saved.read_text()


def test_other_declarations_are_refused(saved: Path, world: World, capsys: Out) -> None:
    world.loaded.digest = "d1"
    assert "declarations: the files say something else" in refused(capsys, world)


def test_another_meaning_of_the_same_files_is_refused(saved: Path, world: World, capsys: Out) -> None:
    world.graph_digest = "g1"
    assert "graph:" in refused(capsys, world)


def test_a_state_that_has_moved_is_refused(saved: Path, world: World, capsys: Out) -> None:
    world.state = Snapshot({"nodepool/workers[0]": Recorded("swarm:nodepool:Machine", {"node": "workers-0"})}, "s1")
    assert "state: something was applied or destroyed" in refused(capsys, world)


def test_another_engine_is_refused(saved: Path, world: World, capsys: Out) -> None:
    world.engine = Engine("3.260.0")
    assert "it was made with pulumi 3.259.0, this is 3.260.0" in refused(capsys, world)


def test_every_reason_is_named_at_once(saved: Path, world: World, capsys: Out) -> None:
    world.engine, world.loaded.digest = Engine("4.0.0"), "d1"
    words = refused(capsys, world)
    assert "versions:" in words
    assert "declarations:" in words


def test_a_world_that_has_moved_is_refused_before_anything_is_touched(saved: Path, world: World, capsys: Out) -> None:
    world.changes = (*world.changes, change("securitypolicy/baseline[workers-0]", Action.REPLACE, "workers-0"))
    words = refused(capsys, world)
    assert "securitypolicy/baseline[workers-0]: unchanged in the plan, replace" in words


def test_a_plan_of_another_stack_is_refused(saved: Path, world: World, capsys: Out) -> None:
    world.loaded.identity = "prod-77"
    assert "for the stack lab-5b2a9a52, not for prod-77" in refused(capsys, world)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"action": "update"', '"action": "delete"'),
        ('"after": 1420', '"after": 1421'),
        ('"declarations": "d0"', '"declarations": "d1"'),
        ('"same": 3', '"same": 4'),
        ('"stack": "lab-5b2a9a52"', '"stack": "lab-5b2a9a53"'),
    ],
)
def test_a_plan_changed_by_hand_is_refused(saved: Path, world: World, capsys: Out, before: str, after: str) -> None:
    text = saved.read_text()
    assert before in text
    saved.write_text(text.replace(before, after, 1))
    assert "changed after it was saved" in refused(capsys, world)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is not JSON"),
        (b"\xff\xfe\x00", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[]", "is not a saved plan"),
        (b"{}", "has the schema None"),
        (b'{"schema": "swarmctl/plan/v9"}', "has the schema 'swarmctl/plan/v9'"),
    ],
)
def test_what_is_no_plan_is_refused(world: World, capsys: Out, content: bytes, reason: str) -> None:
    Path("plan.json").write_bytes(content)
    assert reason in refused(capsys, world)


def test_the_json_that_plan_prints_is_no_saved_plan(world: World, capsys: Out) -> None:
    cli.run(["plan", "--format", "json"])
    Path("plan.json").write_text(capsys.readouterr().out)
    assert "digest" in refused(capsys, world)


def test_a_plan_that_cannot_be_written_is_a_clear_error(world: World, capsys: Out) -> None:
    assert cli.run(["plan", "--out", "nowhere/plan.json"]) == 1
    assert "cannot write the plan to nowhere/plan.json: No such file or directory" in capsys.readouterr().err
