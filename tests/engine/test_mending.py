"""The engine's last checkpoint, compared with the journal and with what was recorded before."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from swarmctl.engine import mending
from swarmctl.engine.workspace import empty
from swarmctl.state.checkpoint import snapshot
from swarmctl.state.journal import CREATE, DELETE, UPDATE, Intent, Record, Result
from swarmctl.state.model import ResourceHeader, RunHeader
from tests.engine.fake_kind import TOKEN

STACK = "urn:pulumi:files::swarmctl::pulumi:pulumi:Stack::files"
PROVIDER = "urn:pulumi:files::swarmctl::pulumi:providers:swarm::default"
HEADER = RunHeader("files", 1, 0, "update", "me", resources={"test/a": ResourceHeader(TOKEN)})


def urn(name: str) -> str:
    return f"urn:pulumi:files::swarmctl::{TOKEN}::test/{name}"


def resource(name: str, after: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    return {
        "urn": urn(name),
        "custom": True,
        "id": f"test/{name}",
        "type": TOKEN,
        "inputs": {"name": name},
        "outputs": {},
        "parent": STACK,
        "provider": f"{PROVIDER}::1",
        "dependencies": [urn(other) for other in after],
        **more,
    }


def checkpoint(*resources: dict[str, Any]) -> dict[str, Any]:
    document = empty("files")
    own = [
        {"urn": STACK, "custom": False, "type": "pulumi:pulumi:Stack"},
        {"urn": PROVIDER, "custom": True, "id": "1", "type": "pulumi:providers:swarm"},
    ]
    document["checkpoint"]["latest"] = {"manifest": {}, "resources": [*own, *resources]}
    return document


def mended(document: dict[str, Any], *records: Record) -> dict[str, Any]:
    found = mending.with_forgotten(document, HEADER, records)
    return {it["urn"].rpartition("/")[2]: it for it in found["checkpoint"]["latest"]["resources"][2:]}


def test_a_creation_that_the_provider_died_in_is_recorded_as_begun() -> None:
    found = mended(checkpoint(), Intent(1, CREATE, urn("a"), {"name": "a"}))
    assert found["a"]["inputs"] == {"name": "a"}
    assert found["a"]["initErrors"]


def test_a_creation_whose_answer_was_lost_is_recorded_with_its_outputs() -> None:
    found = mended(checkpoint(), Intent(1, CREATE, urn("a"), {"name": "a"}), Result(1, {"token": "t"}))
    assert found["a"]["outputs"] == {"token": "t"}
    assert "initErrors" not in found["a"]


def test_half_a_replacement_is_recorded_as_begun() -> None:
    records = (
        Intent(1, DELETE, urn("a"), {"name": "a"}),
        Result(1, {}),
        Intent(2, CREATE, urn("a"), {"name": "a", "size": 2}),
    )
    found = mended(checkpoint(resource("a", pendingReplacement=True)), *records)
    assert found["a"]["inputs"] == {"name": "a", "size": 2}
    assert found["a"]["initErrors"]


def test_what_the_engine_has_recorded_or_removed_is_left_alone() -> None:
    document = checkpoint(resource("a"))
    before = copy.deepcopy(document)
    records = (
        Intent(1, CREATE, urn("a"), {}),
        Result(1, {}),
        Intent(2, UPDATE, urn("a"), {"x": 1}),
        Intent(3, CREATE, urn("b"), {}),
        Result(3, {}),
        Intent(4, DELETE, urn("b"), {}),
        Result(4, {}),
        Intent(5, CREATE, urn("c"), {}),
        Result(5, error="no", left=False),
    )
    assert mending.with_forgotten(document, HEADER, records) == before


def test_notes_of_the_engine_on_what_it_had_begun_are_dropped() -> None:
    document = checkpoint(resource("a"))
    document["checkpoint"]["latest"]["pending_operations"] = [{"type": "creating", "resource": resource("b")}]
    mending.with_forgotten(document, HEADER, ())
    assert "pending_operations" not in document["checkpoint"]["latest"]


def test_what_was_found_otherwise_and_not_mended_is_recorded_as_it_was_applied() -> None:
    before = checkpoint(resource("a"), resource("b", ("a",)), resource("c", ("b",)), resource("d"))
    after = checkpoint(resource("a", inputs={"name": "other"}), resource("d", inputs={"name": "new"}))

    mending.put_back(after, before, wanted={"test/a", "test/b", "test/d"}, unsettled={"test/a", "test/b", "test/c"})

    found = snapshot(after).resources
    assert {name: it.inputs["name"] for name, it in found.items()} == {"test/a": "a", "test/b": "b", "test/d": "new"}


def test_what_was_never_made_to_the_end_is_not_put_back() -> None:
    before = checkpoint(resource("a", initErrors=["half"]))
    after = checkpoint()
    mending.put_back(after, before, wanted={"test/a"}, unsettled={"test/a"})
    assert snapshot(after).resources == {}


@pytest.mark.parametrize("mark", ["pendingReplacement", "delete"])
def test_what_is_on_its_way_out_is_not_put_back_over(mark: str) -> None:
    """Half of a replacement: what is recorded has to go, and is left as the engine has found it for that."""
    before = checkpoint(resource("a"))
    after = checkpoint(resource("a", inputs={"name": "found"}, initErrors=["half"], **{mark: True}))
    untouched = copy.deepcopy(after)
    mending.put_back(after, before, wanted={"test/a"}, unsettled={"test/a"})
    assert after == untouched


@pytest.mark.parametrize("mark", ["initErrors", "pendingReplacement", "delete"])
def test_what_was_on_its_way_out_before_is_not_put_back(mark: str) -> None:
    before = checkpoint(resource("a", **{mark: ["half"] if mark == "initErrors" else True}))
    for after in (checkpoint(), checkpoint(resource("a", inputs={"name": "found"}))):
        untouched = copy.deepcopy(after)
        mending.put_back(after, before, wanted={"test/a"}, unsettled={"test/a"})
        assert after == untouched


def test_what_is_put_back_is_whole_again() -> None:
    """A refresh that could not read it has marked it; what was applied to its end is recorded as before."""
    before = checkpoint(resource("a", outputs={"key": "k"}))
    after = checkpoint(resource("a", inputs={"name": "found"}, initErrors=["half"]))
    mending.put_back(after, before, wanted={"test/a"}, unsettled={"test/a"})
    assert after == before
