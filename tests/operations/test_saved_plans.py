"""A saved plan is applied exactly as it was reviewed, or refused with the reason and nothing touched."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmctl import cli
from swarmctl.errors import PlanRefused
from swarmctl.plans import file as plan_file
from swarmctl.plans import signing
from swarmctl.plans.model import Action, Preconditions
from tests.operations.world import Engine, Recorded, Snapshot, World, change
from tests.plans.sealing import laid_out, sealed
from tests.reports.plans import EVERYTHING

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
        "secrets": {},
        "versions": {"pulumi": "3.259.0", "swarmctl": "0.1.0"},
    }


@pytest.mark.parametrize("name", ["plan.yaml", "sub/plan.yml", "./plan.yaml"])
def test_a_plan_is_not_saved_where_it_would_be_a_declaration(world: World, capsys: Out, name: str) -> None:
    Path("sub").mkdir()
    assert cli.run(["plan", "--out", name]) == 2
    told = capsys.readouterr().err
    assert "would be read as a declaration" in told
    assert f"name it {Path(name).with_suffix('.json')}" in told
    assert not Path(name).exists()


@pytest.mark.parametrize("name", ["plan.json", "plan.yaml.txt", ".plan.yaml", ".ci/plan.yaml", "../plan.yaml"])
def test_elsewhere_a_plan_is_called_as_one_likes(world: World, name: str) -> None:
    Path(".ci").mkdir()
    assert cli.run(["plan", "--out", name]) == 0
    assert Path(name).exists()


def test_equal_plans_are_equal_files_but_for_the_time(saved: Path) -> None:
    first = json.loads(saved.read_text())
    cli.run(["plan", "--out", "other.json"])
    second = json.loads(Path("other.json").read_text())
    for field in ("createdAt", "expiresAt", "id", "signature"):
        assert first.pop(field) != second.pop(field)
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
        pytest.param(b"[" * 100_000, "nested too deeply", id="deep"),
        (b'{"schema": NaN}', "it is not JSON"),
        (b"[]", "is not a saved plan"),
        (b"{}", "has no schema, not 'swarmctl/plan/v1'"),
        (b'{"schema": null}', "has the schema None"),
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


@pytest.mark.parametrize(
    ("change_", "reason"),
    [
        ({"changes": 5}, "changes: expected `array`, got `int`"),
        ({"changes": None}, "changes: expected `array`, got `null`"),
        ({"changes": [{}]}, "changes[0]: object missing required field `address`"),
        ({"summary": {}}, "summary: object missing required field `create`"),
        (
            {"summary": {"create": 9, "adopt": 0, "update": 1, "replace": 0, "delete": 0, "same": 3}},
            "summary.create: 9",
        ),
        ({"nodes": ["elsewhere"]}, "nodes: not those of the changes"),
        ({"stack": ["lab"]}, "stack: expected `str`, got `array`"),
        ({"notes": [None]}, "notes[0]: expected `str`, got `null`"),
        ({"preconditions": 1}, "preconditions: expected `object`, got `int`"),
        (
            {"preconditions": {"declarations": "d0", "graph": "g0", "state": "s0", "versions": [1]}},
            "preconditions.versions: expected `object`, got `array`",
        ),
        ({"more": 1}, "object contains unknown field `more`"),
    ],
)
def test_a_file_of_another_shape_is_refused_even_with_a_digest_that_fits(
    saved: Path, world: World, capsys: Out, change_: dict[str, Any], reason: str
) -> None:
    saved.write_text(sealed({**json.loads(saved.read_text()), **change_}, world.signing_key()))
    assert reason in refused(capsys, world)


def test_a_change_named_twice_or_with_holes_is_refused(saved: Path, world: World, capsys: Out) -> None:
    document = json.loads(saved.read_text())
    document["changes"][0]["properties"] = None
    saved.write_text(sealed(document, world.signing_key()))
    assert "changes[0].properties: expected `array`, got `null`" in refused(capsys, world)
    document["changes"][0]["properties"] = []
    document["changes"] *= 2
    saved.write_text(sealed(document, world.signing_key()))
    assert "is there twice" in refused(capsys, world)


def test_a_file_without_a_field_is_refused(saved: Path, world: World, capsys: Out) -> None:
    whole = json.loads(saved.read_text())
    for field in set(whole) - {"digest", "id", "signature"}:
        saved.write_text(sealed({key: value for key, value in whole.items() if key != field}, world.signing_key()))
        assert field in refused(capsys, world) or field == "schema"
    for field in ("digest", "id", "signature"):
        saved.write_text(laid_out({key: value for key, value in whole.items() if key != field}))
        assert f"it has no {field}" in refused(capsys, world)


@pytest.mark.parametrize("depth", [300, 900, 1100, 5000, 50_000])
def test_deep_nesting_is_refused_and_harms_nothing(saved: Path, world: World, capsys: Out, depth: int) -> None:
    document = json.loads(saved.read_text())
    text = laid_out({**document, "notes": "HERE"}).replace('"HERE"', "[" * depth + "]" * depth)
    saved.write_text(text)
    assert "bug" not in refused(capsys, world)


def test_an_endless_file_is_refused(world: World, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_file, "_LARGEST", 1000)
    with pytest.raises(PlanRefused, match="too large"):
        plan_file.load(Path("/dev/zero"))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in JSON data."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


ODD: tuple[Any, ...] = (
    None,
    5,
    -1,
    1e300,
    10**400,
    "",
    "\ud800",
    "\x1b[31m",
    True,
    [],
    {},
    [1],
    [None],
    {"a": 1},
    [[]],
    "same",
)


def test_whatever_a_sealed_file_says_it_is_refused_or_a_plan(tmp_path: Path) -> None:
    now = Preconditions("d0", "g0", "s0", {"swarmctl": "0.1.0"})
    file, private = tmp_path / "plan.json", tmp_path / "signing"
    plan_file.save(file, EVERYTHING, now, signing.with_local_key(private))
    whole, dice = json.loads(file.read_text()), random.Random(20)
    refusals = 0
    for _ in range(400):
        document = copy.deepcopy(whole)
        for _ in range(dice.randint(1, 3)):
            container, key = dice.choice(list(places(document)))
            action = dice.randrange(3)
            if action == 0:
                del container[key]
            elif action == 1 and isinstance(container, dict):
                container[dice.choice(["extra", "address", "versions", "\ud800"])] = container.pop(key)
            else:
                container[key] = dice.choice(ODD)
        file.write_text(sealed(document, private), errors="surrogatepass")
        try:
            saved = plan_file.load(file)
            plan_file.check(saved, "lab-5b2a9a52", now)
            plan_file.compare(saved, EVERYTHING)
        except PlanRefused:
            refusals += 1
    assert refusals > 200
