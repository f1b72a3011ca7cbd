"""A checkpoint is believed only when it is one."""

from __future__ import annotations

import json

import pytest

from swarmctl.state.checkpoint import StateUnreadable, decode, snapshot

RESOURCE = {
    "urn": "urn:pulumi:s::swarmctl::swarm:mesh:Peers::mesh/m[a/peers]",
    "type": "swarm:mesh:Peers",
    "inputs": {"a": 1.0},
}


def checkpoint(latest: object, version: object = 3) -> bytes:
    return json.dumps({"version": version, "checkpoint": {"stack": "s", "latest": latest}}).encode()


def test_resources_are_read_by_address_with_whole_numbers_whole() -> None:
    found = snapshot(decode(checkpoint({"resources": [RESOURCE]})))
    assert list(found.resources) == ["mesh/m[a/peers]"]
    assert found.resources["mesh/m[a/peers]"].inputs == {"a": 1}


@pytest.mark.parametrize("latest", [None, {}, {"resources": None}, {"resources": []}])
def test_a_checkpoint_may_hold_nothing_yet(latest: object) -> None:
    assert snapshot(decode(checkpoint(latest))).resources == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"trunc',
        b"[" * 100_000,
        b"[]",
        b'{"version": 3}',
        checkpoint([]),
        checkpoint({"resources": 5}),
        checkpoint({"resources": [5]}),
        checkpoint({"resources": [{**RESOURCE, "urn": None}]}),
        checkpoint({"resources": [{**RESOURCE, "inputs": "x"}]}),
        checkpoint({"resources": [RESOURCE]}, version=99),
        checkpoint({"resources": [RESOURCE]}, version="x"),
    ],
)
def test_what_is_no_checkpoint_is_told_as_such(content: bytes) -> None:
    with pytest.raises(StateUnreadable, match="the recorded state is not readable"):
        decode(content)
