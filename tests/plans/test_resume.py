"""A plan that was begun and interrupted goes on by the same file: with its own changes and with no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from swarmctl.errors import PlanRefused
from swarmctl.plans import file, signing
from swarmctl.plans.model import Action, Change, Plan, Preconditions, PropertyDiff
from swarmctl.plans.saved import SavedPlan

KEY = "mesh/m[b].publicKey"
PEER = {"endpoint": "10.0.0.2:51820", "publicKey": {"unknown": KEY}, "allowedIps": ["10.88.0.2/32"]}


def change(address: str, action: Action, *properties: PropertyDiff, type_: str = "t", node: str = "n") -> Change:
    return Change(address, type_, action, node, properties=properties)


def add(path: str, after: Any) -> PropertyDiff:
    return PropertyDiff(path, "add", after=after)


def update(path: str, before: Any, after: Any) -> PropertyDiff:
    return PropertyDiff(path, "update", before, after)


def drop(path: str, before: Any) -> PropertyDiff:
    return PropertyDiff(path, "delete", before)


CREATE = change("mesh/m[b]", Action.CREATE, add("mtu", 1420), add("addresses", ["10.88.0.2/16"]), node="b")
PEERS = change("mesh/m[a/peers]", Action.UPDATE, add("peers.b", PEER), node="a")
ANEW = change("nodepool/p[2]", Action.REPLACE, PropertyDiff("region", "update", "eu", "us", True, "it decides the net"))
GONE = change("mesh/m[c]", Action.DELETE, drop("mtu", 1420))
ADOPT = change("mesh/m[d]", Action.ADOPT, update("mtu", 1300, 1420))
OPEN = change("securitypolicy/s[a]", Action.UPDATE, add("rules.flow:x:ip", "accept"), drop("rules.old", "accept"))


@pytest.fixture
def saved(tmp_path: Path) -> SavedPlan:
    plan = Plan("lab", (CREATE, PEERS, ANEW, GONE, ADOPT, OPEN), 3)
    sign = signing.with_local_key(tmp_path / "key")
    return file.save(tmp_path / "plan.json", plan, Preconditions("d", "g", "s", {}), sign)


def resume(saved: SavedPlan, *changes: Change, outputs: Any = None) -> str:
    """Why it can't go on; empty when it can."""
    try:
        file.compare_resumed(saved, Plan("lab", changes, 9), outputs)
    except PlanRefused as refused:
        return "\n".join(refused.details)
    return ""


def filled(key: str = "KEY=") -> Change:
    return change("mesh/m[a/peers]", Action.UPDATE, add("peers.b", {**PEER, "publicKey": key}), node="a")


def test_all_of_it_some_of_it_and_nothing_of_it_may_be_left(saved: SavedPlan) -> None:
    whole = (CREATE, PEERS, ANEW, GONE, ADOPT, OPEN)
    assert resume(saved, *whole) == ""
    for left in range(len(whole)):
        assert resume(saved, *whole[left + 1 :]) == ""


@pytest.mark.parametrize(
    "left",
    [
        change("mesh/m[b]", Action.ADOPT, update("mtu", 1300, 1420), node="b"),
        change("mesh/m[b]", Action.ADOPT, node="b"),
        change("mesh/m[b]", Action.UPDATE, add("addresses", ["10.88.0.2/16"]), drop("extra", 1), node="b"),
        change("nodepool/p[2]", Action.CREATE, add("region", "us"), add("mtu", 1500)),
        change("nodepool/p[2]", Action.ADOPT, update("region", "eu", "us")),
        change("mesh/m[d]", Action.UPDATE, update("mtu", 1200, 1420)),
        change("securitypolicy/s[a]", Action.UPDATE, drop("rules.old", "drop")),
    ],
    ids=lambda it: f"{it.address} {it.action} {len(it.properties)}",
)
def test_what_is_half_done_is_ended_as_it_was_planned(saved: SavedPlan, left: Change) -> None:
    assert resume(saved, left) == ""


@pytest.mark.parametrize(
    ("left", "reason"),
    [
        (change("mesh/m[e]", Action.CREATE, add("mtu", 1)), "mesh/m[e]: not in the plan, create of 1 property now"),
        (change("mesh/m[b]", Action.DELETE, node="b"), "create of 2 properties in the plan, delete of 0"),
        (
            change("mesh/m[b]", Action.REPLACE, add("mtu", 1420), node="b"),
            "create of 2 properties in the plan, replace",
        ),
        (
            change("mesh/m[a/peers]", Action.CREATE, add("peers.b", PEER), node="a"),
            "update of 1 property in the plan, cr",
        ),
        (
            change(
                "securitypolicy/s[a]", Action.REPLACE, add("rules.flow:x:ip", "accept"), drop("rules.old", "accept")
            ),
            "update of 2 properties in the plan, replace of 2",
        ),
        (change("securitypolicy/s[a]", Action.ADOPT), "update of 2 properties in the plan, adopt"),
        (change("mesh/m[c]", Action.UPDATE, update("mtu", 1, 2)), "delete of 1 property in the plan, update"),
        (change("mesh/m[d]", Action.CREATE, add("mtu", 1420)), "adopt of 1 property in the plan, create"),
        (change("mesh/m[b]", Action.CREATE, add("mtu", 1421), node="b"), "mtu: the plan ends with another value"),
        (change("mesh/m[b]", Action.UPDATE, drop("mtu", 1420), node="b"), "mtu: the plan ends with another value"),
        (change("mesh/m[b]", Action.CREATE, add("state", "up"), node="b"), "state: the plan leaves it as it is"),
        (change("mesh/m[b]", Action.CREATE, node="z"), "node b in the plan, z now"),
        (change("mesh/m[b]", Action.CREATE, node="b", type_="other"), "type t in the plan, other now"),
        (change("nodepool/p[2]", Action.CREATE, add("region", "ap")), "region: the plan ends with another value"),
        (change("securitypolicy/s[a]", Action.UPDATE, add("rules.more", "accept")), "rules.more: the plan leaves it"),
        (
            change("securitypolicy/s[a]", Action.UPDATE, add("rules.old", "accept")),
            "rules.old: the plan ends with anot",
        ),
        (
            change("securitypolicy/s[a]", Action.UPDATE, add("rules", {"flow:x:ip": "accept"})),
            "rules: the plan leaves it",
        ),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_what_is_not_the_plans_is_refused(saved: SavedPlan, left: Change, reason: str) -> None:
    assert reason in resume(saved, left)


def test_an_unknown_value_may_be_filled_once_its_source_is_there(saved: SavedPlan) -> None:
    assert resume(saved, filled()) == ""
    deeper = change("mesh/m[a/peers]", Action.UPDATE, update("peers.b.publicKey", "OLD=", "KEY="), node="a")
    assert resume(saved, deeper) == ""


def test_it_is_not_filled_while_its_source_is_still_to_be_made(saved: SavedPlan) -> None:
    assert f"it waits for {KEY}, which is not made yet, and has a value" in resume(saved, CREATE, filled())


def test_it_is_filled_with_what_its_source_is(saved: SavedPlan) -> None:
    assert resume(saved, filled("KEY="), outputs={"mesh/m[b]": {"publicKey": "KEY="}}) == ""
    for outputs in ({"mesh/m[b]": {"publicKey": "OTHER="}}, {"mesh/m[z]": {"publicKey": "KEY="}}, {}):
        assert f"it is not what {KEY} is" in resume(saved, filled("KEY="), outputs=outputs)


def test_one_source_stands_for_one_value(tmp_path: Path) -> None:
    both = [change(f"mesh/m[{node}/peers]", Action.UPDATE, add("peers.b", PEER), node=node) for node in ("a", "c")]
    sign = signing.with_local_key(tmp_path / "key")
    plan = Plan("lab", (CREATE, *both), 3)
    saved = file.save(tmp_path / "plan.json", plan, Preconditions("d", "g", "s", {}), sign)
    other = change("mesh/m[c/peers]", Action.UPDATE, add("peers.b", {**PEER, "publicKey": "X="}), node="c")
    assert resume(saved, filled("X="), other) == ""
    assert f"{KEY} stands for two values" in resume(saved, filled("KEY="), other)


def test_what_surrounds_an_unknown_value_is_as_it_was_planned(saved: SavedPlan) -> None:
    moved = add("peers.b", {**PEER, "publicKey": "KEY=", "endpoint": "10.6.6.6:51820"})
    assert "peers.b: the plan ends with another value" in resume(
        saved, change("mesh/m[a/peers]", Action.UPDATE, moved, node="a")
    )


def test_a_known_value_does_not_become_unknown_or_of_another_source(saved: SavedPlan) -> None:
    unknown = change("mesh/m[b]", Action.CREATE, add("mtu", {"unknown": "mesh/m[a].mtu"}), node="b")
    assert "mtu: the plan ends with another value" in resume(saved, unknown)
    other = add("peers.b", {**PEER, "publicKey": {"unknown": "mesh/m[z].publicKey"}})
    assert "another value" in resume(saved, change("mesh/m[a/peers]", Action.UPDATE, other, node="a"))


def test_true_is_not_one(tmp_path: Path) -> None:
    sign = signing.with_local_key(tmp_path / "key")
    plan = Plan("lab", (change("mesh/m[b]", Action.UPDATE, add("forwarding", 1)),), 0)
    saved = file.save(tmp_path / "plan.json", plan, Preconditions("d", "g", "s", {}), sign)
    assert "another value" in resume(saved, change("mesh/m[b]", Action.UPDATE, add("forwarding", True)))


def test_another_part_of_the_stack_is_not_the_rest_of_the_plan(saved: SavedPlan) -> None:
    with pytest.raises(PlanRefused, match="of the whole stack, and this would be of mesh/m"):
        file.compare_resumed(saved, Plan("lab", (), 0, partial=("mesh/m",)))
