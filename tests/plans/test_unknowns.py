"""What a plan does not know yet has one source: the reference that stands in that very place of the graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swarmctl.graph.canonical import digest
from swarmctl.graph.model import Address, Graph, Ref
from swarmctl.operations import stack as stacks
from swarmctl.plans import file
from swarmctl.plans.values import is_unknown
from tests.plans.reality import Reality, make


@pytest.fixture
def reality(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reality:
    return make(tmp_path, monkeypatch)


def unknowns(value: Any, declared: Any) -> Iterator[tuple[str, Any]]:
    """Every unknown value, with what the graph has in its place."""
    if is_unknown(value):
        yield value["unknown"], declared
    elif isinstance(value, dict):
        for key in value:
            yield from unknowns(value[key], declared[key])
    elif isinstance(value, list):
        for one, other in zip(value, declared, strict=True):
            yield from unknowns(one, other)


def at(value: Any, path: str) -> Any:
    """What is at a dotted path; keys of the lab that have dots of their own are none of those that wait."""
    for key in path.split("."):
        value = value[key]
    return value


def test_every_unknown_value_stands_where_the_graph_refers_to_its_source(reality: Reality, tmp_path: Path) -> None:
    reality.save(tmp_path / "plan.json")
    graph, found = reality.compiled().graph, []
    for change in file.load(tmp_path / "plan.json").body["changes"]:
        inputs = graph.resources[Address.parse(change["address"])].inputs
        for diff in change["properties"]:
            if "unknown" in str(diff.get("after")):
                found += unknowns(diff["after"], at(inputs, diff["path"]))
    assert len(found) >= 8
    for source, declared in found:
        assert isinstance(declared, Ref)
        assert f"{declared.address}.{declared.property}" == source


def test_a_graph_that_refers_to_another_source_is_refused(
    reality: Reality, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reality.save(tmp_path / "plan.json")
    compiled = stacks.compile_stack

    def otherwise(*args: Any, **options: Any) -> stacks.Stack:
        stack = compiled(*args, **options)
        address = Address("mesh", "backbone", "workers-0/peers")
        resource = stack.graph.resources[address]
        peers = dict(resource.inputs["peers"])
        peers["workers-3"] = {**peers["workers-3"], "publicKey": peers["control-0"]["publicKey"]}
        resources = {**stack.graph.resources, address: replace(resource, inputs={**resource.inputs, "peers": peers})}
        graph = Graph(stack.graph.stack, resources, stack.graph.exports, stack.graph.rollouts)
        return replace(stack, graph=graph, digest=digest(graph))

    monkeypatch.setattr(stacks, "compile_stack", otherwise)
    assert "graph: the same files now stand for other resources" in reality.refusal(tmp_path / "plan.json")
