"""What `--target` holds back: everything but the target and what it needs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from swarmctl.errors import UsageError
from swarmctl.graph.model import Address, Graph, Ref, Resource
from swarmctl.operations.targets import held

TYPE = "swarm:test:Thing"


def stack(declared: dict[str, tuple[str, ...]], recorded: dict[str, tuple[str, ...]]) -> Any:
    """Addresses with what they need, as declared and as recorded."""
    graph = Graph("s")
    for address, needs in declared.items():
        graph.add(Resource(Address.parse(address), TYPE, {"k": [Ref(Address.parse(need), "t") for need in needs]}))
    resources = [
        {
            "urn": f"urn:pulumi:s::p::{TYPE}::{address}",
            "dependencies": [f"urn:pulumi:s::p::{TYPE}::{it}" for it in needs],
        }
        for address, needs in recorded.items()
    ]
    return SimpleNamespace(
        graph=graph,
        snapshot=SimpleNamespace(resources=dict.fromkeys(recorded)),
        published=SimpleNamespace(checkpoint={"version": 3, "checkpoint": {"latest": {"resources": resources}}}),
    )


CHAIN = {"a/x[0]": (), "a/x[1]": (), "b/y": ("a/x[0]",), "c/z": ("b/y",), "d/w": ()}


def test_without_targets_nothing_is_held() -> None:
    assert held(stack(CHAIN, {}), ()) == frozenset()


def test_a_target_brings_all_that_it_needs() -> None:
    assert held(stack(CHAIN, {}), ("c/z",)) == {"a/x[1]", "d/w"}
    assert held(stack(CHAIN, {}), ("a/x",)) == {"b/y", "c/z", "d/w"}
    assert held(stack(CHAIN, {}), ("a/x[1]", "d/w")) == {"a/x[0]", "b/y", "c/z"}


def test_what_has_left_the_declarations_is_held_too() -> None:
    assert held(stack(CHAIN, {"e/old": ()}), ("d/w",)) == {"a/x[0]", "a/x[1]", "b/y", "c/z", "e/old"}


def test_of_what_has_left_what_stood_on_it_goes_first() -> None:
    recorded = {"e/old": (), "e/upon": ("e/old",), "e/top": ("e/upon",), "d/w": ("e/old",), "e/other": ()}
    everything = {*CHAIN, *recorded}
    assert held(stack(CHAIN, recorded), ("e/old",)) == everything - {"e/old", "e/upon", "e/top"}
    assert held(stack(CHAIN, recorded), ("e/top",)) == everything - {"e/top"}


def test_one_that_names_nothing_is_told_with_what_is_near() -> None:
    for target in ("a/z", "x", "a/x[2]", ""):
        with pytest.raises(UsageError, match="neither declared nor in the state"):
            held(stack(CHAIN, {}), (target,))
    with pytest.raises(UsageError) as caught:
        held(stack(CHAIN, {}), ("a/x[7]",))
    assert "a/x" in caught.value.hint
