"""A document against its kind's schema: every mistake once, at its place, in words.

jsonschema-rs finds what is wrong; here each finding is mapped to a message, and findings that are only the echo of
another are dropped: a misspelt field also leaves the right one missing, a field at the wrong depth leaves its parent
empty. One cause, one error.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from swarmctl.declarations import codes, messages
from swarmctl.declarations.messages import value_at
from swarmctl.declarations.partial import Mistakes
from swarmctl.declarations.schemas import KindSchema
from swarmctl.declarations.words import fold, listing, nearest, sentences, shown_path
from swarmctl.diagnostics import Diagnostic, Position
from swarmctl.documents.document import Document, Path

_ABOUT_FIELDS = ("additionalProperties", "required", "oneOf", "propertyNames")
"""Keywords whose path is that of the mapping with the mistake; its other fields are sound."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """One failed keyword: `path` in the document, `node` the part of the schema that has the keyword."""

    path: Path
    keyword: str
    node: Mapping[str, Any]
    names: tuple[str, ...] = ()
    """For `additionalProperties` and `required`: the fields."""


def check(
    document: Document, schema: KindSchema, told: Container[tuple[str, Position]] = ()
) -> tuple[list[Diagnostic], Mistakes]:
    """Every mistake in `document`, whose `apiVersion` and `kind` are known to be right, and what that leaves unknown.

    Values that begin at places in `told` (by file) were refused by the reader already.
    """
    try:
        failures = list(_failures(document, schema))
    except (ValueError, UnicodeError) as error:
        # Depth beyond what the validator follows, text that is no Unicode: not a crash, and not silence.
        return [messages.not_taken(document, (), str(error))], Mistakes(everything=True)
    unknown: list[Diagnostic] = []
    meant: set[Path] = set()
    for failure in failures:
        if failure.keyword == "additionalProperties":
            for name in failure.names:
                target, diagnostic = _unknown_field(document, schema, failure, name)
                unknown.append(diagnostic)
                if target:
                    meant.update(target[:end] for end in range(1, len(target) + 1))
    rest = [
        failure
        for failure in failures
        if failure.keyword != "additionalProperties" and not _is_echo(document, failure, meant)
    ]
    mistakes = Mistakes({failure.path for failure in failures if failure.keyword not in _ABOUT_FIELDS}, meant)
    return unknown + [_told(document, one) for one in rest if _start(document, one.path) not in told], mistakes


def _start(document: Document, path: Path) -> tuple[str, Position]:
    where = document.positions.value(path)
    return where.file, where.start


def _failures(document: Document, schema: KindSchema) -> Iterator[_Failure]:
    told: set[Path] = set()
    for error in schema.validator.iter_errors(document.data):
        path: Path = tuple(error.instance_path)
        steps = list(error.schema_path)
        if "propertyNames" in steps:
            # The validator names the mapping once per bad key; the keys are found here.
            names = schema.node(steps[: steps.index("propertyNames") + 1])
            if (*path, "*") not in told:
                told.add((*path, "*"))
                keys = [key for key in value_at(document.data, path) if not re.search(names["pattern"], key)]
                yield from (_Failure((*path, key), "propertyNames", names) for key in keys)
            continue
        keyword, node = str(steps[-1]), schema.node(steps[:-1])
        if keyword == "required":
            yield _Failure(path, keyword, node, (error.kind.as_dict()["property"],))
        elif keyword == "additionalProperties":
            unknown = [key for key in value_at(document.data, path) if key not in node["properties"]]
            yield _Failure(path, keyword, node, tuple(unknown))
        elif keyword == "oneOf":
            yield _Failure(path, keyword, node)
        elif path not in told:
            # A value that breaks two keywords (its type, and what follows from the type) is told once.
            told.add(path)
            yield _Failure(path, keyword, node)


def _told(document: Document, failure: _Failure) -> Diagnostic:
    path, node = failure.path, failure.node
    match failure.keyword:
        case "type":
            return messages.wrong_type(document, path, node)
        case "minimum" | "maximum":
            return messages.out_of_range(document, path, node)
        case "pattern":
            return messages.wrong_form(document, path, node)
        case "propertyNames":
            return messages.wrong_form(document, path, node, key=True)
        case "enum" | "const":
            return messages.not_allowed(document, path, node)
        case "required":
            return messages.missing_field(document, path, node, failure.names[0])
        case "minItems" | "maxItems" | "minProperties" | "maxProperties" | "minLength" | "maxLength":
            return messages.wrong_size(document, path, node, failure.keyword)
        case "oneOf" if messages.one_of_fields(node):
            return messages.exactly_one(document, path, messages.one_of_fields(node))
    return messages.not_taken(document, path, f"it breaks `{failure.keyword}` of the schema")


def _is_echo(document: Document, failure: _Failure, meant: set[Path]) -> bool:
    """Whether the failure only follows from an unknown field that has been told."""
    if failure.keyword == "required":
        return (*failure.path, failure.names[0]) in meant
    if failure.keyword == "oneOf":
        fields = messages.one_of_fields(failure.node)
        value = value_at(document.data, failure.path)
        if not isinstance(value, Mapping):
            return True
        if any(name in value for name in fields):
            return False
        # An unknown field with a mapping under it stands where one of the fields should: a misspelt or unknown choice.
        known = failure.node.get("properties", {})
        return any((*failure.path, name) in meant for name in fields) or any(
            name not in known and isinstance(item, Mapping) for name, item in value.items()
        )
    return failure.keyword == "type" and failure.path in meant and value_at(document.data, failure.path) is None


def _unknown_field(
    document: Document, schema: KindSchema, failure: _Failure, name: str
) -> tuple[Path | None, Diagnostic]:
    """What was meant (a path, None when nothing comes to mind) and how it is told."""
    here = value_at(document.data, failure.path)
    allowed = list(failure.node.get("properties", {}))
    free = [field for field in allowed if field not in here]
    target: Path | None = None
    hint = ""
    near = nearest(name, free, cutoff=0.65)
    moved = None if near and fold(near) == fold(name) else _elsewhere(document, schema, failure.path, name)
    if moved is not None:
        target = moved
        hint = _depth_hint(failure.path, moved)
    elif near:
        target = (*failure.path, near)
        hint = f"did you mean `{near}`?"
    elif (*failure.path, name) == ("metadata", "labels"):
        hint = "labels are of machines: give them to a NodePool, or to all by `defaults.labels` of the Stack"
    where = f"in `{shown_path(failure.path)}`" if failure.path else "at the top of the document"
    known = f"known here: {listing(allowed)}" if allowed else "nothing may stand here: write `{}`"
    diagnostic = Diagnostic(
        codes.UNKNOWN_FIELD,
        f"unknown field `{name}` {where}",
        document.positions.key((*failure.path, name)),
        label="not a field here",
        help=sentences(hint, known),
    )
    return target, diagnostic


def _elsewhere(document: Document, schema: KindSchema, path: Path, name: str) -> Path | None:
    """Where else in the document a field called so may stand: further out first, then deeper."""
    for end in range(len(path) - 1, -1, -1):
        node = schema.at(path[:end])
        found = _same((node or {}).get("properties", {}), name)
        if found:
            return (*path[:end], found)
    return _deeper(schema.at(path), path, name, depth=3)


def _deeper(node: Mapping[str, Any] | None, path: Path, name: str, *, depth: int) -> Path | None:
    properties = (node or {}).get("properties", {})
    children = [(key, child) for key, child in properties.items() if isinstance(child, Mapping)]
    for key, child in children:
        found = _same(child.get("properties", {}), name)
        if found:
            return (*path, key, found)
    if depth > 1:
        for key, child in children:
            place = _deeper(child, (*path, key), name, depth=depth - 1)
            if place:
                return place
    return None


def _same(properties: Mapping[str, Any], name: str) -> str:
    """The property that is `name` but for case, hyphens and underscores; empty when there is none."""
    return next((field for field in properties if fold(field) == fold(name)), "")


def _depth_hint(path: Path, target: Path) -> str:
    parent = shown_path(target[:-1])
    if len(target) - 1 > len(path):
        return f"`{target[-1]}` belongs under `{parent}`: indent it further"
    place = f"under `{parent}`" if parent else "at the top of the document"
    levels = len(path) - (len(target) - 1)
    return f"`{target[-1]}` belongs {place}: indent it less" + (f" ({levels} levels)" if levels > 1 else "")
