"""Saved plans through the whole command line, on the real engine: whatever moves, nothing is touched."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bench.costless.world import VARIABLE, Marks
from swarmctl.plans import signing
from tests.faults.stack import Stack, make
from tests.plans.sealing import laid_out, sealed

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("plan contract")]

BEFORE = {"web": {"count": 3, "nodes": 3}, "app": {"count": 3, "after": "web"}}
AFTER = {"web": {"count": 3, "nodes": 3, "version": 2}, "app": {"count": 3, "after": "web"}, "db": {"count": 2}}
AFTER["db"] = {"count": 2, "after": "new"}
AFTER["new"] = {"count": 1}


@pytest.fixture(scope="module")
def engine() -> Path:
    """The real engine's path."""
    from swarmctl.engine.install import locate

    return locate().path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, engine: Path) -> Stack:
    """Applied, and then declared otherwise; the plan of that is saved. Nobody changes it: tests work on copies."""
    made = make(tmp_path_factory.mktemp("contract"))
    made.env["SWARMCTL_ENGINE"] = str(engine)
    made.declare(**BEFORE)
    made("apply", "--yes")
    made.declare(**AFTER)
    made("plan", "--out", "plan.json", "--detailed-exitcode", code=20)
    return made


@pytest.fixture
def stack(base: Stack, tmp_path: Path) -> Iterator[Stack]:
    """A copy of all of it, in another place."""
    made = copied(base, tmp_path / "copy")
    yield made
    made.end()


def copied(stack: Stack, root: Path) -> Stack:
    shutil.copytree(stack.root, root)
    env = stack.env | {VARIABLE: str(root / "world"), "XDG_DATA_HOME": str(root / "data"), "TMPDIR": str(root / "tmp")}
    return replace(stack, root=root, env=env, runs=[])


def everything(stack: Stack) -> object:
    """What an apply could have touched: the world's log, and the store but for the lease."""
    files = {
        str(path.relative_to(stack.root)): path.read_bytes()
        for path in sorted((stack.root / "data").rglob("*"))
        if path.is_file() and not path.name.startswith("lease")
    }
    return stack.world.effects(), files


def document(stack: Stack) -> Any:
    return json.loads((stack.root / "plan.json").read_text())


def content(stack: Stack, text: str) -> None:
    (stack.root / "plan.json").write_text(text)


def signed(stack: Stack, /, **fields: Any) -> None:
    """Another content, signed with the key kept with the state."""
    content(stack, sealed({**document(stack), **fields}, stack.store / "keys" / "signing"))


def state(stack: Stack, change: Callable[[Any], object]) -> None:
    recorded = stack.state()
    change(recorded)
    (stack.store / "state.json").write_text(json.dumps(recorded, separators=(",", ":")))


def resources(recorded: Any) -> list[Any]:
    found: list[Any] = recorded["checkpoint"]["checkpoint"]["latest"]["resources"]
    return [it for it in found if it["type"].startswith("swarm:")]


def engine_of(stack: Stack, version: str) -> None:
    other = stack.root / "engine"
    other.write_text(
        f'#!/bin/sh\n[ "$1" = version ] && {{ echo {version}; exit; }}\nexec {stack.env["SWARMCTL_ENGINE"]} "$@"\n'
    )
    other.chmod(0o755)
    stack.env["SWARMCTL_ENGINE"] = str(other)


def later(stack: Stack) -> None:
    stack("plan", "--out", "plan.json", "--expires", "1s")
    time.sleep(1.1)


def inputs(stack: Stack, address: str, **more: Any) -> dict[str, Any]:
    return {**stack.world.things()[address].inputs, **more}


@dataclass(frozen=True)
class Case:
    name: str
    move: Callable[[Stack], object]
    reason: str
    code: int = 5


CASES = [
    # The file.
    Case(
        "a byte of it",
        lambda it: content(it, laid_out(document(it)).replace('"after": 2', '"after": 3', 1)),
        "changed af",
    ),
    Case("its id", lambda it: content(it, laid_out({**document(it), "id": "0" * 64})), "its id does not fit"),
    Case(
        "its expiry",
        lambda it: content(it, laid_out({**document(it), "expiresAt": "2099-01-01T00:00:00.000Z"})),
        "its id",
    ),
    Case("its signature", lambda it: content(it, laid_out({**document(it), "signature": ""})), "never signed"),
    Case("a blank after it", lambda it: content(it, laid_out(document(it)) + " "), "not laid out"),
    Case("cut off", lambda it: content(it, laid_out(document(it))[:-40]), "not JSON"),
    Case(
        "signed by a stranger",
        lambda it: content(it, sealed(document(it), it.root / "x")),
        "which Stack does not declare",
    ),
    Case("of another stack", lambda it: signed(it, stack="prod-77"), "for the stack prod-77"),
    Case("without a change", lambda it: _without_a_change(it), "update of 1 property now"),
    # The clock.
    Case("expired", later, "clock: it expired at"),
    Case(
        "made in the future",
        lambda it: signed(it, createdAt="2098-01-01T00:00:00.000Z", expiresAt="2099-01-01T00:00:00.000Z"),
        "one clock is wrong",
    ),
    # The declarations.
    Case(
        "one digit declared", lambda it: it.declare(**{**AFTER, "web": {**AFTER["web"], "version": 3}}), "declarations:"
    ),
    Case("one more declared", lambda it: it.declare(**AFTER, more={}), "declarations:"),
    Case("one less declared", lambda it: it.declare(**BEFORE), "declarations:"),
    Case("a signer declared", lambda it: _declare_signer(it), "none of the stack's signers"),
    # The versions.
    Case("another engine", lambda it: engine_of(it, "v3.260.0"), "with engine 3.259.0, this is 3.260.0"),
    # The state.
    Case("a recorded input", lambda it: state(it, lambda s: resources(s)[0]["inputs"].update(version=7)), "state:"),
    Case("a recorded output", lambda it: state(it, lambda s: resources(s)[0]["outputs"].update(token="x")), "state:"),
    Case("its generation", lambda it: state(it, lambda s: s.update(generation=s["generation"] + 1)), "state:"),
    Case("a state that is lost", lambda it: (it.store / "state.json").unlink(), "state:"),
    Case("applied since", lambda it: _applied_since(it), "state:"),
    # The world.
    Case(
        "a thing changed",
        lambda it: it.world.tamper("web[1]", inputs(it, "web[1]", size=9)),
        r"the world has moved(.|\n)*web\[1\]: update of 1 property in the plan, replace of 2",
    ),
    Case(
        "a value changed",
        lambda it: it.world.tamper("web[1]", inputs(it, "web[1]", version=7)),
        r"web\[1\]: version: 1 → 2 in the plan, 7 → 2 now\n",
    ),
    Case(
        "a thing elsewhere changed",
        lambda it: it.world.tamper("app[2]", inputs(it, "app[2]", version=5)),
        r"app\[2\]: unchanged",
    ),
    Case("a thing gone", lambda it: it.world.tamper("app[0]", None), r"app\[0\]: unchanged in the plan, create"),
    Case("a thing to be updated gone", lambda it: it.world.tamper("web[0]", None), r"web\[0\]: update .*, create"),
    Case("a thing that is there already", lambda it: _there(it, "new[0]"), r"new\[0\]: create .*, adopt"),
    Case(
        "a thing that waits for others is there already",
        lambda it: _there(it, "db[1]", upstream="of nobody"),
        r"db\[1\]: create .*, adopt",
    ),
    Case(
        "another stack's thing is there",
        lambda it: _there(it, "db[1]", "other-1", upstream="of nobody"),
        r"db\[1\] belongs to other-1, another stack",
        code=1,
    ),
]


def _without_a_change(stack: Stack) -> None:
    whole = document(stack)
    gone = next(it for it in whole["changes"] if it["action"] == "update")
    changes = [it for it in whole["changes"] if it is not gone]
    nodes = sorted({it["node"] for it in changes if it["node"]})
    summary = {**whole["summary"], "update": whole["summary"]["update"] - 1}
    signed(stack, changes=changes, nodes=nodes, summary=summary)


def _declare_signer(stack: Stack) -> None:
    file = stack.folder / "stack.yaml"
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJY0R1cPpdVHKBfVJX2QK0m8jRzUiHVhhPAnXcv6tPPS"
    text = file.read_text().replace("kind: Stack", f"kind: Stack\nspec: {{signers: [{{name: ci, key: {key}}}]}}", 1)
    file.write_text(text)


def _applied_since(stack: Stack) -> None:
    stack.declare(**BEFORE, more={})
    stack("apply", "--yes")
    stack.declare(**BEFORE)
    stack("apply", "--yes")
    stack.declare(**AFTER)


def _there(stack: Stack, address: str, owner: str = "", **more: Any) -> None:
    """A thing that no state knows, of this stack or of another one."""
    token = max(line["token"] for line in stack.world.effects())
    marks = Marks(owner or stack.identity, "somebody@else", token)
    stack.world.create(address, {"name": address, "size": 1, "version": 1, **more}, marks)


@pytest.mark.parametrize("case", CASES, ids=lambda it: it.name)
def test_it_is_refused_and_nothing_is_touched(stack: Stack, case: Case) -> None:
    case.move(stack)
    before = everything(stack)
    run = stack("apply", "--yes", "--plan", "plan.json", code=case.code)
    assert re.search(case.reason, run.err), run.err
    assert everything(stack) == before
    assert stack.processes() == {}


def test_a_fresh_plan_takes_over_what_is_there_and_waits_for_others(stack: Stack) -> None:
    _there(stack, "db[1]", upstream="of nobody")
    there = stack.world.things()["db[1]"].thing
    actions = {it["address"]: it["action"] for it in stack("plan", "--format", "json").json["changes"]}
    assert {actions[f"costless/{name}"] for name in ("db[0]", "new[0]")} == {"create"}
    assert actions["costless/db[1]"] == "adopt"
    stack("apply", "--yes")
    assert stack.world.things()["db[1]"].thing == there
    stack.assert_converged()
    _there(stack, "db[2]", "other-1", upstream="of nobody")
    stack.declare(**{**AFTER, "db": {"count": 3, "after": "new"}})
    assert "db[2] belongs to other-1, another stack" in stack("plan", code=1).err


def test_what_has_not_moved_is_applied_elsewhere_too_and_only_once(stack: Stack) -> None:
    stack("apply", "--yes", "--plan", "plan.json")
    stack.assert_converged()
    stack.world.tamper("web[1]", inputs(stack, "web[1]", size=9))
    before = everything(stack)
    run = stack("apply", "--yes", "--plan", "plan.json", code=5)
    assert "was carried out already" in run.err
    assert everything(stack) == before


def test_a_plan_of_a_part_is_applied_once(stack: Stack) -> None:
    stack("plan", "--target", "costless/web", "--out", "part.json")
    stack("apply", "--yes", "--plan", "part.json")
    assert {it.inputs["version"] for name, it in stack.world.things().items() if name.startswith("web")} == {2}
    assert stack.world.things().keys().isdisjoint({"db[0]", "new[0]"})
    for _ in range(2):
        before = everything(stack)
        run = stack("apply", "--yes", "--plan", "part.json", code=5)
        assert "was carried out already" in run.err
        assert everything(stack) == before
        stack.world.tamper("web[1]", inputs(stack, "web[1]", version=1))


def test_no_plan_outlives_its_stack(tmp_path: Path, engine: Path) -> None:
    stack = make(tmp_path)
    stack.env["SWARMCTL_ENGINE"] = str(engine)
    stack.declare(web={"count": 2})
    signing.make_local_key(tmp_path / "ci")
    file, key = stack.folder / "stack.yaml", signing.local_public_key(tmp_path / "ci")
    spec = f"kind: Stack\nspec: {{signers: [{{name: ci, key: {key}}}]}}"
    file.write_text(file.read_text().replace("kind: Stack", spec, 1))
    for name in ("done", "never"):
        stack("plan", "--out", f"{name}.json", "--sign-with", str(tmp_path / "ci"))
    stack("apply", "--yes", "--plan", "done.json")
    stack("destroy", "--yes")
    stack.assert_gone()
    before = everything(stack)
    for name in ("done", "never"):
        words = " ".join(stack("apply", "--yes", "--plan", f"{name}.json", code=5).err.split())
        assert re.search(r"destroyed: the stack was destroyed at \S+Z, after the plan was made", words), words
        assert "would be refused: destroyed:" in " ".join(stack("plan", "show", f"{name}.json").out.split())
    assert everything(stack) == before
    stack("plan", "--out", "new.json", "--sign-with", str(tmp_path / "ci"))
    stack("apply", "--yes", "--plan", "new.json")
    stack.assert_converged()


def test_what_moves_and_is_made_anew_is_one_replacement(stack: Stack) -> None:
    stack.declare(old={"count": 2})
    stack("apply", "--yes")
    stack.declare(fresh={"count": 2, "size": 2})
    file = stack.folder / "stack.yaml"
    move = "kind: Stack\nspec: {moved: [{from: costless/old, to: costless/fresh}]}"
    file.write_text(file.read_text().replace("kind: Stack", move, 1))
    plan = stack("plan", "--out", "plan.json")
    changes = {it["address"]: it for it in document(stack)["changes"]}
    assert {(name, it["action"]) for name, it in changes.items()} == {
        ("costless/fresh[0]", "replace"),
        ("costless/fresh[1]", "replace"),
    }
    assert {"path": "size", "before": 1, "after": 2}.items() <= changes["costless/fresh[0]"]["properties"][1].items()
    assert "moved from costless/old[0], and is made anew" in plan.out
    assert "the same as before" not in plan.out
    run = stack("apply", "--yes", "--plan", "plan.json", "--format", "json")
    assert {it["action"] for it in run.json["changes"]} == {"replace"}
    assert sorted(it["address"] for it in run.json["changes"]) == sorted(changes)
    stack.assert_converged()


def test_a_secret_that_is_another_one_now_is_named(stack: Stack) -> None:
    stack.declare(key={"secret": {"env": "KEY"}}, web={})
    stack.env["KEY"] = "one-value-that-is-secret"
    stack("plan", "--out", "plan.json")
    stack.env["KEY"] = "another-value-that-is-secret"
    before = everything(stack)
    words = " ".join(stack("apply", "--yes", "--plan", "plan.json", code=5).err.split())
    assert "secrets: a declared secret has another value than when the plan was made: costless/key[0]" in words
    assert "graph:" not in words
    assert "that-is-secret" not in words
    assert everything(stack) == before
    stack.env["KEY"] = "one-value-that-is-secret"
    stack("apply", "--yes", "--plan", "plan.json")
    stack.assert_converged()


def test_a_finished_plan_is_refused_when_the_very_drift_that_it_healed_comes_back(stack: Stack) -> None:
    stack("apply", "--yes", "--plan", "plan.json")
    for _ in range(2):
        stack.world.tamper("web[1]", inputs(stack, "web[1]", size=9))
    stack("plan", "--out", "heal.json", "--detailed-exitcode", code=20)
    stack("apply", "--yes", "--plan", "heal.json")
    stack.world.tamper("web[1]", inputs(stack, "web[1]", size=9))
    assert "was carried out already" in stack("apply", "--yes", "--plan", "heal.json", code=5).err


def test_the_body_is_the_same_wherever_and_whenever_it_is_made(base: Stack, stack: Stack) -> None:
    stack("plan", "--out", "again.json")
    outside = ("createdAt", "expiresAt", "id", "signature")
    first, second = (
        [
            line
            for line in (it.root / name).read_text().splitlines()
            if not line.strip().startswith(tuple(f'"{key}"' for key in outside))
        ]
        for it, name in ((base, "plan.json"), (stack, "again.json"))
    )
    assert first == second
    assert str(base.root) not in (base.root / "plan.json").read_text()


@pytest.fixture(scope="module")
def half(base: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A plan of which one half was done when everything was killed."""
    stack = copied(base, tmp_path_factory.mktemp("half") / "copy")
    slow = {"count": 3, "nodes": 3, "version": 2, "slow": 2000}
    stack.declare(web=slow, app=BEFORE["app"], new={"count": 2}, db={"count": 2, "after": "new"})
    stack("plan", "--out", "plan.json")
    run = stack.watch("apply", "--yes", "--plan", "plan.json")
    run.until(lambda _: {"db[0]", "db[1]"} <= stack.world.things().keys())
    for pid in stack.processes():
        os.kill(pid, signal.SIGKILL)
    run.process.wait(30)
    stack.quiet()
    assert stack.world.things()["web[0]"].inputs["version"] == 1
    return stack


@pytest.fixture
def interrupted(half: Stack, tmp_path: Path) -> Iterator[Stack]:
    """A copy of it."""
    made = copied(half, tmp_path / "copy")
    yield made
    made.end()


def test_one_that_was_interrupted_goes_on_by_the_same_file(interrupted: Stack) -> None:
    planned = {it["address"] for it in document(interrupted)["changes"]}
    before = len(interrupted.world.effects())
    run = interrupted("apply", "--yes", "--plan", "plan.json", "--format", "json")
    done = {it["address"] for it in run.json["changes"]}
    assert {f"costless/web[{number}]" for number in range(3)} <= done <= planned
    assert not any(it["op"] == "create" for it in interrupted.world.effects()[before:]), (
        "what was made is not made again"
    )
    interrupted.assert_converged()
    assert "was carried out already" in interrupted("apply", "--yes", "--plan", "plan.json", code=5).err


@pytest.mark.parametrize(
    ("address", "reason"),
    [("app[1]", "not in the plan, create"), ("db[0]", ""), ("web[1]", "update of 1 property in the plan, create")],
)
def test_the_rest_of_it_does_not_do_what_was_not_planned(interrupted: Stack, address: str, reason: str) -> None:
    interrupted.world.tamper(address, None)
    before = len(interrupted.world.effects())
    run = interrupted("apply", "--yes", "--plan", "plan.json", code=5 if reason else 0)
    if not reason:
        interrupted.assert_converged()  # it was to be made, so it is made
        return
    assert f"costless/{address}: {reason}" in run.err
    assert [it for it in interrupted.world.effects()[before:] if it["op"] != "fence"] == []


def test_one_that_was_interrupted_is_refused_for_other_declarations(interrupted: Stack) -> None:
    interrupted.declare(**{**interrupted.declared, "app": {"count": 2, "after": "web"}})
    before = interrupted.changes()
    assert "declarations:" in interrupted("apply", "--yes", "--plan", "plan.json", code=5).err
    assert interrupted.changes() == before
