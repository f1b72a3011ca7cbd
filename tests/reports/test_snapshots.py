"""Whole reports, compared to the letter. After a wanted change: `UPDATE_SNAPSHOTS=1 pytest tests/reports`."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from swarmctl.errors import SwarmError
from swarmctl.operations.running import Run
from swarmctl.plans.model import Action, Change, Plan, PropertyDiff
from swarmctl.reports import drift, outcome, plan
from swarmctl.reports.folding import fold
from tests.reports.plans import EVERYTHING, MANY, NOTHING, PART

FOLDER = Path(__file__).parent / "snapshots"
# Read once: tests run in a scrubbed environment.
UPDATE = bool(os.environ.get("UPDATE_SNAPSHOTS"))


def assert_snapshot(name: str, text: str) -> None:
    """Compare with the file `name`, or write it when asked to."""
    path = FOLDER / name
    if UPDATE:
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path} differs"


@dataclass
class Failure:
    address: str
    node: str
    error: str


@pytest.mark.parametrize(
    ("name", "made", "color", "width"),
    [
        ("everything", EVERYTHING, False, 100),
        ("everything-narrow", EVERYTHING, False, 50),
        ("everything-color", EVERYTHING, True, 100),
        ("many", MANY, False, 100),
        ("nothing", NOTHING, False, 100),
        ("part", PART, False, 100),
    ],
)
def test_plan(name: str, made: Plan, color: bool, width: int) -> None:
    assert_snapshot(f"plan-{name}.txt", plan.render(made, color=color, width=width))


@pytest.mark.parametrize(("name", "made"), [("everything", EVERYTHING), ("nothing", NOTHING)])
def test_drift(name: str, made: Plan) -> None:
    assert_snapshot(f"drift-{name}.txt", drift.render(made, color=False, width=100))


def test_one_timeout_for_all_steps_is_one_line() -> None:
    changes = tuple(replace(change, timeout=600) for change in MANY.changes)
    told = plan.render(replace(MANY, changes=changes), color=False, width=100)
    assert told.count("10m") == 1
    assert "each step may take 10m" in told


def test_outcomes() -> None:
    done = EVERYTHING.changes
    runs = [
        Run(NOTHING),
        Run(EVERYTHING, done, removed=("stray-7",), seconds=12.3),
        Run(EVERYTHING, done[:3], (Failure("nodepool/control[1]", "control-1", "no space"),), seconds=71),  # type: ignore[arg-type]
        Run(EVERYTHING, (), interrupted=True, seconds=0.31),
    ]
    text = "".join(outcome.render(run, color=False, nothing="Nothing to change.", done="Applied") for run in runs)
    assert_snapshot("outcomes.txt", text)


def test_machines_that_were_left_alone_are_not_said_to_need_nothing() -> None:
    left = {"n1": SwarmError("n1 refuses connections"), "n2": SwarmError("n2 refuses connections")}
    none = Plan("metal", (), 0, left_alone=("n1", "n2"))
    assert plan.summary(none, color=False) == "Plan: nothing could be compared; 2 machines left alone: n1, n2"
    some = plan.summary(replace(none, same=5), color=False)
    assert some == "Plan: 5 unchanged; nothing to change; 2 machines left alone: n1, n2"
    assert plan.summary(replace(EVERYTHING, left_alone=("n1",)), color=False).endswith("; 1 machine left alone: n1")

    def told(plan: Plan) -> str:
        return outcome.render(Run(plan, silent=left), color=False, nothing="Nothing to change.", done="Applied")

    assert told(none) == "Nothing could be compared.\n"
    assert told(replace(none, same=5)) == "Nothing to change on what could be read. (5 resources unchanged)\n"


def test_no_snapshot_holds_what_a_terminal_would_obey() -> None:
    for path in FOLDER.iterdir():
        text = path.read_text(encoding="utf-8")
        if "color" not in path.name:
            assert all(character == "\n" or character.isprintable() for character in text), path


def test_every_snapshot_is_still_compared() -> None:
    made = {
        f"plan-{name}.txt"
        for name in ("everything", "everything-narrow", "everything-color", "many", "nothing", "part")
    }
    assert {path.name for path in FOLDER.iterdir()} == made | {
        "drift-everything.txt",
        "drift-nothing.txt",
        "outcomes.txt",
    }


@pytest.mark.parametrize("action", [Action.UPDATE, Action.REPLACE])
def test_updates_that_differ_are_never_folded(action: Action) -> None:

    changes = tuple(
        Change(
            f"mesh/backbone[workers-{number}]",
            "swarm:mesh:Interface",
            action,
            f"workers-{number}",
            "core",
            "workers",
            properties=(PropertyDiff("mtu", "update", 1420, 1400 + number),),
        )
        for number in (2, 3)
    )
    text = plan.render(Plan("lab", changes, 0), color=False, width=100)
    assert "1402" in text
    assert "1403" in text
    assert "on 2 nodes" not in text


def test_what_differs_by_names_and_addresses_only_is_written_once() -> None:
    from swarmctl.plans.model import HostEffect

    nodes = ("w-0", "w-1", "w-2")
    changes = tuple(
        Change(
            f"mesh/m[{node}/peers]",
            "swarm:mesh:Peers",
            Action.UPDATE,
            node,
            "core",
            "w",
            properties=tuple(
                PropertyDiff(f"peers.{other}.persistentKeepalive", "update", 25, 15) for other in nodes if other != node
            ),
            effects=tuple(
                HostEffect("update", f"peer {other} keepalive 25s → 15s") for other in nodes if other != node
            ),
        )
        for node in nodes
    )

    lines = plan.render(Plan("lab", changes, 0), color=False, width=100).splitlines()

    assert lines[2:6] == [
        "    ~ update  mesh/m[w-0/peers]",
        "      alike on 3 nodes, with names and addresses of their own: w-0, w-1, w-2",
        "      ~ peers.w-1.persistentKeepalive: 25 → 15  (and 1 more alike)",
        "",
    ]


def test_replacements_that_differ_in_keys_and_identities_alone_are_folded() -> None:
    def replaced(node: str, key: str, identity: str) -> Change:
        return Change(
            f"mesh/m[{node}/peers]",
            "swarm:mesh:Peers",
            Action.REPLACE,
            node=node,
            properties=(
                PropertyDiff("machine", "update", identity, {"unknown": "x"}, replaces=True, reason="they go with it"),
                PropertyDiff("peers.a.publicKey", "update", key, {"unknown": "y"}),
            ),
        )

    one, two = replaced("n1", "A" * 43 + "=", "b61f974e1f0510b6"), replaced("n2", "B" * 43 + "=", "a0143eecccd07457")
    assert len(fold([one, two])) == 1
    other = replaced("n3", "not a key", "a0143eecccd07457")
    assert len(fold([one, other])) == 2
