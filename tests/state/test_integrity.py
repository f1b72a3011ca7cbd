"""What the engine would refuse is seen before it is published."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from swarmctl.state.integrity import flaw
from swarmctl.state.journal import Intent, Result
from swarmctl.state.model import ResourceHeader, RunHeader
from swarmctl.state.replay import replay, urn

TYPE = "swarm:test:File"
A, B = urn("files", TYPE, "test/a"), urn("files", TYPE, "test/b")


@pytest.fixture
def document() -> dict[str, Any]:
    """The stack, its provider, and `b`, which depends on `a`."""
    needs = ResourceHeader(TYPE, ("test/a",), {"ref": ("test/a",)})
    header = RunHeader("files", 1, 0, "update", "me", resources={"test/a": ResourceHeader(TYPE), "test/b": needs})
    records = [Intent(1, "create", A), Result(1, {}), Intent(2, "create", B, {"ref": 1}), Result(2, {})]
    return replay(None, header, records)


def test_what_was_never_applied_and_what_was_replayed_have_none(document: dict[str, Any]) -> None:
    assert flaw({"version": 3, "checkpoint": {"stack": "x"}}) == ""
    assert flaw(document) == ""


FLAWS: dict[str, tuple[Callable[[list[dict[str, Any]]], object], str]] = {
    "twice": (lambda them: them.append(copy.deepcopy(them[3])), "is there twice"),
    "order": (lambda them: them.reverse(), "does not come before it"),
    "dependency": (lambda them: them.pop(2), f"names {A}"),
    "property": (lambda them: (them[3].pop("dependencies"), them.pop(2)), f"names {A}"),
    "parent": (lambda them: them.pop(0), "names urn:pulumi:files::swarmctl::pulumi:pulumi:Stack::files"),
    "provider": (lambda them: them.pop(1), "names the provider"),
    "another provider": (lambda them: them[1].update(id="other"), "names the provider"),
}


@pytest.mark.parametrize("name", FLAWS)
def test_flaws_are_found(document: dict[str, Any], name: str) -> None:
    spoil, told = FLAWS[name]
    spoil(document["checkpoint"]["latest"]["resources"])
    assert told in flaw(document)


def test_what_has_a_successor_and_waits_for_its_removal_is_no_flaw(document: dict[str, Any]) -> None:
    resources = document["checkpoint"]["latest"]["resources"]
    resources.append(resources[3] | {"delete": True})
    assert flaw(document) == ""
