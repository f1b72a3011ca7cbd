"""What a changing run leaves alone, skips, refuses and gives up; with the real engine."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swarmctl.engine import watchdog
from swarmctl.engine.outcome import EngineFailed, Protected
from swarmctl.errors import ExitCode, LeaseLost
from swarmctl.graph.model import Graph, Resource, Rollout, Timeouts
from swarmctl.plans.events import StepEnded, StepStarted
from swarmctl.plans.model import Action, PropertyDiff
from tests.engine.fake_kind import TOKEN
from tests.engine.world import World, file, graph, token

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def published(world: World) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(world.store.file.read_text())
    return document


def test_the_state_is_untouched_until_it_is_published(world: World) -> None:
    world.update(graph(file("a")))
    before = world.store.file.read_bytes()
    seen: list[bytes] = []

    def emit(event: object) -> None:
        if isinstance(event, StepStarted | StepEnded):
            seen.append(world.store.file.read_bytes())

    world.update(graph(file("a", x=1), file("b")), emit)

    assert len(seen) == 4
    assert set(seen) == {before}
    document = published(world)
    assert document["generation"] == 2
    assert document["applied"]["complete"]
    assert set(document["applied"]["versions"]) == {"swarmctl", "pulumi"}


def test_what_was_applied_and_by_which_plan_is_published(world: World) -> None:
    world.update(graph(file("a", fail="create")), plan_id="p1")
    assert (published(world)["applied"]["complete"], published(world)["plans"]) == (
        False,
        [{"id": "p1", "finished": False}],
    )

    world.update(graph(file("a")), plan_id="p1")

    assert (published(world)["applied"]["complete"], published(world)["plans"]) == (
        True,
        [{"id": "p1", "finished": True}],
    )


def test_a_plan_of_a_part_is_finished_when_that_part_is_done_and_the_graph_is_not_applied(world: World) -> None:
    world.update(graph(file("a"), file("b", fail="update")))
    wanted = graph(file("a", x=1), file("b", x=1, fail="update"), file("new"))

    world.update(wanted, held={"test/b", "test/new"}, plan_id="part")
    assert (published(world)["applied"]["complete"], published(world)["plans"]) == (
        False,
        [{"id": "part", "finished": True}],
    )

    world.update(wanted, held={"test/a", "test/new"}, plan_id="fails")
    assert published(world)["plans"][-1] == {"id": "fails", "finished": False}
    world.update(graph(file("a"), file("b")), held={"test/b"}, plan_id="nothing")
    world.update(graph(file("c", k=token("new")), file("new")), held={"test/new"}, plan_id="skips")
    assert published(world)["plans"][-2:] == [
        {"id": "nothing", "finished": True},
        {"id": "skips", "finished": False},
    ]


@pytest.mark.parametrize("held", [{"test/a", "test/c"}, {"test/c"}])
def test_what_has_moved_and_is_held_stays_at_its_old_address(world: World, held: set[str]) -> None:
    world.update(graph(file("a", node="w-0"), file("b")))
    wanted = graph(replace(file("c", node="w-0"), inputs={"name": "a", "node": "w-0"}), file("b", x=1))

    outcome = world.update(wanted, held=held, plan_id="p")

    assert [it.address for it in outcome.changes] == ["test/b"]
    assert published(world)["plans"] == [{"id": "p", "finished": True}]
    assert world.store.snapshot().resources.keys() == {"test/a", "test/b"}
    world.update(wanted)
    assert world.store.snapshot().resources.keys() == {"test/c", "test/b"}
    assert (world.files(), world.deletions()) == ({"a", "b"}, [])


def test_what_moves_while_its_old_address_is_held_is_recorded_once(world: World) -> None:
    world.update(graph(file("a", node="w-0"), file("b")))
    wanted = graph(replace(file("c", node="w-0"), inputs={"name": "a", "node": "w-0"}), file("b", x=1))

    world.update(wanted, held={"test/a", "test/b"}, plan_id="p")

    assert published(world)["plans"] == [{"id": "p", "finished": True}]
    assert world.store.snapshot().resources.keys() == {"test/c", "test/b"}
    world.update(wanted)
    assert (world.files(), world.deletions()) == ({"a", "b"}, [])


def test_a_run_that_was_overtaken_begins_nothing_more_and_publishes_nothing(world: World) -> None:
    world.update(graph(file("a")))
    before = world.store.file.read_bytes()

    def emit(event: object) -> None:
        if isinstance(event, StepEnded) and event.address == "test/a":
            record = json.loads((world.store.folder / "lease.json").read_text())
            text = json.dumps(record).replace(str(lease.token), str(lease.token + 1))
            (world.store.folder / "lease.json").write_text(text)

    store = world.store
    # Until the lease's next beat nobody has noticed.
    wanted = graph(file("a", x=1), file("slow", after=("a",), sleep=5.0), file("next", after=("slow",)))
    with store.lease() as lease, pytest.raises(LeaseLost):
        world.session(emit, store).update(wanted, lease)

    assert world.store.file.read_bytes() == before
    assert world.inputs("a")["x"] == 1
    assert world.files() == {"a", "slow"}
    # Its journal is there for the next one, which knows what was done.
    assert world.store.snapshot().resources["test/a"].inputs["x"] == 1


def test_what_is_held_is_neither_changed_nor_made_nor_removed(world: World) -> None:
    world.update(graph(file("a", mode="r"), file("b", k=token("a")), file("left"), file("gone")))
    world.tamper("b", extra=1)
    world.kind.path("gone").unlink()
    wanted = graph(file("a", mode="w"), file("b", k=token("a"), more=1), file("new"), file("gone", x=1))
    held = {"test/b", "test/new", "test/left", "test/gone"}

    plan = world.session().preview(wanted, held=held)
    outcome = world.update(wanted, held=held)

    assert [(it.address, it.action) for it in plan.changes] == [("test/a", Action.UPDATE)]
    assert [it.address for it in outcome.changes] == ["test/a"]
    assert (outcome.failures, outcome.skipped, outcome.same, plan.same) == ((), (), 0, 0)
    assert world.files() == {"a", "b", "left"}
    assert world.inputs("a")["mode"] == "w"
    assert world.inputs("b") == {"name": "b", "k": "token of a 0", "extra": 1}
    recorded = world.store.snapshot().resources
    assert recorded.keys() == {"test/a", "test/b", "test/left", "test/gone"}
    assert recorded["test/b"].inputs == {"name": "b", "k": "token of a 0"}
    assert not published(world)["applied"]["complete"]
    told = {(it.address, it.path) for it in world.session().drift().drift}
    assert told == {("test/b", "extra"), ("test/gone", "")}
    assert world.update(wanted).failures == ()
    assert world.files() == {"a", "b", "new", "gone"}


def test_what_needs_something_new_that_is_held_is_not_begun(world: World) -> None:
    world.update(graph(file("b"), file("c")))
    wanted = graph(file("a"), file("b", k=token("a")), file("c", x=1), file("d", k=token("a")))

    outcome = world.update(wanted, held={"test/a"})

    assert {(it.address, it.reason) for it in outcome.skipped} == {
        ("test/b", "it needs test/a, which was not begun"),
        ("test/d", "it needs test/a, which was not begun"),
    }
    assert world.files() == {"b", "c"}
    assert [it.address for it in outcome.changes] == ["test/c"]


def rolled(failing: str = "", **inputs: Any) -> Graph:
    """Five nodes; the canary, then two at a time."""
    made = graph(
        *(
            file(f"f{n}", node=f"w-{n}", **inputs, **({"fail": "create"} if f"w-{n}" == failing else {}))
            for n in range(5)
        )
    )
    made.rollouts["p"] = Rollout(canary=1, batch=2)
    return made


def test_a_rollout_goes_in_steps_and_stops_at_the_first_node_too_many(world: World) -> None:
    begun: list[str] = []

    def emit(event: object) -> None:
        if isinstance(event, StepStarted):
            begun.append(event.address.removeprefix("test/"))

    outcome = world.update(rolled("w-1", sleep=0.1), emit)

    assert begun[0] == "f0"
    assert set(begun) == {"f0", "f1", "f2"}
    assert [it.address for it in outcome.failures] == ["test/f1"]
    assert [(it.address, it.node) for it in outcome.skipped] == [("test/f3", "w-3"), ("test/f4", "w-4")]
    assert "the rollout of the NodePool p was stopped: w-1 failed" in outcome.skipped[0].reason
    assert not published(world)["applied"]["complete"]
    assert world.update(rolled(sleep=0.1)).failures == ()
    assert len(world.files()) == 5


def test_a_stopped_rollout_leaves_the_rest_as_it_is(world: World) -> None:
    world.update(rolled(v=1))
    wanted = rolled(v=2)
    first = next(iter(wanted.resources.values()))
    wanted.resources[first.address] = replace(first, inputs={**first.inputs, "fail": "update"})

    outcome = world.update(wanted)

    assert [it.address for it in outcome.failures] == ["test/f0"]
    assert len(outcome.skipped) == 4
    assert {world.inputs(name)["v"] for name in world.files()} == {1}
    assert len(world.store.snapshot().resources) == 5


def test_what_depends_on_a_failure_is_told_as_skipped(world: World) -> None:
    wanted = graph(file("a", fail="create"), file("b", k=token("a"), node="w-0"), file("c", after=("b",)))

    outcome = world.update(wanted)

    assert [(it.address, it.node, it.reason) for it in outcome.skipped] == [
        ("test/b", "w-0", "it needs test/a, which failed"),
        ("test/c", "", "it needs test/b, which was not begun"),
    ]


def protected(resource: Resource) -> Resource:
    return replace(resource, protect=True)


def test_what_is_protected_neither_leaves_nor_is_made_anew_nor_destroyed(world: World) -> None:
    world.update(graph(protected(file("a", size=1)), file("b")))
    before = world.store.file.read_bytes()
    leaving, anew = graph(file("b", x=1)), graph(protected(file("a", size=2)), file("b", x=1))

    for act, why in (
        (lambda: world.session().preview(leaving), "test/a would be deleted"),
        (lambda: world.update(leaving), "test/a would be deleted"),
        (lambda: world.session().preview(anew), "test/a would be made anew, because of size"),
        (world.destroy, "test/a would be deleted"),
    ):
        with pytest.raises(Protected) as caught:
            act()
        assert caught.value.details == (why,)
        assert caught.value.exit_code is ExitCode.PLAN_REFUSED
    assert world.store.file.read_bytes() == before
    assert world.files() == {"a", "b"}
    assert "x" not in world.inputs("b")

    with pytest.raises(EngineFailed, match="status 1"):
        world.update(anew)  # without a preview the engine itself refuses
    assert world.deletions() == []
    assert world.update(graph(file("a", size=2))).failures == ()
    assert world.destroy().failures == ()


def test_a_change_of_protection_alone_is_shown_and_recorded(world: World) -> None:
    world.update(graph(file("a"), file("b")))
    wanted = graph(protected(file("a")), file("b"))

    plan = world.session().preview(wanted)
    outcome = world.update(wanted)

    (change,) = plan.changes
    assert (change.address, change.action, change.type) == ("test/a", Action.UPDATE, TOKEN)
    assert change.properties == (PropertyDiff("protect", "update", False, True),)
    assert "nothing changes on the host" in change.effects[0].text
    assert plan.same == 1
    assert outcome.changes == plan.changes
    assert world.session().preview(wanted).empty
    with pytest.raises(Protected):
        world.destroy()


def test_what_is_there_and_recorded_nowhere_is_adopted(world: World) -> None:
    world.update(graph(file("a", mode="r")))
    world.store.file.unlink()

    plan = world.session().preview(graph(file("a", mode="w"), file("b")))

    assert [(it.address, it.action) for it in plan.changes] == [
        ("test/a", Action.ADOPT),
        ("test/b", Action.CREATE),
    ]
    assert plan.changes[0].properties == (PropertyDiff("mode", "update", "r", "w"),)


def stop_provider(world: World) -> int:
    """Stop the provider of the run that goes on, as a machine does that is suspended; returns its process id."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_text()
            except OSError:
                continue
            if "fake_kind" in command and str(world.folder) in command and "launch.py" not in command:
                os.kill(int(folder.name), signal.SIGSTOP)
                return int(folder.name)
    raise AssertionError("there is no provider")


def test_a_provider_that_hangs_is_given_up_and_what_was_done_is_known(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "GRACE", 0.5)
    slow = replace(file("slow", after=("a",), sleep=0.5), timeouts=Timeouts(create=1))

    def emit(event: object) -> None:
        if isinstance(event, StepStarted) and event.address == "test/slow":
            threading.Timer(0.2, lambda: stop_provider(world)).start()

    started = time.monotonic()
    with pytest.raises(EngineFailed, match="test/slow did not answer within the 1 s that it may take"):
        world.update(graph(file("a"), slow), emit)

    assert time.monotonic() - started < 20
    assert {"test/a", "test/slow"} == world.store.snapshot().resources.keys()
    assert published(world)["generation"] == 1
    assert world.update(graph(file("a"), file("slow", after=("a",)))).failures == ()
    assert world.files() == {"a", "slow"}


def test_an_engine_that_talks_nonsense_is_given_up_and_what_was_done_is_known(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swarmctl.engine import host

    told = 0
    decode = host.decode

    def nonsense(text: str) -> Any:
        nonlocal told
        told += "::test/a" in text
        return decode(text if told < 2 else "\x00" + text)

    with monkeypatch.context() as patch:
        patch.setattr(host, "decode", nonsense)
        with pytest.raises(EngineFailed, match="what it tells cannot be understood"):
            world.update(graph(file("a"), file("b", after=("a",), sleep=1.0)))

    assert "test/a" in world.store.snapshot().resources
    assert world.update(graph(file("a"))).failures == ()
    assert world.files() == {"a"}
