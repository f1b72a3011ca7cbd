"""Digests: equal meaning, equal digest; any difference that matters, another one."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmctl.diagnostics import Position, Range
from swarmctl.graph.canonical import canonical_bytes, digest
from swarmctl.graph.model import Address, Graph, Ref, Resource, Rollout, Timeouts

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
A, B = Address.parse("mesh/backbone[a]"), Address.parse("mesh/backbone[b]")


def turned(value: Any) -> Any:
    """The same value with its keys in the opposite order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


def graph(*resources: Resource) -> Graph:
    made = Graph("lab")
    for resource in resources:
        made.add(resource)
    return made


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5), plain, max_size=4))
def test_the_order_of_keys_does_not_count(value: dict[str, Any]) -> None:
    assert canonical_bytes(value) == canonical_bytes(turned(value))
    assert digest(graph(Resource(A, "t", value))) == digest(graph(Resource(A, "t", turned(value))))


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5), plain, max_size=3), st.dictionaries(st.text(max_size=5), plain, max_size=3))
def test_two_inputs_have_one_digest_only_when_they_are_written_alike(one: dict[str, Any], two: dict[str, Any]) -> None:
    alike = canonical_bytes(one) == canonical_bytes(two)
    assert (digest(graph(Resource(A, "t", one))) == digest(graph(Resource(A, "t", two)))) == alike


def test_the_order_of_resources_and_their_place_in_the_files_do_not_count() -> None:
    first, second = Resource(A, "t", {"x": 1}), Resource(B, "t", {"x": 2})
    moved = dataclasses.replace(first, origin=Range("f.yaml", Position(1, 1), Position(1, 2)))
    assert digest(graph(first, second)) == digest(graph(second, moved))


@pytest.mark.parametrize(
    "change",
    [
        {"type": "u"},
        {"inputs": {"x": 2}},
        {"depends_on": (B,)},
        {"node": "n"},
        {"cluster": "c"},
        {"pool": "p"},
        {"protect": True},
        {"timeouts": Timeouts(read=61)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_else_counts(change: dict[str, Any]) -> None:
    resource = Resource(A, "t", {"x": 1})
    assert digest(graph(resource)) != digest(graph(dataclasses.replace(resource, **change)))


def test_rollouts_count() -> None:
    graphs = [Graph("s"), Graph("s", rollouts={"p": Rollout()}), Graph("s", rollouts={"p": Rollout(batch=1)})]
    assert len(set(map(digest, graphs))) == 3


def test_references_count_by_what_they_point_at() -> None:
    inputs = [{"key": Ref(A, "publicKey")}, {"key": Ref(B, "publicKey")}, {"key": Ref(A, "other")}]
    assert len({digest(graph(Resource(A, "t", value))) for value in inputs}) == 3
    assert canonical_bytes(inputs[0]) == b'{"key":{"$ref":"mesh/backbone[a].publicKey"}}'


def test_what_is_no_plain_data_is_refused() -> None:
    with pytest.raises(TypeError):
        canonical_bytes({"x": object()})
    with pytest.raises(ValueError, match=r"not JSON compliant|Out of range"):
        canonical_bytes(float("nan"))
