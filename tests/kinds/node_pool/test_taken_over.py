"""A machine that would be given back under one name and taken over under another in the same run is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from swarmctl.backends import ways
from swarmctl.diagnostics import Diagnostic
from swarmctl.errors import InvalidDeclaration
from swarmctl.graph.model import Graph, Machine
from swarmctl.graph.moves import moves
from swarmctl.kinds.base import MACHINE
from swarmctl.kinds.compile import compile_graph
from swarmctl.operations.load import load_stack
from tests.declarations.stacks import BASE, HEAD

A, B, C = (
    f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{tail}"
    for tail in (
        "DIhSHbcJi4NE1CVRWGFFogg08vC1QIVc/DhVX6GYQX1",
        "MsDAp1suoBm0oS6ykbVlG7ERJ3SfG1Eot2SUKeY4NP6",
        "AkxKif26wRMjkApX+F43SQJgHkTBj1n25GvkH1u3BM+",
    )
)
Recorded = Mapping[str, Mapping[str, Any]]


@pytest.fixture(autouse=True)
def _no_ways() -> Any:
    yield
    ways.declare("trial", ())


def fleet(
    folder: Path, hosts: Mapping[str, str], recorded: Recorded | None = None, *, moved: str = "", pool: str = "metal"
) -> Graph:
    """The graph of a pool of these hosts (name: its keys, and more of the entry) after `recorded` (inputs by address)
    was applied."""
    for kind, text in BASE.items():
        if kind not in ("NodePool", "Stack"):
            (folder / f"{kind}.yaml").write_text(text)
    stack = f"{HEAD}kind: Stack\nmetadata: {{name: trial}}\nspec: {{defaults: {{cluster: core, region: eu}}{moved}}}\n"
    (folder / "stack.yaml").write_text(stack)
    entries = "".join(
        f"      - {{name: {name}, address: 203.0.113.{10 + place}, hostKeys: [{keys}]}}\n"
        for place, (name, keys) in enumerate(hosts.items())
    )
    spec = f"  ssh:\n    user: ops\n    hosts:\n{entries}"
    (folder / "pool.yaml").write_text(f"{HEAD}kind: NodePool\nmetadata: {{name: {pool}}}\nspec:\n{spec}")
    before = recorded or {}
    on_node = {str(inputs["node"]): inputs for inputs in before.values()}
    return compile_graph(
        load_stack(folder).inventory,
        "trial",
        lambda address: before.get(str(address)),
        lambda kind, node: on_node.get(node) if kind == MACHINE else None,
        nodes={str(inputs["node"]): address for address, inputs in before.items()},
    )


def applied(folder: Path, hosts: Mapping[str, str], **more: str) -> Recorded:
    graph = fleet(folder, hosts, **more)
    return {str(address): it.inputs for address, it in graph.resources.items() if it.type == MACHINE}


def refused(folder: Path, hosts: Mapping[str, str], recorded: Recorded, **more: str) -> list[Diagnostic]:
    with pytest.raises(InvalidDeclaration) as found:
        fleet(folder, hosts, recorded, **more)
    assert {one.code.id for one in found.value.diagnostics} == {"SW3211"}
    return list(found.value.diagnostics)


MOVE = 'moved: [{from: "nodepool/metal[n2]", to: "nodepool/metal[n9]"}]'
STEPS = "leave it out and apply, which gives n2 back, then declare it as `n9`"


def test_a_renamed_host_is_refused_at_its_name_and_both_ways_out_are_ways_out(tmp_path: Path) -> None:
    before = applied(tmp_path, {"n1": A, "n2": B})
    (one,) = refused(tmp_path, {"n1": A, "n9": B}, before)
    assert one.message == "`n9` is the machine that was applied as n2, by its host key"
    assert one.help is not None
    assert MOVE in one.help
    assert STEPS in one.help
    assert one.range is not None
    line = (tmp_path / "pool.yaml").read_text().splitlines()[one.range.start.line - 1]
    assert line[one.range.start.column - 1 :].startswith("n9,")

    kept = fleet(tmp_path, {"n1": A, "n9": B}, before, moved=f", {MOVE}")
    assert [machine.name for machine in kept.exported(Machine)] == ["n1", "n2"]
    given_back = applied(tmp_path, {"n1": A})
    anew = fleet(tmp_path, {"n1": A, "n9": B}, given_back)
    assert [machine.name for machine in anew.exported(Machine)] == ["n1", "n9"]


@pytest.mark.parametrize(
    ("first", "then", "told"),
    [
        ({"n1": A, "n2": B}, {"n1": B}, ["`n1` is the machine that was applied as n2"]),
        ({"n1": B}, {"n1": A, "n2": B}, ["`n2` is the machine that was applied as n1"]),
        ({"n1": A, "n2": B}, {"n1": B, "n2": A}, ["`n1` is the machine that was", "`n2` is the machine that was"]),
        ({"n1": f"{A}, {B}"}, {"n9": f"{B}, {C}"}, ["`n9` is the machine that was applied as n1"]),
    ],
    ids=["taken by one that stays", "left by one that stays", "both ways", "by any of its keys"],
)
def test_so_is_a_machine_that_takes_the_name_of_another(
    first: dict[str, str], then: dict[str, str], told: list[str], tmp_path: Path
) -> None:
    found = refused(tmp_path, then, applied(tmp_path, first))
    assert [one.message[: len(text)] for one, text in zip(found, told, strict=True)] == told
    stays = {name for name in first if name in then}
    assert all(("moved:" in (one.help or "")) is not bool(stays) for one in found), "a name that stays moves nowhere"


def test_a_pool_that_got_another_name_in_the_same_edit_has_its_move_offered_too(tmp_path: Path) -> None:
    before = applied(tmp_path, {"n1": A, "n2": B})
    (one,) = refused(tmp_path, {"n1": A, "n9": B}, before, pool="iron")
    move = 'moved: [{from: "nodepool/metal[n2]", to: "nodepool/iron[n9]"}]'
    assert one.help is not None
    assert one.help.startswith("to keep all that is on it")
    assert move in one.help
    assert STEPS in one.help
    kept = fleet(tmp_path, {"n1": A, "n9": B}, before, pool="iron", moved=f", {move}")
    assert [machine.name for machine in kept.exported(Machine)] == ["n1", "n2"]
    assert {str(new): old for new, old in moves(kept, recorded(before)).items()} == {
        "nodepool/iron[n1]": "nodepool/metal[n1]",
        "nodepool/iron[n9]": "nodepool/metal[n2]",
    }


def recorded(before: Recorded) -> dict[str, tuple[str, str]]:
    return {address: (MACHINE, str(inputs["node"])) for address, inputs in before.items()}


def test_what_has_moved_already_is_moved_on_from_where_the_state_has_it(tmp_path: Path) -> None:
    first = applied(tmp_path, {"n2": B})
    there = fleet(tmp_path, {"n9": B}, first, moved=f", {MOVE}")
    before = {str(address): it.inputs for address, it in there.resources.items() if it.type == MACHINE}
    (one,) = refused(tmp_path, {"n11": B}, before)
    assert 'moved: [{from: "nodepool/metal[n9]", to: "nodepool/metal[n11]"}]' in (one.help or "")


def test_a_host_in_another_pool_is_no_other_name(tmp_path: Path) -> None:
    before = applied(tmp_path, {"n2": B})
    fleet(tmp_path, {"n2": B}, before, pool="iron")


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"n1": A, "n2": B}, {"n1": A, "n2": C}),
        ({"n1": A, "n2": B}, {"n1": A, "n2": f"{B}, {C}"}),
        ({"n1": A}, {"n1": A, "n2": B}),
        ({"n1": A, "n2": A}, {"n2": A}),
        ({"n1": A}, {"n1": A, "n2": A}),
        ({"n1": A}, {"n9": f"{A}], state: lost, labels: {{a: b}}, listens: [22"}),
    ],
    ids=["replaced", "one more key", "new", "a copy stays", "a copy comes", "lost"],
)
def test_what_is_no_other_name_is_not_refused(first: dict[str, str], then: dict[str, str], tmp_path: Path) -> None:
    fleet(tmp_path, then, applied(tmp_path, first))


def test_only_whoever_plans_is_refused(tmp_path: Path) -> None:
    before = applied(tmp_path, {"n2": B})
    with pytest.raises(InvalidDeclaration):
        fleet(tmp_path, {"n9": B}, before)
    graph = compile_graph(load_stack(tmp_path).inventory, "trial", lambda address: before.get(str(address)))
    assert [machine.name for machine in graph.exported(Machine)] == ["n9"]
