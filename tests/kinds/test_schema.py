"""The checked-in schemas are what the types say, and editors can use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from swarmctl import assets, kinds
from swarmctl.documents import read_folder
from swarmctl.kinds import schema

FOLDER = assets.folder("schemas")


def test_checked_in_schemas_are_what_the_types_say() -> None:
    assert {path.name: path.read_bytes() for path in FOLDER.glob("*.json")} == schema.files(), (
        "run `python -m swarmctl.kinds.schema --write`"
    )


def test_write_makes_missing_files_and_removes_stale_ones(tmp_path: Path) -> None:
    (tmp_path / "gone.v1alpha1.json").write_text("{}")

    assert "gone.v1alpha1.json" in schema.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(schema.files())
    assert schema.write(tmp_path) == []


def objects(node: Any) -> list[dict[str, Any]]:
    """Every schema of a mapping with fields."""
    found = []
    if isinstance(node, dict):
        if node.get("type") == "object":
            found.append(node)
        for value in node.values():
            found += objects(value)
    elif isinstance(node, list):
        for item in node:
            found += objects(item)
    return found


@pytest.mark.parametrize("kind", sorted(kinds.registry()))
def test_every_field_is_described_and_nothing_unknown_passes(kind: str) -> None:
    document = json.loads((FOLDER / schema.file_name(kind)).read_text())
    jsonschema.Draft202012Validator.check_schema(document)
    for node in objects(document):
        assert "additionalProperties" in node
        for name, child in node.get("properties", {}).items():
            assert child.get("description"), f"{kind}: {name} has no description"
            assert "pattern" not in child or "patternErrorMessage" in child, f"{kind}: {name} has no words for its form"


@pytest.mark.parametrize("draft", [jsonschema.Draft202012Validator, jsonschema.Draft7Validator])
def test_the_bundle_takes_the_lab_and_refuses_a_slip_in_the_standard_and_in_the_draft_editors_read(draft: Any) -> None:
    validator = draft(json.loads((FOLDER / schema.BUNDLE).read_text()))
    for document in read_folder(assets.folder("stacks") / "lab").documents:
        validator.validate(document.data)
        assert isinstance(document.data, dict)
        assert not validator.is_valid({**document.data, "oops": 1})
    assert not validator.is_valid({"apiVersion": "swarmctl/v1alpha1", "kind": "Mehs"})


def test_a_pool_takes_exactly_one_backend() -> None:
    spec = schema.kind_schema(kinds.registry()["NodePool"])["properties"]["spec"]

    assert {"required": ["lab"]} in spec["oneOf"]
    assert spec["properties"]["lab"]["oneOf"] == [{"required": ["count"]}, {"required": ["hosts"]}]


def test_only_a_stack_has_a_uid() -> None:
    having = [
        kind.name
        for kind in kinds.registry().values()
        if "uid" in schema.kind_schema(kind)["properties"]["metadata"]["properties"]
    ]
    assert having == ["Stack"]


def test_descriptions_are_lines_of_text_without_the_layout_of_the_source() -> None:
    def described(node: Any) -> list[str]:
        items = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []
        own = [node["description"]] if isinstance(node, dict) and isinstance(node.get("description"), str) else []
        return own + [text for item in items for text in described(item)]

    texts = described(schema.bundle_schema())
    assert len(texts) > 100
    assert [text for text in texts if "\n " in text or "  " in text] == []
