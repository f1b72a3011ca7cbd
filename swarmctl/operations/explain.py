"""`swarmctl explain`: what a kind, a field or a diagnostic code means, taken from schemas and codes themselves."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import swarmctl
from swarmctl import kinds
from swarmctl.declarations.messages import one_of_fields
from swarmctl.declarations.schemas import shipped
from swarmctl.declarations.words import fold, listing, nearest, sentences
from swarmctl.diagnostics import Code
from swarmctl.errors import UsageError
from swarmctl.operations.schema import resolve_kind

ROOMS = ("documents", "declarations", "graph", "kinds", "mesh", "hosts", "backends")
"""Where codes are declared. Rooms that import the engine's libraries raise errors, not diagnostics."""

_CODE = re.compile(r"[Ss][Ww][0-9]+")


@dataclass(frozen=True, slots=True)
class FieldLine:
    """One field of a mapping, for the list under it."""

    name: str
    type: str
    required: bool
    description: str


@dataclass(frozen=True, slots=True)
class Subject:
    """A kind or a field."""

    name: str
    """`Mesh`, or `Mesh.spec.topology.hubs`."""
    type: str
    description: str
    required: bool = False
    default: Any = None
    """As JSON data; None when there is none."""
    constraints: tuple[str, ...] = ()
    examples: tuple[Any, ...] = ()
    document: str = ""
    """For kinds: a whole example in YAML."""
    fields: tuple[FieldLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything that can be explained."""

    kinds: Mapping[str, str]
    """Summary by name."""
    codes: Mapping[str, str] = field(default_factory=dict)
    """Title by id."""


def contents() -> Contents:
    """All kinds and codes."""
    return Contents(
        {name: kind.summary for name, kind in sorted(kinds.registry().items())},
        {code.id: code.title for code in codes().values()},
    )


def codes() -> dict[str, Code]:
    """Every code that is declared in the rooms, by id, in order. Raises ValueError when an id is declared twice."""
    found: dict[str, Code] = {}
    for room in ROOMS:
        for module in _modules(f"{swarmctl.__name__}.{room}"):
            for value in vars(importlib.import_module(module)).values():
                if isinstance(value, Code) and found.setdefault(value.id, value) != value:
                    raise ValueError(f"{value.id} is declared twice")
    return dict(sorted(found.items()))


def _modules(package: str) -> Iterator[str]:
    """Names of a room's modules. What runs on nodes or touches them (`inside`, `resources`) declares no codes."""
    yield package
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if module.ispkg and module.name not in ("inside", "examples"):
            yield from _modules(f"{package}.{module.name}")
        elif not module.ispkg and module.name not in ("resources", "__main__"):
            yield f"{package}.{module.name}"


def explain(subject: str) -> Subject | Code:
    """What `subject` means: `KIND`, `KIND.field.field`, or a code. Raises UsageError with what was meant."""
    if _CODE.fullmatch(subject):
        return _code(subject.upper())
    first, *rest = subject.split(".")
    kind = resolve_kind(first)
    return _field(kind, [step for step in rest if step]) if any(rest) else _kind(kind)


def _code(wanted: str) -> Code:
    known = codes()
    if wanted in known:
        return known[wanted]
    near = nearest(wanted, known)
    raise UsageError(
        f"no such code: {wanted}",
        sentences(f"did you mean {near}?" if near else "", "`swarmctl explain` lists all of them"),
    )


def _kind(name: str) -> Subject:
    spec = shipped(name)["properties"]["spec"]
    return Subject(
        name=name,
        type="document",
        description=f"{kinds.registry()[name].summary} {spec.get('description', '')}".strip(),
        constraints=tuple(_constraints(spec)),
        document=_example(name),
        fields=_fields(spec),
    )


def _example(name: str) -> str:
    """The document of this kind in the kind's first good example."""
    module = importlib.import_module(kinds.registry()[name].spec.__module__)
    folder = Path(str(module.__file__)).parent / "examples" / "good"
    for path in sorted(folder.glob("*.yaml")):
        for document in re.split(r"(?m)^---\n", path.read_text("utf-8")):
            if re.search(rf"(?m)^kind: {name}$", document):
                return "\n".join(line for line in document.splitlines() if not line.startswith("#")).strip() + "\n"
    return ""


def subjects(begun: str) -> Iterator[str]:
    """What `begun` can become: kinds and codes, and after a dot the fields of the mapping named so far."""
    parent, dot, _ = begun.rpartition(".")
    if not dot:
        yield from sorted(kinds.registry())
        yield from codes()
        return
    try:
        found = explain(parent)
    except UsageError:
        return
    if isinstance(found, Subject):
        yield from (f"{parent}.{line.name}" for line in found.fields)


def _field(kind: str, steps: list[str]) -> Subject:
    """Follow the steps from the document's root, or from `spec`, which may be left out."""
    document = shipped(kind)
    start = document if fold(steps[0]) in ("spec", "metadata", "apiversion", "kind") else document["properties"]["spec"]
    shown = kind if start is document else f"{kind}.spec"
    node, required = start, False
    for step in steps:
        node = _inner(node)
        properties = node.get("properties", {})
        name = next((name for name in properties if fold(name) == fold(step)), "")
        if not name:
            raise _unknown(shown, step, properties)
        required = name in node.get("required", [])
        node, shown = properties[name], f"{shown}.{name}"
    return Subject(
        name=shown,
        type=type_words(node),
        description=node.get("description", ""),
        required=required,
        default=node.get("default"),
        constraints=tuple(_constraints(node)),
        examples=tuple(node.get("examples", ())),
        fields=_fields(_inner(node)),
    )


def _unknown(parent: str, step: str, properties: Mapping[str, Any]) -> UsageError:
    near = nearest(step, properties)
    known = f"fields: {listing(properties)}" if properties else f"{parent} has no fields"
    return UsageError(f"{parent} has no field {step}", sentences(f"did you mean {near}?" if near else "", known))


def _inner(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fields of a list are those of its items."""
    while node.get("type") == "array":
        node = node["items"]
    return node


def _fields(node: Mapping[str, Any]) -> tuple[FieldLine, ...]:
    required = node.get("required", [])
    return tuple(
        FieldLine(name, type_words(child), name in required, child.get("description", ""))
        for name, child in node.get("properties", {}).items()
    )


def type_words(node: Mapping[str, Any]) -> str:
    """The type in a word or two: `integer`, `list of string`, `mapping of string`."""
    types = node.get("type", "string" if "enum" in node or "const" in node else "any")
    if types == "array":
        return f"list of {type_words(node['items'])}"
    if types == "object":
        values = node.get("additionalProperties")
        return f"mapping of {type_words(values)}" if isinstance(values, Mapping) else "mapping"
    return types if isinstance(types, str) else " or ".join(types)


def _constraints(node: Mapping[str, Any]) -> Iterator[str]:
    """What values must keep to, in words; those of a list's items, too."""
    if "const" in node:
        yield f"always `{node['const']}`"
    if "enum" in node:
        yield f"one of {', '.join(f'`{value}`' for value in node['enum'])}"
    if "minimum" in node or "maximum" in node:
        low, high = node.get("minimum"), node.get("maximum")
        yield (
            f"{low} to {high}" if None not in (low, high) else f"at least {low}" if high is None else f"at most {high}"
        )
    if "pattern" in node:
        yield node.get("patternErrorMessage", f"matches {node['pattern']}")
    for keyword, word in (("minItems", "least"), ("maxItems", "most"), ("minProperties", "least")):
        if keyword in node:
            noun = "item" if "Items" in keyword else "entry"
            yield f"at {word} {node[keyword]} {noun if node[keyword] == 1 else noun.replace('entry', 'entrie') + 's'}"
    if "x-swarmctl-ref" in node:
        yield f"name of a declared {node['x-swarmctl-ref']}"
    choice = one_of_fields(node)
    if choice:
        yield f"exactly one of {listing(choice)}" if len(choice) > 1 else f"needs {listing(choice)}"
    if node.get("type") == "array":
        for words in _constraints(node["items"]):
            yield f"each: {words}"
