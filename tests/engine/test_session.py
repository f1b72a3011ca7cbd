"""What a session does to the world, with the real engine and the real provider process."""

from __future__ import annotations

import errno
import os
import re
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from swarmctl.engine import session as sessions
from swarmctl.engine.session import EngineFailed
from swarmctl.errors import LockHeld, WorldUnreadable
from swarmctl.graph.model import Graph
from swarmctl.plans.events import Note, PhaseStarted, StepEnded, StepStarted
from swarmctl.plans.model import Action, HostEffect, PropertyDiff
from tests.engine.world import World, file, graph, token

pytestmark = pytest.mark.integration


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_preview_names_what_is_not_known_yet_and_leaves_no_trace(world: World, tmp_path: Path) -> None:
    plan = world.session().preview(graph(file("a", size=2), file("b", peers={"a.1": token("a")})))

    assert [(change.address, change.action) for change in plan.changes] == [
        ("test/a", Action.CREATE),
        ("test/b", Action.CREATE),
    ]
    assert PropertyDiff("size", "add", None, 2) in plan.changes[0].properties
    assert PropertyDiff("peers", "add", None, {"a.1": {"unknown": "test/a.token"}}) in plan.changes[1].properties
    assert world.files() == set()
    assert not (tmp_path / "data").exists()


def test_an_update_makes_everything_in_order_and_a_second_one_changes_nothing(world: World) -> None:
    wanted = graph(file("b", k=token("a")), file("a", numbers=[1, 2.5, {"x": 3}]), file("c", after=("b",)))

    outcome = world.update(wanted)

    assert {change.address for change in outcome.changes} == {"test/a", "test/b", "test/c"}
    assert world.inputs("b")["k"] == "token of a 0"
    assert world.inputs("a")["numbers"] == [1, 2.5, {"x": 3}]
    begun = [event.address for event in world.events if isinstance(event, StepStarted)]
    assert begun == ["test/a", "test/b", "test/c"]
    assert sum(isinstance(event, StepEnded) for event in world.events) == 3
    before = world.store.snapshot()
    assert before.resources["test/a"].inputs["numbers"] == [1, 2.5, {"x": 3}]
    assert before.resources["test/b"].outputs == {"token": "token of b 0"}

    again = world.update(wanted)

    assert (again.changes, again.failures, again.same) == ((), (), 3)
    assert world.store.snapshot().digest == before.digest
    assert world.session().preview(wanted).empty


def test_drift_is_told_per_property_healed_by_an_update_and_not_recorded_by_looking(world: World) -> None:
    wanted = graph(file("a", mode={"read": "all"}, node="w-0"), file("b"), file("c"))
    world.update(wanted)
    recorded = contents(world.store.folder)
    world.tamper("a", mode={"read": "none"}, extra=1)
    world.kind.path("b").unlink()

    drift = world.session().drift()
    plan = world.session().preview(wanted)

    assert {(d.address, d.node, d.path, str(d.expected), str(d.actual)) for d in drift.drift} == {
        ("test/a", "w-0", "mode.read", "all", "none"),
        ("test/a", "w-0", "extra", "None", "1"),
        ("test/b", "", "", "{'name': 'b'}", "None"),
    }
    assert (drift.changes, drift.same) == ((), 1)
    assert contents(world.store.folder) == recorded
    assert sorted(plan.drift, key=repr) == sorted(drift.drift, key=repr)
    assert {(change.address, change.action, change.drifted) for change in plan.changes} == {
        ("test/a", Action.UPDATE, True),
        ("test/b", Action.CREATE, True),
    }
    world.update(wanted)
    assert world.inputs("a") == {"mode": {"read": "all"}, "name": "a", "node": "w-0"}
    assert world.files() == {"a", "b", "c"}
    assert world.session().drift().drift == ()


def test_a_replacement_is_one_change_with_its_reason_and_deletes_first(world: World) -> None:
    world.update(graph(file("a", size=1), file("b", k=token("a"))))
    wanted = graph(file("a", size=2), file("b", k=token("a")))

    plan = world.session().preview(wanted)
    world.events.clear()
    outcome = world.update(wanted)

    replaced = next(change for change in plan.changes if change.address == "test/a")
    assert replaced.action is Action.REPLACE
    assert replaced.properties == (
        PropertyDiff("size", "update", 1, 2, replaces=True, reason="a file cannot be resized"),
    )
    follows = next(change for change in plan.changes if change.address == "test/b")
    assert follows.properties == (PropertyDiff("k", "update", "token of a 1", {"unknown": "test/a.token"}),)
    assert [(change.address, change.action) for change in outcome.changes] == [
        (change.address, change.action) for change in plan.changes
    ]
    told = [type(event).__name__ for event in world.events if getattr(event, "address", "") == "test/a"]
    assert told == ["StepStarted", "StepEnded"]
    assert world.deletions() == ["a"]
    assert world.inputs("b")["k"] == "token of a 2"


def test_what_is_on_a_replaced_machine_is_made_anew(world: World) -> None:
    def on(size: int) -> Graph:
        return graph(file("m", size=size), file("on-m", node="m", after=("m",)), file("else", k=token("m")))

    world.update(on(1))
    world.update(on(2))

    assert world.deletions() == ["on-m", "m"]
    assert world.files() == {"m", "on-m", "else"}


def test_what_has_left_the_declarations_goes_with_those_first_that_depend_on_it(world: World) -> None:
    world.update(graph(file("a"), file("b", k=token("a"), node="w-0"), file("c", after=("b",)), file("d")))

    outcome = world.update(graph(file("d")))

    assert world.deletions() == ["c", "b", "a"]
    gone = next(change for change in outcome.changes if change.address == "test/b")
    assert (gone.action, gone.node, gone.impact) == (Action.DELETE, "w-0", "its readers")
    assert gone.effects == (HostEffect("delete", "file"),)


def test_a_failure_stops_only_what_depends_on_it(world: World) -> None:
    world.update(graph(file("old"), file("uses-old", k=token("old"))))

    outcome = world.update(
        graph(
            file("bad", fail="create", node="w-1"),
            file("uses-bad", k=token("bad")),
            file("good"),
            file("old", fail="update"),
            file("uses-old", k=token("old"), more=1),
        )
    )

    assert {(failure.address, failure.node, failure.error) for failure in outcome.failures} == {
        ("test/bad", "w-1", "bad does not want to\nhelp: Ask it nicely."),
        ("test/old", "", "old does not want to\nhelp: Ask it nicely."),
    }
    assert [change.address for change in outcome.changes] == ["test/good"]
    assert world.files() == {"good", "old", "uses-old"}

    healed = world.update(graph(file("bad"), file("uses-bad", k=token("bad")), file("good")))

    assert healed.failures == ()
    assert world.files() == {"bad", "uses-bad", "good"}


def test_a_bug_in_a_kind_is_told_without_the_values_it_stumbled_over(world: World) -> None:
    outcome = world.update(graph(file("a", bug="create")))

    (failure,) = outcome.failures
    assert failure.error.startswith("this is a bug in swarmctl: KeyError")
    assert "hunter2" not in failure.error


def test_what_cannot_be_read_stops_everything_and_is_named(world: World) -> None:
    wanted = graph(file("a"), file("b", node="w-0"))
    world.update(wanted)
    path = world.kind.path("b")
    path.write_text(path.read_text().replace("{", '{"unreadable": true, ', 1))
    session = world.session()

    for act in (lambda: session.preview(wanted), session.drift, world.destroy, lambda: world.update(graph())):
        with pytest.raises(WorldUnreadable) as caught:
            act()
        assert caught.value.details == ("test/b on w-0: b cannot be read", "    help: Look at it.")
    assert world.files() == {"a", "b"}


def test_of_many_clocks_that_are_wrong_the_first_are_told_and_the_others_counted(world: World) -> None:
    wanted = graph(*(file(f"f{number}", node=f"w-{number}", clock=7200) for number in range(8)))
    world.update(wanted)
    world.events.clear()

    world.session().preview(wanted)

    said = [event.text for event in world.events if isinstance(event, Note)]
    assert len([text for text in said if "its clock is 2.0 hours ahead" in text]) == 5
    # Nobody waits for a note to arrive, so the very last may not.
    assert re.fullmatch(
        "the clocks of [1-3] more machines are far off: see whether this computer's own is right", said[-1]
    )


def test_destroy_takes_everything_and_works_when_it_is_gone_already(world: World) -> None:
    world.update(graph(file("a"), file("b", k=token("a")), file("c")))
    world.kind.path("c").unlink()

    outcome = world.destroy()

    assert outcome.failures == ()
    assert world.files() == set()
    assert not world.store.exists()
    assert world.destroy().changes == ()


def phases(world: World) -> list[str]:
    return [event.title for event in world.events if isinstance(event, PhaseStarted)]


def test_destroy_leaves_what_it_is_told_to_keep_and_takes_even_what_that_stands_on(world: World) -> None:
    world.update(graph(file("a"), file("b", k=token("a")), file("c", k=token("b")), file("d")))
    before = world.store.load()
    assert before is not None
    assert before.applied is not None
    assert before.applied.complete
    assert "changing" in phases(world)
    world.events.clear()

    outcome = world.destroy(keeping=("test/b",))

    assert {change.address for change in outcome.changes} == {"test/a", "test/c", "test/d"}
    assert outcome.failures == ()
    assert world.files() == {"b"}
    found = world.store.load()
    assert found is not None
    assert set(world.store.snapshot().resources) == {"test/b"}
    assert "removing" in phases(world)
    assert found.applied is None, "what is left is no graph that anyone has asked for"
    assert world.destroy(keeping=("test/b",)).changes == ()
    world.destroy()
    assert world.files() == set()


def test_a_removal_that_fails_keeps_the_record_of_what_is_still_there(world: World) -> None:
    world.update(graph(file("a"), file("b", fail="delete", k=token("a")), file("c")))

    outcome = world.destroy()

    assert [failure.address for failure in outcome.failures] == ["test/b"]
    assert world.files() == {"a", "b"}
    assert set(world.store.snapshot().resources) == {"test/a", "test/b"}


def test_an_interruption_finishes_what_is_begun_and_begins_nothing_more(world: World) -> None:
    wanted = graph(file("slow", sleep=1.0), file("next", after=("slow",)))

    def interrupt() -> None:
        while world.files() != {"slow"}:
            time.sleep(0.01)
        session.interrupt()

    def emit(event: object) -> None:
        if isinstance(event, StepStarted):
            threading.Thread(target=interrupt).start()

    session = world.session(emit)
    outcome = world.update(wanted, session=session)

    assert outcome.interrupted
    assert world.files() == {"slow"}
    assert set(world.store.snapshot().resources) == {"test/slow"}
    assert world.update(wanted).failures == ()
    assert world.kind.read_file({"name": "slow"})["made"] == 1


def test_after_a_heal_that_failed_drift_is_still_told(world: World) -> None:
    def wanted(**behaviour: str) -> Graph:
        return graph(
            file("a", mode="r", **behaviour), file("b", k=token("a"), node="w-0"), file("c", after=("b",)), file("d")
        )

    world.update(wanted())
    applied = world.store.snapshot().resources["test/a"].inputs
    world.tamper("a", mode="none")
    world.tamper("b", extra=1)
    world.tamper("d", extra=1)
    world.kind.path("c").unlink()

    failed = world.update(wanted(fail="update"))

    assert [failure.address for failure in failed.failures] == ["test/a"]
    assert [change.address for change in failed.changes] == ["test/d"]
    assert world.store.snapshot().resources["test/a"].inputs == applied
    told = sorted((d.address, d.path, d.expected, d.actual) for d in world.session().drift().drift)
    assert told == [
        ("test/a", "mode", "r", "none"),
        ("test/b", "extra", None, 1),
        ("test/c", "", {"name": "c"}, None),
    ]
    assert world.update(wanted()).failures == ()
    assert world.files() == {"a", "b", "c", "d"}
    assert world.session().drift().drift == ()


def test_what_is_gone_and_cannot_be_made_anew_has_still_drifted(world: World) -> None:
    world.update(graph(file("a")))
    world.kind.path("a").unlink()

    world.update(graph(file("a", fail="create")))

    assert [(d.address, d.path) for d in world.session().drift().drift] == [("test/a", "")]
    assert world.update(graph(file("a"))).failures == ()
    assert world.session().drift().drift == ()


def test_drift_that_was_read_in_a_run_that_could_not_begin_is_still_told(world: World) -> None:
    wanted = graph(file("a", mode="r"), file("b"))
    world.update(wanted)
    world.tamper("a", mode="none")
    path = world.kind.path("b")
    good = path.read_text()
    path.write_text(good.replace("{", '{"unreadable": true, ', 1))
    with pytest.raises(WorldUnreadable):
        world.update(wanted)

    path.write_text(good)
    assert [(d.address, d.path) for d in world.session().drift().drift] == [("test/a", "mode")]


def full(_: object) -> SimpleNamespace:
    return SimpleNamespace(f_blocks=9, f_bavail=0, f_frsize=1, f_flag=0)


def read_only(_: object) -> SimpleNamespace:
    return SimpleNamespace(f_blocks=9, f_bavail=9, f_frsize=1, f_flag=os.ST_RDONLY)


def broken(_: object) -> SimpleNamespace:
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize(
    ("look", "told"),
    [
        (full, ["is full: 0 KiB are free", "make room on it"]),
        (read_only, ["is read-only", "mount it so that it can be written"]),
        (broken, ["Input/output error", "mend that"]),
    ],
)
def test_a_disk_that_cannot_be_written_any_more_is_told_once_while_the_engine_tries_to_save(
    world: World, monkeypatch: pytest.MonkeyPatch, look: object, told: list[str]
) -> None:
    monkeypatch.setattr(sessions, "DISK_SECONDS", 0.01)

    def emit(event: object) -> None:
        world.events.append(event)  # type: ignore[arg-type]
        if isinstance(event, StepStarted):
            monkeypatch.setattr(os, "statvfs", look)

    assert world.update(graph(file("a", sleep=0.2)), emit).failures == ()

    (note,) = [event.text for event in world.events if isinstance(event, Note)]
    assert all(text in note for text in [*told, "what would begin now fails"])


def test_a_stop_that_comes_with_the_last_step_has_stopped_nothing(world: World) -> None:
    def stop(event: object) -> None:
        if isinstance(event, StepEnded):
            session.interrupt()

    session = world.session(stop)
    outcome = world.update(graph(file("a")), session=session)
    assert (outcome.interrupted, len(outcome.changes)) == (False, 1)

    session = world.session(stop)
    assert not world.destroy(session=session).interrupted
    assert world.store.snapshot().resources == {}


def test_a_second_interruption_ends_at_once_and_the_next_run_goes_on(world: World) -> None:
    wanted = graph(file("slow", sleep=30.0))

    def emit(event: object) -> None:
        if isinstance(event, StepStarted):
            threading.Timer(0.3, session.interrupt).start()
            threading.Timer(0.6, session.interrupt).start()

    session = world.session(emit)
    assert world.update(wanted, session=session).interrupted

    assert world.update(graph(file("slow", sleep=0.0))).failures == ()
    assert world.inputs("slow")["sleep"] == 0


def test_the_lease_keeps_a_second_run_out_but_not_a_look(world: World) -> None:
    with world.store.lease():
        with pytest.raises(LockHeld):
            world.update(graph(file("a")))
        assert len(world.session().preview(graph(file("a"))).changes) == 1


def test_an_engine_that_is_none_is_told_with_what_it_said(world: World, tmp_path: Path) -> None:
    broken = tmp_path / "engine"
    broken.write_text("#!/bin/sh\necho it is broken >&2\nexit 3\n")
    broken.chmod(0o755)
    world.engine = type(world.engine)(broken, "3.259.0", "configured")

    with pytest.raises(EngineFailed, match="status 3") as caught:
        world.update(graph(file("a")))

    assert caught.value.details == ("it is broken",)


def test_nothing_but_the_state_is_kept_and_only_for_its_owner(world: World) -> None:
    world.update(graph(file("a")))
    world.update(graph(file("a", x=1)))

    kept = {str(path.relative_to(world.store.folder)) for path in world.store.folder.rglob("*") if path.is_file()}
    assert kept == {
        "lease.json",
        "lease.lock",
        "keys/passphrase",
        "state.json",
        "backups/0000000001.json",
    }
    assert os.stat(world.store.folder).st_mode & 0o077 == 0
    assert os.stat(world.store.passphrase_file()).st_mode & 0o177 == 0


def test_a_graph_that_waits_for_itself_fails_instead_of_hanging(world: World) -> None:
    world.update(graph(file("kept")))

    with pytest.raises(EngineFailed) as caught:
        world.update(graph(file("kept"), file("a", after=("b",)), file("b", after=("a",))))

    assert any("waiting for each other" in line for line in caught.value.details)
    assert world.files() == {"kept"}


def test_what_was_never_made_to_the_end_has_not_drifted(world: World) -> None:
    wanted = graph(file("a", fail="create"), file("b"))
    world.update(wanted)

    drift = world.session().drift()
    plan = world.session().preview(wanted)

    assert (drift.drift, drift.same, plan.drift) == ((), 1, ())
    assert [(change.address, change.action, change.drifted) for change in plan.changes] == [
        ("test/a", Action.CREATE, False)
    ]
    assert drift.notes == plan.notes == ("test/a was begun by an earlier run, which failed or was cut off in it",)


@pytest.mark.parametrize("removing", [False, True])
def test_what_was_not_begun_before_a_stop_has_not_failed(world: World, removing: bool) -> None:
    wanted = graph(*(file(f"f{number}", sleep=0.2) for number in range(60)))
    if removing:
        assert world.update(wanted).failures == ()
        world.events.clear()

    def stop(event: object) -> None:
        first = not any(isinstance(event, StepEnded) for event in world.events)
        world.events.append(event)  # type: ignore[arg-type]
        if first and isinstance(event, StepEnded):
            session.interrupt()

    store = world.store
    session = world.session(stop, store)
    with store.lease() as lease:
        outcome = session.destroy(lease) if removing else session.update(wanted, lease)

    assert outcome.interrupted
    assert outcome.failures == ()
    assert {it.reason for it in outcome.skipped} <= {"the run was interrupted"}
    assert [event for event in world.events if isinstance(event, StepEnded) and event.error] == []
    left = 60 - len(outcome.changes)
    assert len(world.files()) == (left if removing else 60 - left)
