"""The checked-in schemas, read when a document of their kind turns up, and validators compiled from them.

Kept free of dataclasses and of everything that only a mistake needs: a valid stack is told so in the time of a few
imports.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from swarmctl import assets

if TYPE_CHECKING:
    import jsonschema_rs

Schema = Mapping[str, Any]
Source = Callable[[str], Schema]
"""Kind name → its schema document."""

Reference = tuple[tuple[str, ...], str]
"""A place in documents of a kind that names another declaration (`*` is any key or index), and that one's kind."""


_supplied: dict[str, Schema] = {}


def supply(kind: str, schema: Schema) -> None:
    """Give the schema of a kind that is registered at run time and has none among those checked in."""
    _supplied[kind] = schema


def shipped(kind: str) -> Schema:
    """The checked-in schema of a kind, or the one supplied. Raises FileNotFoundError when the installation lacks it."""
    if kind in _supplied:
        return _supplied[kind]
    kebab = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", kind).lower()
    path = assets.folder("schemas") / f"{kebab}.v1alpha1.json"
    schema: Schema = msgspec.json.decode(path.read_bytes())
    return schema


class KindSchema:
    """One kind's schema."""

    def __init__(self, document: Schema) -> None:
        self.document = document

    @cached_property
    def validator(self) -> jsonschema_rs.Draft202012Validator:
        """The compiled validator."""
        import jsonschema_rs

        return jsonschema_rs.Draft202012Validator(dict(self.document))

    @cached_property
    def references(self) -> tuple[Reference, ...]:
        """Every field with `x-swarmctl-ref`."""
        return tuple(_references(self.document, ()))

    def at(self, path: Sequence[str | int]) -> Schema | None:
        """The schema for the value at `path` of a document; None when nothing may be there."""
        node: Schema = self.document
        for step in path:
            if isinstance(step, int):
                child = node.get("items")
            else:
                child = node.get("properties", {}).get(step, node.get("additionalProperties"))
            if not isinstance(child, Mapping):
                return None
            node = child
        return node

    def node(self, schema_path: Sequence[str | int]) -> Any:
        """The part of the schema that a schema path leads to; schemas of kinds have no `$ref` to follow."""
        node: Any = self.document
        for step in schema_path:
            node = node[step]
        return node


class Schemas:
    """Schemas by kind, each read at most once."""

    def __init__(self, source: Source = shipped) -> None:
        self._source = source
        self._read: dict[str, KindSchema] = {}

    def of(self, kind: str) -> KindSchema:
        """The schema of one kind."""
        if kind not in self._read:
            self._read[kind] = KindSchema(self._source(kind))
        return self._read[kind]


def _references(node: Any, path: tuple[str, ...]) -> Iterator[Reference]:
    if not isinstance(node, Mapping):
        return
    if "x-swarmctl-ref" in node:
        yield path, node["x-swarmctl-ref"]
    for name, child in node.get("properties", {}).items():
        yield from _references(child, (*path, name))
    for keyword in ("items", "additionalProperties"):
        yield from _references(node.get(keyword), (*path, "*"))
