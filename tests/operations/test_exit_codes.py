"""Planning, applying, destroying and reading drift, run as a user would; every published exit code they end with."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from swarmctl import cli
from swarmctl.cli.streams import Output
from swarmctl.diagnostics import Code, Diagnostic
from swarmctl.errors import InvalidDeclaration, NoDocuments, SwarmError, WorldUnreadable
from swarmctl.plans.model import Action, DriftedProperty
from tests.operations.world import Failure, World, change

Type = Callable[[str], None]
Out = pytest.CaptureFixture[str]


def test_plan_shows_what_would_change_and_touches_nothing(world: World, capsys: Out) -> None:
    assert cli.run(["plan"]) == 0
    shown = capsys.readouterr()
    assert "~ update  mesh/backbone[workers-0/peers]" in shown.out
    assert "updated" not in shown.err, "a preview has updated nothing"
    assert world.done == []


def test_plan_tells_pipelines_that_changes_are_pending(world: World) -> None:
    assert cli.run(["plan", "--detailed-exitcode"]) == 20
    world.changes = ()
    assert cli.run(["plan", "--detailed-exitcode"]) == 0


def test_plan_in_json_prints_nothing_else_on_standard_output(world: World, capsys: Out) -> None:
    assert cli.run(["plan", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "swarmctl/plan/v1"
    assert document["summary"] == {"create": 0, "adopt": 0, "update": 1, "replace": 0, "delete": 0, "same": 3}
    assert document["changes"][0]["address"] == "mesh/backbone[workers-0/peers]"
    assert document["changes"][0]["action"] == "update"


def test_apply_without_a_terminal_needs_yes(world: World, capsys: Out) -> None:
    assert cli.run(["apply"]) == 2
    assert "--yes" in capsys.readouterr().err
    assert cli.run(["destroy"]) == 2
    assert world.done == []


def test_a_pipeline_with_a_terminal_is_not_asked(
    world: World, answers: Type, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.setenv("CI", "true")
    for command in ("apply", "destroy"):
        answers("y\n")
        assert cli.run([command]) == 2
        assert "add --yes" in capsys.readouterr().err
    assert world.done == []
    answers("y\n")
    monkeypatch.setenv("CI", "false")
    assert cli.run(["apply"]) == 0


def test_where_no_mesh_can_be_made_nothing_is_made(world: World, capsys: Out) -> None:
    world.no_mesh = SwarmError("no WireGuard here", "have root chmod it")
    assert cli.run(["apply", "--yes"]) == 0, "the interface is there already"
    world.done.clear()
    made = change("mesh/backbone[workers-0]", Action.CREATE, "workers-0")
    world.changes = (replace(made, type="swarm:mesh:Interface"),)
    assert cli.run(["apply", "--yes"]) == 1
    assert "no WireGuard here" in capsys.readouterr().err
    assert world.done == []


def test_apply_asks_and_goes_on_after_yes(world: World, answers: Type, capsys: Out) -> None:
    answers("y\n")
    assert cli.run(["apply"]) == 0
    shown = capsys.readouterr()
    assert world.done == ["update"]
    assert "Plan: 1 to update" in shown.out
    assert "Applied: 1 updated on 1 node" in shown.out
    assert "~ updated   mesh/backbone[workers-0/peers] on workers-0" in shown.err


@pytest.mark.parametrize("answer", ["n\n", "\n", "maybe\n", ""])
def test_apply_that_is_not_confirmed_changes_nothing(world: World, answers: Type, answer: str) -> None:
    answers(answer)
    assert cli.run(["apply"]) == 9
    assert world.done == []


def test_apply_with_nothing_to_change_asks_nothing_and_does_nothing(world: World, capsys: Out) -> None:
    world.changes = ()
    assert cli.run(["apply", "--yes"]) == 0
    assert capsys.readouterr().out == "Nothing to change. (3 resources unchanged)\n"
    assert world.done == []


def test_apply_that_fails_in_part_says_what_failed_where_and_why(world: World, capsys: Out) -> None:
    world.failures = (Failure("mesh/backbone[workers-0]", "workers-0", "no answer in 30 s"),)
    assert cli.run(["apply", "--yes"]) == 7
    shown = capsys.readouterr()
    assert "mesh/backbone[workers-0] on workers-0: no answer in 30 s" in shown.err
    assert "Partly done: 1 updated on 1 node; 1 failed" in shown.out


def test_where_all_has_failed_nothing_is_partly_done(world: World, capsys: Out) -> None:
    world.failures = (Failure("mesh/backbone[workers-0/peers]", "workers-0", "no answer in 30 s"),)
    assert cli.run(["apply", "--yes"]) == 1
    shown = capsys.readouterr()
    assert "Failed: " in shown.out
    assert "what was done is in the state" not in shown.err
    assert "mend the cause, then run the same command again" in shown.err


def test_what_failed_on_its_way_through_many_nodes_is_partly_done(world: World) -> None:
    rotation, peers = "mesh/backbone[rotation]", "mesh/backbone[workers-0/peers]"
    world.changes = (change(rotation, Action.UPDATE), change(peers, Action.UPDATE, "workers-0"))
    world.failures = (Failure(rotation, "", "no handshake"), Failure(peers, "workers-0", "no answer"))
    assert cli.run(["apply", "--yes"]) == 7
    world.changes = (change(rotation, Action.CREATE), change(peers, Action.UPDATE, "workers-0"))
    assert cli.run(["apply", "--yes"]) == 1


def test_many_failures_are_told_in_part_and_counted(world: World, capsys: Out) -> None:
    world.failures = tuple(
        Failure(f"nodepool/workers[{n}]", f"workers-{n}", f"no room {n}\nmake some") for n in range(50)
    )
    assert cli.run(["apply", "--yes"]) == 7
    shown = capsys.readouterr().err
    assert "error: 50 changes failed" in shown
    assert "  nodepool/workers[19] on workers-19: no room 19\n      make some\n  and 30 more" in shown


def test_apply_in_json_prints_its_outcome_also_when_it_fails(world: World, capsys: Out) -> None:
    world.failures = (Failure("mesh/backbone[workers-0]", "workers-0", "no answer"),)
    assert cli.run(["apply", "--yes", "--format", "json"]) == 7
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "swarmctl/apply/v1"
    assert document["done"]["update"] == 1
    assert document["failures"] == [{"address": "mesh/backbone[workers-0]", "node": "workers-0", "error": "no answer"}]


def test_apply_shows_and_removes_machines_that_nobody_knows(world: World, capsys: Out) -> None:
    world.machines = ["workers-0", "workers-9"]
    assert cli.run(["apply", "--yes"]) == 0
    assert world.done == ["update", "remove workers-9"]
    assert world.machines == ["workers-0"]
    assert "- delete  fake/workers-9" in capsys.readouterr().out


def test_apply_removes_unknown_machines_also_when_nothing_else_changes(world: World) -> None:
    world.changes, world.machines = (), ["workers-9"]
    assert cli.run(["apply", "--yes"]) == 0
    assert world.machines == []


def test_apply_never_removes_a_machine_that_was_not_in_the_plan(world: World, capsys: Out) -> None:
    world.machines = ["workers-0"]
    looks = iter([None, "late-0"])

    def during() -> None:
        # The first call is the preview, the second the update.
        if name := next(looks):
            world.machines.append(name)

    world.during = during
    assert cli.run(["apply", "--yes"]) == 0
    assert "late-0" in world.machines
    assert "late-0 is there and nothing declares it" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["apply", "--yes"], ["destroy", "--yes"]])
def test_a_held_lock_ends_the_run_at_once(applied: World, command: list[str], capsys: Out) -> None:
    applied.locked = True
    assert cli.run(command) == 6
    assert "process 7" in capsys.readouterr().err
    assert applied.done == []


def test_plan_and_drift_work_while_the_lock_is_held(applied: World) -> None:
    applied.locked = True
    assert cli.run(["plan"]) == 0
    assert cli.run(["drift"]) == 0


@pytest.mark.parametrize("command", ["plan", "apply", "destroy", "drift"])
def test_invalid_declarations_are_listed_with_their_codes(applied: World, command: str, capsys: Out) -> None:
    code = Code("SW2104", "overlapping allowed IPs", "")
    applied.load_error = InvalidDeclaration([Diagnostic(code, "overlapping allowed IPs")])
    assert cli.run([command, *(["--yes"] if command in ("apply", "destroy") else [])]) == 4
    assert "SW2104" in capsys.readouterr().err


def test_a_folder_without_documents_has_its_own_exit_code(world: World) -> None:
    world.load_error = NoDocuments("no declarations here")
    assert cli.run(["plan"]) == 3


@pytest.mark.parametrize("command", [["plan"], ["apply", "--yes"], ["drift"]])
def test_a_world_that_cannot_be_read_has_its_own_exit_code(applied: World, command: list[str]) -> None:
    applied.error = WorldUnreadable("workers-0 does not answer")
    assert cli.run(command) == 8
    assert applied.done == []


def test_drift_is_shown_per_property_and_has_its_own_exit_code(applied: World, capsys: Out) -> None:
    applied.drift = (DriftedProperty("mesh/backbone[workers-0]", "t", "workers-0", "mtu", 1420, 1280),)
    assert cli.run(["drift"]) == 21
    assert "mtu: 1420 → 1280" in capsys.readouterr().out
    assert cli.run(["drift", "--format", "json"]) == 21
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "swarmctl/drift/v1"
    assert document["drift"][0]["expected"] == 1420
    assert document["drift"][0]["actual"] == 1280
    applied.drift = ()
    assert cli.run(["drift"]) == 0


def test_drift_of_a_stack_that_was_never_applied_is_none(world: World, capsys: Out) -> None:
    world.error = WorldUnreadable("the engine must not be asked")
    assert cli.run(["drift"]) == 0
    assert "nothing of this stack has been applied yet" in capsys.readouterr().out


def test_destroy_asks_for_the_name_of_the_stack(applied: World, answers: Type) -> None:
    answers("yes\n")
    assert cli.run(["destroy"]) == 9
    assert applied.done == []
    answers("lab\n")
    assert cli.run(["destroy"]) == 0
    assert applied.done == ["destroy", "sweep"]
    assert not applied.folder.exists()


def test_destroy_shows_what_goes(applied: World, capsys: Out) -> None:
    applied.machines.append("workers-7")
    assert cli.run(["destroy", "--yes"]) == 0
    shown = capsys.readouterr().out
    assert "- delete  nodepool/workers[0]" in shown
    assert "- delete  fake/workers-7" in shown
    assert "Destroyed: 2 deleted on 2 nodes" in shown


def test_destroy_of_nothing_is_no_error(world: World, capsys: Out) -> None:
    assert cli.run(["destroy", "--yes"]) == 0
    assert capsys.readouterr().out == "Nothing to destroy.\n"
    assert world.done == ["sweep"]  # what has lost its marks may be there all the same
    assert not world.folder.exists()


def test_destroy_removes_machines_of_which_the_state_was_lost(world: World) -> None:
    world.machines = ["workers-0"]
    assert cli.run(["destroy", "--yes"]) == 0
    assert world.done == ["sweep"]
    assert world.machines == []
    assert not world.folder.exists()


def test_destroy_that_fails_keeps_the_state(applied: World) -> None:
    applied.failures = (Failure("nodepool/workers[0]", "workers-0", "busy"),)
    assert cli.run(["destroy", "--yes"]) == 7
    assert applied.done == ["destroy"]
    assert applied.folder.exists()


def test_what_the_user_types_wrongly_is_a_usage_error(world: World, tmp_path: Path) -> None:
    assert cli.run(["plan", "--no-such-option"]) == 2
    assert cli.run(["appply"]) == 2
    assert cli.run(["-C", str(tmp_path / "nowhere"), "plan"]) == 2
    assert cli.run(["apply", "--plan", "nowhere.json", "--yes"]) == 2


def test_a_defect_is_told_as_one_without_a_traceback(
    world: World, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("oh")

    world.during = broken
    assert cli.run(["plan"]) == 1
    shown = capsys.readouterr().err
    assert "bug:" in shown
    assert "ZeroDivisionError: oh" in shown
    assert "Traceback" not in shown


def test_a_reader_that_goes_away_does_not_stop_an_apply(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with Output(open(writing, "wb"), "utf-8", line_buffering=True) as closed:
        monkeypatch.setattr("sys.stdout", closed)
        assert cli.run(["apply", "--yes"]) == 0
    assert world.done == ["update"]


def test_the_log_has_every_step_and_what_the_engine_complained_of(
    world: World, caplog: pytest.LogCaptureFixture, capsys: Out
) -> None:
    caplog.set_level("DEBUG")
    assert cli.run(["apply", "--yes"]) == 0
    assert "StepEnded(address='mesh/backbone[workers-0/peers]'" in caplog.text
    world.error = WorldUnreadable("the engine failed", details=["error: the snapshot is odd", "  at the second line"])
    assert cli.run(["plan"]) == 8
    assert "exit code 8: the engine failed" in caplog.text
    assert "error: the snapshot is odd" in caplog.text
    assert "at the second line" in caplog.text
