"""Secrets stand in plans as a keyed digest, wherever they are, and in reports as nothing at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from swarmctl.engine.changes import Context, changes, drift
from swarmctl.engine.events import Gathered, Moment, Op, State, Step
from swarmctl.kinds.base import Impact, differences
from swarmctl.plans import encode
from swarmctl.plans.model import Plan
from swarmctl.plans.values import hidden, is_secret, secret_at, unknowns
from swarmctl.reports import json_v1
from swarmctl.reports import plan as text


def secret(name: str, digest: str) -> dict[str, Any]:
    return {"secret": {"env": name}, "hmac": f"hmac-sha256:{digest}"}


class Kind:
    """A resource type that compares everything and says nothing."""

    def diff(self, old: Any, new: Any) -> Any:
        return differences(old, new)

    def outputs(self) -> tuple[str, ...]:
        return ()

    def effects(self, old: Any, new: Any) -> tuple[Any, ...]:
        return ()

    def impact(self, old: Any, new: Any) -> Impact:
        return Impact()


def planned(old: dict[str, Any], new: dict[str, Any]) -> Plan:
    """The plan, and the drift that the same difference would be."""
    gathered = Gathered()
    before, after = State(old, {}), State(new, {})
    gathered.steps["mesh/m[a]"] = Step(Moment.END, Op.UPDATE, "mesh/m[a]", "t", before, after)
    gathered.refreshed["mesh/m[a]"] = Step(Moment.END, Op.REFRESH, "mesh/m[a]", "t", before, after)
    context = Context(lambda token: Kind())  # type: ignore[arg-type,return-value]
    return Plan("lab", changes(gathered, context), 0, drift(gathered, context))


@pytest.mark.parametrize(
    ("old", "new", "paths"),
    [
        (secret("TOKEN", "aa"), secret("TOKEN", "bb"), ["password"]),
        (secret("TOKEN", "aa"), secret("OTHER", "bb"), ["password"]),
        (secret("TOKEN", "aa"), secret("OTHER", "aa"), ["password"]),
        (secret("TOKEN", "aa"), "plain", ["password"]),
        ("plain", secret("TOKEN", "aa"), ["password"]),
        ({"plain": 1, "more": 2}, secret("TOKEN", "aa"), ["password"]),
        ({"first": secret("TOKEN", "aa")}, {"first": secret("TOKEN", "bb")}, ["password.first"]),
        ({}, {"first": secret("TOKEN", "bb")}, ["password.first"]),
        ([secret("TOKEN", "aa")], [secret("TOKEN", "bb")], ["password"]),
    ],
)
def test_a_secret_is_one_property_and_shows_neither_its_place_nor_its_parts(old: Any, new: Any, paths: Any) -> None:
    plan = planned({"password": old, "user": "a"}, {"password": new, "user": "b"})
    assert [diff.path for diff in plan.changes[0].properties] == [*paths, "user"]
    for told in (
        json.dumps(encode.plan(plan)),
        json_v1.text(json_v1.plan(plan, {})),
        json_v1.text(json_v1.drift(plan, {})),
    ):
        assert "env" not in told
        assert "TOKEN" not in told
        assert "hmac-sha256:" in told
    shown = text.render(plan, color=False, width=200)
    assert "(secret)" in shown
    assert not any(word in shown for word in ("hmac", "TOKEN", "OTHER", "env"))


def test_whether_a_secret_changes_can_be_seen() -> None:
    same, other = secret("TOKEN", "aa"), secret("TOKEN", "bb")
    assert hidden(same) == {"secret": "hmac-sha256:aa"}
    assert hidden({"a": [same, other]}) == {"a": [{"secret": "hmac-sha256:aa"}, {"secret": "hmac-sha256:bb"}]}
    assert hidden({"secret": {"file": "keys/token"}}) == {"secret": True}, "its value was not read"


def test_labels_that_are_called_secret_are_none() -> None:
    for value in ({"secret": "yes"}, {"secret": "yes", "hmac": "no"}, {"secret": True}, {"secret": {}, "more": 1}):
        assert not is_secret(value)
        assert hidden(value) == value


def test_a_path_ends_at_the_first_secret() -> None:
    inputs = {"a": {"b": secret("T", "aa")}}
    assert secret_at(("a", "b", "hmac"), {}, inputs) == ("a", "b")
    assert secret_at(("a", "b", "secret", "env"), inputs, {}) == ("a", "b")
    assert secret_at(("a", "b"), inputs, inputs) == ("a", "b")
    assert secret_at(("a", "c", "d"), inputs, inputs) == ("a", "c", "d")


def test_unknown_values_are_found_wherever_they_are() -> None:
    value = {"a": [{"unknown": "x/y.z"}, 1], "b": {"c": {"unknown": "p/q[r].s"}}}
    assert list(unknowns(value)) == ["x/y.z", "p/q[r].s"]
