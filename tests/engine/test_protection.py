"""What is protected, and when it is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarmctl.engine import header, protection
from swarmctl.engine.outcome import Protected
from swarmctl.engine.program import Record
from swarmctl.graph.model import Timeouts
from swarmctl.plans.model import Action, Change
from tests.engine.fake_kind import TOKEN
from tests.engine.world import address, file, graph, token

KEPT = Record(TOKEN, {"name": "a"}, protect=True)


def test_protection_that_is_taken_away_allows_what_it_forbade() -> None:
    replaced = Change("test/a", TOKEN, Action.REPLACE)
    protection.refuse_changes([replaced], graph(file("a")), {"test/a": KEPT})
    with pytest.raises(Protected):
        protection.refuse_changes([replaced], graph(replace(file("a"), protect=True)), {})


def test_every_protected_resource_that_would_go_is_named() -> None:
    recorded = {f"test/{name}": KEPT for name in "abc"} | {"test/d": Record(TOKEN, {})}
    with pytest.raises(Protected) as caught:
        protection.refuse_leaving(graph(file("a")), recorded, staying={"test/b"})
    assert caught.value.details == ("test/c would be deleted",)
    with pytest.raises(Protected, match="3 protected resources"):
        protection.refuse_leaving(None, recorded, staying=())


def test_what_moved_keeps_its_protection_without_a_change() -> None:
    declared = graph(replace(file("new"), protect=True), file("b"))
    moved = {address("new"): "test/a"}
    assert protection.changed(declared, {"test/a": KEPT, "test/b": KEPT}, moved) == {"test/b": (True, False)}


def test_a_journal_is_told_what_the_provider_does_not_see() -> None:
    declared = graph(file("a"), replace(file("b", k=token("a"), node="n", after=("c",)), protect=True), file("c"))

    told = header.resources(declared, {address("b"): "test/old"})["test/b"]

    assert (told.type, told.dependencies, told.formerly, told.protect) == (
        TOKEN,
        ("test/a", "test/c"),
        "test/old",
        True,
    )
    assert told.property_dependencies == {"k": ("test/a",), "node": ("test/c",)}


def test_records_are_read_with_what_they_depend_on_and_how_long_they_may_take() -> None:
    base = "urn:pulumi:s::swarmctl::"
    kept = {
        "urn": f"{base}{TOKEN}::test/a",
        "type": TOKEN,
        "inputs": {"n": 1.0},
        "dependencies": [f"{base}{TOKEN}::test/b"],
        "protect": True,
        "customTimeouts": {"create": 30},
    }
    stack = {"urn": f"{base}pulumi:pulumi:Stack::s", "type": "pulumi:pulumi:Stack"}
    found = header.records({"checkpoint": {"latest": {"resources": [stack, kept]}}})
    assert found == {"test/a": Record(TOKEN, {"n": 1}, ("test/b",), True, Timeouts(create=30))}
    assert header.records(None) == {}
