"""Events of the engine, as it sends them, and what they mean in plans."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swarmctl.engine import changes, result, verdict
from swarmctl.engine.events import Gatherer, Moment, Op, Step, decode
from swarmctl.engine.outcome import EngineFailed
from swarmctl.engine.runner import Ended
from swarmctl.errors import WorldUnreadable
from swarmctl.graph.model import Address, Graph, Machine
from swarmctl.kinds.base import UNKNOWN
from swarmctl.plans.model import Action, DriftedProperty, PropertyDiff
from swarmctl.provider.steps import NOT_BEGUN, OVERTIME
from swarmctl.state.checkpoint import SECRET, SIGNATURE, UNKNOWN_VALUE
from tests.engine.fake_kind import TOKEN, File
from tests.engine.world import file, graph, token

URN = f"urn:pulumi:files::swarmctl::{TOKEN}::test/"


def event(moment: str, op: str, name: str, old: Any = None, new: Any = None, type_: str = TOKEN) -> dict[str, Any]:
    states = {
        key: None if inputs is None else {"inputs": {"name": name, **inputs}, "outputs": {"token": f"t-{name}"}}
        for key, inputs in (("old", old), ("new", new))
    }
    return {moment: {"metadata": {"op": op, "urn": URN + name, "type": type_, **states}, "planning": True}}


def step(op: str, name: str, old: Any = None, new: Any = None) -> list[dict[str, Any]]:
    return [event(moment, op, name, old, new) for moment in ("resourcePreEvent", "resOutputsEvent")]


def gather(*events: dict[str, Any], only_refreshes: bool = False) -> Gatherer:
    gatherer = Gatherer(lambda step: None, only_refreshes=only_refreshes)
    for one in events:
        gatherer.receive(decode(json.dumps(one)))
    return gatherer


def context(declared: Graph | None = None, **places: changes.Place) -> changes.Context:
    return changes.Context({TOKEN: File(Path("/nowhere"))}.__getitem__, declared, places)


def test_the_engines_own_resources_are_none_of_ours() -> None:
    heard: list[Step] = []
    gatherer = Gatherer(heard.append)

    gatherer.receive(
        decode(json.dumps(event("resOutputsEvent", "create", "x", None, {}, type_="pulumi:providers:swarm")))
    )

    assert heard == []
    assert gatherer.result.steps == {}


def test_what_moves_and_is_made_anew_is_one_replacement_where_it_is_now() -> None:
    heard: list[Step] = []
    gatherer = Gatherer(heard.append, moved={"test/old": "test/x"})
    old = {**step("delete-replaced", "old", {"size": 1})[0]["resourcePreEvent"]["metadata"]["old"], "urn": URN + "old"}
    events = [*step("delete-replaced", "old", {"size": 1}), *step("create-replacement", "x", {"size": 1}, {"size": 2})]
    for one in events:
        next(iter(one.values()))["metadata"]["old"] = old  # type: ignore[attr-defined]
        gatherer.receive(decode(json.dumps(one)))

    [change] = changes.changes(gatherer.result, context())

    assert {it.address for it in heard} == {"test/x"}
    assert (change.address, change.action) == ("test/x", Action.REPLACE)
    assert change.effects[0].text == "moved from test/old, and is made anew"
    assert gatherer.result.done == {"test/x"}


def test_a_removal_that_fails_in_a_move_is_a_failure_of_what_it_is_now() -> None:
    gatherer = Gatherer(lambda step: None, moved={"test/old": "test/x"})
    for one in (
        event("resourcePreEvent", "delete-replaced", "old", {}),
        {"diagnosticEvent": {"urn": URN + "old", "message": "it does not go", "severity": "error"}},
        event("resOpFailedEvent", "delete-replaced", "old", {}),
        {"summaryEvent": {}},
    ):
        gatherer.receive(decode(json.dumps(one)))

    assert {name: it.error for name, it in gatherer.result.failures.items()} == {"test/x": "it does not go"}
    assert gatherer.result.complaints == []


def test_unknown_and_secret_values_are_told_apart() -> None:
    secret = {SIGNATURE: SECRET, "ciphertext": "[secret]"}

    found = gather(*step("create", "a", None, {"k": [UNKNOWN_VALUE], "s": secret, "n": 2.0})).result.steps["test/a"]

    assert found.new is not None
    assert found.new.inputs == {"name": "a", "k": [UNKNOWN], "s": {"secret": True}, "n": 2}


def test_the_three_steps_of_a_replacement_are_one_change() -> None:
    found = gather(
        *step("delete-replaced", "a", {"size": 1}, None),
        *step("replace", "a", {"size": 1}, {"size": 2}),
        *step("create-replacement", "a", {"size": 1}, {"size": 2}),
    )

    (change,) = changes.changes(found.result, context())

    assert change.action is Action.REPLACE
    assert change.properties == (
        PropertyDiff("size", "update", 1, 2, replaces=True, reason="a file cannot be resized"),
    )
    assert found.result.done == {"test/a"}


def test_a_replacement_that_only_got_as_far_as_removing_is_not_done() -> None:
    found = gather(*step("delete-replaced", "a", {"size": 1}, None))

    assert found.result.done == set()
    assert found.result.steps["test/a"].op is Op.DELETE_REPLACED


def test_an_unknown_value_is_named_after_what_was_referred_to() -> None:
    declared = graph(file("a"), file("b", peers={"x": {"key": token("a")}}, all=[1, token("a")]))
    unknown = {"peers": {"x": {"key": UNKNOWN_VALUE}}, "all": [1, UNKNOWN_VALUE]}

    (change,) = changes.changes(gather(*step("create", "b", None, unknown)).result, context(declared))

    after = {diff.path: diff.after for diff in change.properties}
    assert after["peers"] == {"x": {"key": {"unknown": "test/a.token"}}}
    assert after["all"] == [1, {"unknown": "test/a.token"}]


def test_reasons_of_the_provider_come_before_what_the_engine_makes_of_them() -> None:
    failed = event("resOpFailedEvent", "create", "a", None, {})
    failed["resOpFailedEvent"]["metadata"]["new"]["initErrors"] = ["the port is taken"]
    told = {"diagnosticEvent": {"urn": URN + "a", "severity": "error", "message": "1 error occurred:\n\t* the port"}}

    found = gather(told, failed).result.failures["test/a"]

    assert (found.moment, found.error) == (Moment.FAILED, "the port is taken")


def test_in_a_preview_an_error_alone_is_a_failure_of_the_step_that_was_begun() -> None:
    begun = event("resourcePreEvent", "refresh", "a", {}, {})
    told = {
        "diagnosticEvent": {"urn": URN + "a", "severity": "error", "message": "Preview failed: it does not answer\n"}
    }

    found = gather(begun, told, {"summaryEvent": {"result": "failed"}}).result

    assert found.finished
    assert (found.failures["test/a"].op, found.failures["test/a"].error) == (Op.REFRESH, "it does not answer")


def test_errors_without_a_resource_are_complaints_and_warnings_are_not() -> None:
    found = gather(
        {"diagnosticEvent": {"severity": "error", "message": "no space left\n"}},
        {"diagnosticEvent": {"severity": "warning", "message": "hm"}},
        {"errorEvent": {"error": "it ended"}},
    ).result

    assert found.complaints == ["no space left", "it ended"]


def test_errors_are_kept_when_the_engine_never_sums_up() -> None:
    begin = "the provider did not begin"
    found = gather({"diagnosticEvent": {"urn": URN + "a", "severity": "error", "message": begin}}).result

    assert (found.finished, found.unplaced) == (False, {"test/a": [begin]})
    with pytest.raises(EngineFailed) as failed:
        verdict.judge(Ended(1, ["what else it printed"], found), context(), Path("/nowhere"), changing=False)
    assert list(failed.value.details) == [begin]


def test_a_machine_with_one_reason_for_many_failures_is_told_once() -> None:
    def unread(name: str, node: str, why: str) -> dict[str, Any]:
        failed = event("resOpFailedEvent", "refresh", name, {"node": node}, {"node": node})
        failed["resOpFailedEvent"]["metadata"]["new"]["initErrors"] = [why]
        return failed

    dead = "w-0: refuses connections\nhelp: see whether it is up"
    found = gather(
        unread("a", "w-0", dead), unread("b", "w-1", "it is odd"), unread("c", "w-0", dead), unread("d", "w-0", "odd")
    ).result

    with pytest.raises(WorldUnreadable, match="4 resources could not be read back") as failed:
        verdict.judge(Ended(1, [], found), context(), Path("/nowhere"), changing=True)
    assert failed.value.details == (
        "w-0: refuses connections (2 resources there)",
        "    help: see whether it is up",
        "test/b on w-1: it is odd",
        "test/d on w-0: odd",
    )


def test_a_resource_at_another_address_is_an_update_and_not_counted_as_unchanged() -> None:
    steps = step("same", "b", {"node": "w-0"}, {"node": "w-0"})
    for one in steps:
        for body in one.values():
            if isinstance(body, dict):
                body["metadata"]["old"]["urn"] = URN + "a"

    found = gather(*steps).result
    (change,) = changes.changes(found, context())

    assert (change.address, change.action, found.same, found.done) == ("test/b", Action.UPDATE, 0, {"test/b"})
    assert "moved from test/a" in change.effects[0].text


def test_in_a_refresh_every_step_is_a_reading() -> None:
    found = gather(
        *step("update", "a", {"mode": 1}, {"mode": 2}),
        *step("delete", "b", {"mode": 1}, None),
        *step("same", "c", {}, {}),
        only_refreshes=True,
    ).result

    assert (found.steps, len(found.refreshed)) == ({}, 3)
    assert changes.drift(found, context()) == (
        DriftedProperty("test/a", TOKEN, "", "mode", expected=1, actual=2),
        DriftedProperty("test/b", TOKEN, "", "", expected={"name": "b", "mode": 1}, actual=None),
    )


def test_an_output_that_is_another_one_has_drifted() -> None:
    read = event("resOutputsEvent", "refresh", "a", {}, {})
    read["resOutputsEvent"]["metadata"]["new"]["outputs"] = {"token": "another"}

    assert changes.drift(gather(read).result, context()) == (
        DriftedProperty("test/a", TOKEN, "", "token", expected="t-a", actual="another"),
    )


def test_what_leaves_is_placed_by_what_is_known_of_its_machine() -> None:
    found = gather(*step("delete", "a", {"node": "w-0"}, None)).result

    (change,) = changes.changes(found, context(graph(), **{"w-0": changes.Place("w-0", "core", "workers")}))

    assert (change.node, change.cluster, change.pool) == ("w-0", "core", "workers")


def test_a_machine_of_a_removed_pool_stands_with_the_only_cluster() -> None:
    declared = Graph("files")
    declared.export(Machine("c-0", Address("nodepool", "c", "0"), "c", "core", "r", {}, (), {}))

    found = changes.places(declared, {"nodepool/workers[0]": {"node": "w-0"}})

    assert found["w-0"] == changes.Place("w-0", "core", "workers")


def test_places_come_from_recorded_machines_and_from_declared_ones_over_them() -> None:
    declared = Graph("files")
    declared.export(Machine("w-1", Address("nodepool", "workers", "1"), "workers", "new", "r", {}, (), {}))
    recorded = {
        "nodepool/workers[0]": {"node": "w-0", "cluster": "old"},
        "nodepool/workers[1]": {"node": "w-1", "cluster": "old"},
        "mesh/m[w-0]": {"node": "w-0", "cluster": "not asked"},
    }

    assert changes.places(declared, recorded) == {
        "w-0": changes.Place("w-0", "old", "workers"),
        "w-1": changes.Place("w-1", "new", "workers"),
    }


def test_changes_come_in_the_order_of_the_graph_whatever_the_engine_did_first() -> None:
    declared = graph(file("z"), file("a"))
    events = [step("create", "a", None, {}), step("delete", "gone", {}, None), step("create", "z", None, {})]
    orders = [[0, 1, 2], [2, 1, 0], [1, 2, 0]]
    found = [
        [
            change.address
            for change in changes.changes(gather(*(e for i in order for e in events[i])).result, context(declared))
        ]
        for order in orders
    ]
    assert found == [["test/gone", "test/z", "test/a"]] * 3


def failed(op: str, name: str, error: str) -> list[dict[str, Any]]:
    """A step that fails, as the engine tells it: by an error of its own before the end."""
    said = {"diagnosticEvent": {"message": error, "severity": "error", "urn": URN + name}}
    return [event("resourcePreEvent", op, name), said, event("resOpFailedEvent", op, name, None, {})]


def test_what_was_not_begun_any_more_has_not_failed() -> None:
    result = gather(*failed("create", "a", NOT_BEGUN), *failed("create", "b", "no"), {"summaryEvent": {}}).result

    assert (set(result.failures), set(result.refused)) == ({"test/b"}, {"test/a"})
    assert result.complaints == []
    assert result.settled == set()


def test_advice_on_a_time_limit_names_the_pool_or_else_the_declaration() -> None:
    late = f"test/a: create {OVERTIME} of 1 s and was given up"
    gathered = gather(*failed("create", "a", late), *failed("create", "b", "no"), {"summaryEvent": {}}).result
    of_pool = graph(file("a"), file("b"))
    address = Address.parse("test/a")
    of_pool.resources[address] = replace(of_pool.resources[address], pool="workers")

    def told(declared: Graph) -> list[str]:
        return [it.error for it in result.outcome(gathered, context(declared), (), {}, interrupted=False).failures]

    advice = "If it needs more, raise `spec.timeouts.create` of the NodePool workers."
    assert told(of_pool) == [f"{late}\n{advice}", "no"]
    assert told(graph(file("a"), file("b"))) == [f"{late}\nIt is declared by test/a.", "no"]
