"""One failed schema keyword → one diagnostic in words, with a hint that mends the usual slip."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from swarmctl.declarations import codes
from swarmctl.declarations.words import did_you_mean, listing, sentences, shown, shown_path
from swarmctl.diagnostics import Code, Diagnostic, Range
from swarmctl.documents.document import Document, Path

_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}
_NUMBER = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9]+)?")


def value_at(data: Any, path: Path) -> Any:
    """The value at `path`; None when the way ends before."""
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def source_text(document: Document, where: Range, *, limit: int = 60) -> str:
    """What is written in the file at `where`, when it is one line and short; else empty."""
    if where.start.line != where.end.line:
        return ""
    lines = document.source.text.splitlines()
    if where.start.line > len(lines):
        return ""
    text = lines[where.start.line - 1][where.start.column - 1 : where.end.column - 1]
    return text if len(text) <= limit else ""


def wrong_type(document: Document, path: Path, node: Mapping[str, Any]) -> Diagnostic:
    """The value at `path` has none of the node's types."""
    value = value_at(document.data, path)
    types = [node["type"]] if isinstance(node["type"], str) else list(node["type"])
    expected = " or ".join(_TYPES[name] for name in types)
    if len(types) > 1:
        expected = node.get("patternErrorMessage", expected)
    where = document.positions.key(path) if value is None else document.positions.value(path)
    return Diagnostic(
        codes.WRONG_TYPE,
        f"{_field(path)} takes {expected}, and this is {shown(value)}",
        where,
        label=f"expected {expected}",
        help=_type_hint(document, path, value, types, node),
    )


def _type_hint(document: Document, path: Path, value: Any, types: list[str], node: Mapping[str, Any]) -> str:
    written = source_text(document, document.positions.value(path))
    if value is None:
        if "object" in types:
            return (
                f"write `{path[-1]}: {{}}`, or leave the field out" if not _needs(node) else f"give it {_needs(node)}"
            )
        return "remove the item, or write a value" if isinstance(path[-1], int) else "write a value, or leave it out"
    if isinstance(value, str):
        if {"integer", "number"} & set(types) and _NUMBER.fullmatch(value):
            return f"remove the quotes: `{value.replace('_', '')}`"
        if "boolean" in types:
            return "write `true` or `false`, without quotes"
    if types == ["string"] and isinstance(value, (bool, int, float)):
        if "pattern" in node and not re.search(node["pattern"], written or str(value)):
            return f"write {node.get('patternErrorMessage', 'text that matches ' + node['pattern'])}"
        return f'put it in quotes: `"{written or value}"`'
    if "array" in types and not isinstance(value, Mapping):
        return f"write it as a list: `[{written or value}]`"
    if "integer" in types and isinstance(value, float) and value == value and abs(value) < 1e15:
        return f"write a whole number, such as `{round(value)}`"
    if "object" in types and _needs(node):
        return f"write a mapping with {_needs(node)}"
    if len(types) > 1 and node.get("examples") and not isinstance(path[-1], int):
        return f"write for example `{path[-1]}: {flow(node['examples'][0])}`"
    return ""


def _needs(node: Mapping[str, Any]) -> str:
    names = node.get("required", [])
    one_of = one_of_fields(node)
    choice = f"exactly one of {listing(one_of)}" if len(one_of) > 1 else listing(one_of)
    return " and ".join(part for part in (listing(names), choice) if part)


def out_of_range(document: Document, path: Path, node: Mapping[str, Any]) -> Diagnostic:
    """A number beyond `minimum` or `maximum`."""
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        bounds = f"between {low} and {high}"
    else:
        bounds = f"of at least {low}" if low is not None else f"of at most {high}"
    return Diagnostic(
        codes.OUT_OF_RANGE,
        f"{_field(path)} takes a number {bounds}, and this is {shown(value_at(document.data, path))[11:]}",
        document.positions.value(path),
        label=f"must be {bounds}",
        help=f"write a number {bounds}",
    )


def wrong_form(document: Document, path: Path, node: Mapping[str, Any], *, key: bool = False) -> Diagnostic:
    """Text that does not match `pattern`."""
    text = str(path[-1] if key else value_at(document.data, path))
    words = node.get("patternErrorMessage", f"text that matches {node['pattern']}")
    mended = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-")
    # Of what takes more than names, such as addresses, another text made of the same letters means nothing.
    a_name = not any(re.search(node["pattern"], other) for other in ("a.b", "a_b", "A"))
    helps = a_name and mended and mended != text and re.search(node["pattern"], mended)
    hint = f"did you mean `{mended}`?" if helps else ""
    if {"integer", "number"} & set(node.get("type", ())) and _NUMBER.fullmatch(text):
        hint = f"remove the quotes: `{text}`"
    what = f"a key of {_field(path[:-1])}" if key else _field(path)
    return Diagnostic(
        codes.WRONG_FORM,
        f"{what} cannot be {shown(text)}",
        document.positions.key(path) if key else document.positions.value(path),
        label="wrong form",
        help=sentences(hint, f"it takes {words}"),
    )


def not_allowed(document: Document, path: Path, node: Mapping[str, Any]) -> Diagnostic:
    """A value that `enum` or `const` doesn't have."""
    allowed = [str(item) for item in node.get("enum", [node.get("const")])]
    value = value_at(document.data, path)
    return Diagnostic(
        codes.NOT_ALLOWED,
        f"{_field(path)} takes one of {', '.join(f'`{item}`' for item in allowed)}, and this is {shown(value)}",
        document.positions.key(path) if value is None else document.positions.value(path),
        label="not one of those allowed",
        help=sentences(did_you_mean(value, allowed) if isinstance(value, str) else "", f"allowed: {listing(allowed)}"),
    )


def missing_field(document: Document, path: Path, node: Mapping[str, Any], name: str) -> Diagnostic:
    """The mapping at `path` lacks `name`."""
    described = node.get("properties", {}).get(name, {})
    example = described.get("examples", [None])[0]
    as_text = f", such as `{name}: {flow(example)}`" if example is not None else ""
    if not as_text and _needs(described):
        as_text = f" with {_needs(described)}"
    return Diagnostic(
        codes.MISSING_FIELD,
        f"{_object(path)} needs the field `{name}`",
        _head(document, path),
        label=f"`{name}` is missing",
        help=f"add `{name}`{as_text}",
    )


def exactly_one(document: Document, path: Path, fields: list[str]) -> Diagnostic:
    """The mapping at `path` has none or several of `fields`."""
    value = value_at(document.data, path)
    there = [name for name in fields if isinstance(value, Mapping) and name in value]
    choice = f"exactly one of {listing(fields)}" if len(fields) > 1 else f"`{fields[0]}`"
    if not there:
        return Diagnostic(
            codes.EXACTLY_ONE,
            f"{_object(path)} needs {choice}",
            _head(document, path),
            label="none of them is there",
            help=f"add {'one of ' if len(fields) > 1 else ''}{listing(fields)}",
        )
    return Diagnostic(
        codes.EXACTLY_ONE,
        f"{_object(path)} takes {choice}, and here are {' and '.join(f'`{name}`' for name in there)}",
        document.positions.key((*path, there[1])),
        label=f"`{there[0]}` is there already",
        help=f"keep one of {listing(there)}",
    )


def wrong_size(document: Document, path: Path, node: Mapping[str, Any], keyword: str) -> Diagnostic:
    """Too few or too many items."""
    limit = node[keyword]
    least = keyword.startswith("min")
    count = len(value_at(document.data, path))
    noun = {"Items": "item", "Properties": "entry", "Length": "character"}[keyword[3:]]
    plural = {"item": "items", "entry": "entries", "character": "characters"}[noun]
    wanted = f"at {'least' if least else 'most'} {limit} {noun if limit == 1 else plural}"
    example = node.get("examples", [None])[0]
    return Diagnostic(
        codes.WRONG_SIZE,
        f"{_field(path)} takes {wanted}, and here {'is' if count == 1 else 'are'} {count}",
        document.positions.value(path),
        label=f"expected {wanted}",
        help=f"write for example `{path[-1]}: {flow(example)}`" if least and example is not None else f"write {wanted}",
    )


def not_taken(document: Document, path: Path, reason: str, code: Code = codes.NOT_TAKEN) -> Diagnostic:
    """What no other message fits."""
    return Diagnostic(code, f"{_field(path)} is not valid: {reason}", document.positions.value(path), label=reason)


def one_of_fields(node: Mapping[str, Any]) -> list[str]:
    """The fields of which exactly one is needed: `oneOf: [{required: [a]}, …]`."""
    options = node.get("oneOf", [])
    return [option["required"][0] for option in options if set(option) == {"required"} and len(option["required"]) == 1]


def flow(value: Any) -> str:
    """A value as YAML in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain = re.fullmatch(r"[A-Za-z0-9./][A-Za-z0-9./_-]*", value) and not _NUMBER.fullmatch(value)
        return value if plain or re.fullmatch(r"file://\S+", value) else f'"{value}"'
    return str(value)


def _field(path: Path) -> str:
    if not path:
        return "the document"
    if isinstance(path[-1], int):
        return f"an item of `{shown_path(path[:-1])}`"
    return f"`{shown_path(path)}`"


def _object(path: Path) -> str:
    return f"`{shown_path(path)}`" if path else "the document"


def _head(document: Document, path: Path) -> Range:
    """A short place for what is missing in the mapping at `path`: its key, or its first field."""
    if path and isinstance(path[-1], str):
        return document.positions.key(path)
    value = value_at(document.data, path)
    for name in ("kind", "name"):
        if isinstance(value, Mapping) and name in value:
            return document.positions.key((*path, name))
    if isinstance(value, Mapping) and value:
        return document.positions.key((*path, next(iter(value))))
    return document.positions.value(path)
