"""The state after a run that was cut off, from the state before it and its journal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from swarmctl.state.checkpoint import SECRET, SIGNATURE, UNKNOWN_VALUE, decode, snapshot
from swarmctl.state.journal import Intent, Record, Result
from swarmctl.state.model import ResourceHeader, RunHeader
from swarmctl.state.replay import replay

TYPE = "swarm:test:File"
BASE = "urn:pulumi:files::swarmctl"
STACK = f"{BASE}::pulumi:pulumi:Stack::files"


def urn(name: str, type_: str = TYPE) -> str:
    return f"{BASE}::{type_}::test/{name}"


def header(token: int = 7, **needs: tuple[str, ...]) -> RunHeader:
    resources = {
        f"test/{name}": ResourceHeader(TYPE, tuple(f"test/{it}" for it in others), {"ref": (f"test/{others[0]}",)})
        if others
        else ResourceHeader(TYPE)
        for name, others in needs.items()
    }
    return RunHeader("files", token, 0, "update", "me@here", resources=resources)


def made(n: int, name: str, **inputs: Any) -> list[Record]:
    return [Intent(n, "create", urn(name), {"name": name, **inputs}), Result(n, {"token": f"token of {name}"})]


def resources(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Our own resources by name; and whether what the engine asks of a checkpoint holds."""
    recorded = decode(json.dumps(document).encode())["checkpoint"]["latest"]["resources"]
    known: set[str] = set()
    for it in recorded:
        used = [it.get("parent"), (it.get("provider") or "").rpartition("::")[0], *(it.get("dependencies") or ())]
        used.append(it.get("deletedWith"))
        used += [need for needs in (it.get("propertyDependencies") or {}).values() for need in needs]
        assert {need for need in used if need} <= known, f"{it['urn']} comes before what it needs"
        known.add(it["urn"])
    assert len(known) == len(recorded)
    return {it["urn"].rpartition("/")[2]: it for it in recorded if it["type"].startswith("swarm:")}


@pytest.fixture
def before() -> dict[str, Any]:
    """`b` and `c` depend on `a`."""
    plan = header(1, a=(), b=("a",), c=("a",))
    return replay(None, plan, [*made(1, "a"), *made(2, "b", ref="x"), *made(3, "c", ref="y")])


def test_from_nothing_come_the_stack_its_provider_and_what_was_created(before: dict[str, Any]) -> None:
    found = before["checkpoint"]["latest"]["resources"]

    assert [it["type"] for it in found] == ["pulumi:pulumi:Stack", "pulumi:providers:swarm", TYPE, TYPE, TYPE]
    assert resources(before)["b"] == {
        "urn": urn("b"),
        "custom": True,
        "id": "test/b",
        "type": TYPE,
        "inputs": {"name": "b", "ref": "x"},
        "outputs": {"token": "token of b"},
        "parent": STACK,
        "provider": f"{found[1]['urn']}::{found[1]['id']}",
        "dependencies": [urn("a")],
        "propertyDependencies": {"name": [], "ref": [urn("a")]},
    }


def test_a_run_that_began_nothing_changes_nothing(before: dict[str, Any]) -> None:
    assert replay(before, header(), []) == before
    assert snapshot(replay(None, header(), [])).resources == {}


def test_the_checkpoint_that_it_begins_from_is_left_as_it_is(before: dict[str, Any]) -> None:
    content = json.dumps(before)
    replay(before, header(b=("c",)), [Intent(1, "update", urn("b"), {}), Result(1, {}), Intent(2, "delete", urn("a"))])
    assert json.dumps(before) == content


def test_the_same_journal_gives_the_same_state() -> None:
    assert replay(None, header(a=()), made(1, "a")) == replay(None, header(a=()), made(1, "a"))


def test_what_was_begun_and_not_ended_is_recorded_as_begun() -> None:
    records = [*made(1, "a"), Intent(2, "create", urn("b"), {"name": "b"})]
    found = resources(replay(None, header(a=(), b=("a",)), records))

    assert found["b"]["inputs"] == {"name": "b"}
    assert found["b"]["id"] == "test/b"
    assert found["b"]["dependencies"] == [urn("a")]
    assert found["b"]["initErrors"] == ["a run that was cut off had begun to create it"]
    assert "outputs" not in found["b"]


def test_what_failed_half_way_is_recorded_with_the_reason_and_what_left_nothing_is_not() -> None:
    records: list[Record] = [
        Intent(1, "create", urn("a"), {"name": "a"}),
        Intent(2, "create", urn("b"), {"name": "b"}),
        Result(2, error="the machine is gone", left=False),
        Result(1, error="no room"),
    ]
    found = resources(replay(None, header(a=(), b=()), records))

    assert found.keys() == {"a"}
    assert found["a"]["initErrors"] == ["no room"]


def test_what_is_made_after_a_failure_is_whole() -> None:
    failed = replay(None, header(a=()), [Intent(1, "create", urn("a"), {"n": 1}), Result(1, error="no room")])

    mended = replay(failed, header(8, a=()), [Intent(1, "update", urn("a"), {"n": 2}), Result(1, {"token": "t"})])

    found = resources(mended)["a"]
    assert "initErrors" not in found
    assert (found["inputs"], found["outputs"]) == ({"n": 2}, {"token": "t"})


def test_an_update_counts_when_it_was_done(before: dict[str, Any]) -> None:
    records: list[Record] = [
        Intent(1, "update", urn("a"), {"name": "a", "size": 2}, {"name": "a"}),
        Intent(2, "update", urn("b"), {"name": "b"}),
        Intent(3, "update", urn("c"), {"name": "c"}),
        Result(1, {"token": "new"}),
        Result(3, error="no room"),
    ]
    found = resources(replay(before, header(a=(), b=("a",), c=("a",)), records))

    assert (found["a"]["inputs"], found["a"]["outputs"]) == ({"name": "a", "size": 2}, {"token": "new"})
    assert found["a"]["propertyDependencies"] == {"name": [], "size": []}
    assert found["b"]["dependencies"] == [urn("a")]
    assert (found["b"]["inputs"], found["c"]["inputs"]) == ({"name": "b", "ref": "x"}, {"name": "c", "ref": "y"})


def test_an_update_that_failed_leaves_what_it_depends_on_as_well(before: dict[str, Any]) -> None:
    records: list[Record] = [Intent(1, "update", urn("b"), {"name": "b"}), Result(1, error="no room")]
    found = resources(replay(before, header(a=(), b=("c",), c=()), records))
    assert found["b"]["dependencies"] == [urn("a")]
    assert "dependencies" not in found["c"], "the run had come to what it would have depended on"


def test_a_removal_counts_when_it_was_done(before: dict[str, Any]) -> None:
    records: list[Record] = [
        Intent(1, "delete", urn("c"), {"name": "c"}),
        Intent(2, "delete", urn("b"), {"name": "b"}),
        Result(1, {}),
    ]
    assert resources(replay(before, header(), records)).keys() == {"a", "b"}


def test_what_depended_on_something_that_is_gone_does_not_name_it_any_more(before: dict[str, Any]) -> None:
    found = resources(replay(before, header(), [Intent(1, "delete", urn("a")), Result(1, {})]))

    assert found.keys() == {"b", "c"}
    assert "dependencies" not in found["b"]
    assert found["b"]["propertyDependencies"] == {"name": [], "ref": []}


def test_what_would_have_gone_with_something_that_is_gone_goes_by_itself(before: dict[str, Any]) -> None:
    """The engine takes no checkpoint in which something is to go with what is not there."""
    for resource in before["checkpoint"]["latest"]["resources"]:
        if resource["urn"] in (urn("b"), urn("c")):
            resource["deletedWith"] = urn("a") if resource["urn"] == urn("b") else urn("b")
    found = resources(replay(before, header(), [Intent(1, "delete", urn("a")), Result(1, {})]))
    assert "deletedWith" not in found["b"]
    assert found["c"]["deletedWith"] == urn("b"), "what is still there is named on"


@pytest.mark.parametrize("ended", range(5))
def test_a_replacement_is_recorded_as_far_as_it_came(before: dict[str, Any], ended: int) -> None:
    steps = [
        Intent(1, "delete", urn("a"), {"name": "a"}),
        Result(1, {}),
        Intent(2, "create", urn("a"), {"name": "a", "size": 2}),
        Result(2, {"token": "new"}),
    ]
    found = resources(replay(before, header(a=(), b=("a",), c=("a",)), steps[:ended]))

    if ended == 2:
        assert found.keys() == {"b", "c"}
        return
    assert found["a"]["inputs"] == ({"name": "a"} if ended < 2 else {"name": "a", "size": 2})
    assert ("initErrors" in found["a"]) == (ended == 3)
    if ended == 4:
        assert found["a"]["outputs"] == {"token": "new"}
    assert found["b"]["dependencies"] == [urn("a")], "it comes back before what depends on it"


def test_what_moved_is_recorded_under_its_new_address(before: dict[str, Any]) -> None:
    moved = RunHeader(
        "files",
        7,
        1,
        "update",
        "me@here",
        resources={
            "test/new": ResourceHeader(TYPE, formerly="test/a"),
            "test/b": ResourceHeader(TYPE, ("test/new",), {"ref": ("test/new",)}),
        },
    )
    found = resources(replay(before, moved, [Intent(1, "update", urn("b"), {"ref": "z"}), Result(1, {})]))

    assert found.keys() == {"new", "b", "c"}
    assert (found["new"]["inputs"], found["new"]["id"]) == ({"name": "a"}, "test/a")
    assert found["b"]["dependencies"] == [urn("new")]
    assert found["c"]["dependencies"] == [urn("new")], "also of what the run had not come to"
    assert found["c"]["propertyDependencies"]["ref"] == [urn("new")]


def test_what_moved_and_was_changed_is_one_thing(before: dict[str, Any]) -> None:
    moved = RunHeader("files", 7, 1, "update", "me", resources={"test/new": ResourceHeader(TYPE, formerly="test/a")})
    records = [Intent(1, "update", urn("new"), {"name": "new"}), Result(1, {})]

    found = resources(replay(before, moved, records))

    assert found.keys() == {"new", "b", "c"}
    assert found["new"]["inputs"] == {"name": "new"}


def test_runs_that_were_cut_off_one_after_the_other_are_laid_over_each_other() -> None:
    first = replay(None, header(1, a=(), b=()), [*made(1, "a"), Intent(2, "create", urn("b"), {"n": 1})])
    second = replay(first, header(2, a=(), b=()), [Intent(1, "update", urn("b"), {"n": 2}), Result(1, {})])
    third = replay(second, header(3), [Intent(1, "delete", urn("a")), Result(1, {})])

    found = resources(third)
    assert found.keys() == {"b"}
    assert found["b"]["inputs"] == {"n": 2}
    assert len(third["checkpoint"]["latest"]["resources"]) == 3, "one stack, one provider"


def test_dependencies_that_turned_round_make_no_circle(before: dict[str, Any]) -> None:
    """`a`, which the run left as it was, did not wait for anything; now it waits for `b`, which waited for it."""
    turned = header(7, b=(), a=("b",), c=("a",))
    records: list[Record] = [Intent(1, "update", urn("c"), {"ref": "new"}), Result(1, {})]

    found = resources(replay(before, turned, records))

    assert found["a"]["dependencies"] == [urn("b")]
    assert "dependencies" not in found["b"]


def test_what_the_run_had_not_come_to_keeps_its_dependencies(before: dict[str, Any]) -> None:
    records: list[Record] = [Intent(1, "update", urn("a"), {"name": "a"}), Result(1, {})]
    found = resources(replay(before, header(7, a=(), b=()), records))
    assert found["b"]["dependencies"] == [urn("a")]


def test_secrets_what_is_not_known_and_what_has_no_value_are_left_out() -> None:
    inputs = {
        "name": "a",
        "nothing": None,
        "key": {SIGNATURE: SECRET},
        "later": UNKNOWN_VALUE,
        "deep": {"key": {SIGNATURE: SECRET}, "list": [UNKNOWN_VALUE, 1], "n": 1},
    }
    found = resources(replay(None, header(a=()), [Intent(1, "create", urn("a"), inputs), Result(1, inputs)]))["a"]

    assert found["inputs"] == found["outputs"] == {"name": "a", "deep": {"list": [None, 1], "n": 1}}


def test_types_that_are_not_ours_are_left_out() -> None:
    records = [Intent(1, "create", urn("a", "aws:s3:Bucket"), {}), Result(1, {}), *made(2, "b")]
    assert resources(replay(None, header(a=(), b=()), records)).keys() == {"b"}


def test_a_result_without_its_intent_tells_nothing(before: dict[str, Any]) -> None:
    assert resources(replay(before, header(), [Result(5, {})])) == resources(before)


def test_protection_is_recorded() -> None:
    plan = RunHeader("files", 7, 0, "update", "me", resources={"test/a": ResourceHeader(TYPE, protect=True)})
    assert resources(replay(None, plan, made(1, "a")))["a"]["protect"] is True


def test_a_successor_takes_the_place_of_what_waits_for_it(before: dict[str, Any]) -> None:
    """The engine marks so what it has removed and not made anew yet."""
    next(it for it in before["checkpoint"]["latest"]["resources"] if it["urn"] == urn("a"))["pendingReplacement"] = True

    found = resources(replay(before, header(a=()), made(1, "a", size=3)))["a"]

    assert "pendingReplacement" not in found
    assert found["inputs"] == {"name": "a", "size": 3}


def test_ten_thousand_in_a_row_that_came_in_the_wrong_order() -> None:
    plan = header(7, **{f"f{i}": (f"f{i - 1}",) if i else () for i in range(10_000)})
    records = [record for i in reversed(range(10_000)) for record in made(i, f"f{i}")]
    assert len(resources(replay(None, plan, records))) == 10_000


@pytest.mark.parametrize(("undone", "stays"), [(None, False), (("test/b",), False), (("test/c",), True), ((), True)])
def test_a_guarded_update_that_nobody_confirmed_is_left_as_it_was(
    before: dict[str, Any], undone: tuple[str, ...] | None, stays: bool
) -> None:
    old, new = {"name": "b", "ref": "x"}, {"name": "b", "ref": "z"}
    records: list[Record] = [Intent(1, "update", urn("b"), new, old, guarded=True), Result(1, {"token": "t"})]
    found = resources(replay(before, header(a=(), b=("a",), c=("a",)), records, undone=undone))
    assert found["b"]["inputs"]["ref"] == ("z" if stays else "x")
