"""Kinds → JSON Schema 2020-12, one per kind, and the bundle that picks by `kind` (`schemas/`, checked in).

`python -m swarmctl.kinds.schema --write` makes the files anew; a test compares them with what the types say.

Only keywords that mean the same in draft-07 are used (`if`/`then`, `oneOf`, `const`; no `$ref` with siblings inside a
kind, no `prefixItems`, no `unevaluatedProperties`, no `dependentSchemas`), because yaml-language-server reads schemas
by draft-07 rules. `$defs` is an unknown, harmless key there; the JSON pointers into it resolve in every draft.

Own keyword: `x-swarmctl-ref: KIND` says that a string is the name of a declaration of that kind.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from swarmctl.declarations.declaration import Metadata
from swarmctl.declarations.names import STACK
from swarmctl.kinds import API_VERSION, registry
from swarmctl.kinds.base import Kind

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
BUNDLE = "swarmctl.v1alpha1.json"
_REF = "#/$defs/{name}"
_ORDER = (
    "$schema", "$id", "title", "description", "type", "const", "enum", "x-swarmctl-ref", "pattern",
    "patternErrorMessage", "minimum", "maximum",
    "minItems", "maxItems", "minProperties", "default", "examples", "required", "properties", "propertyNames",
    "additionalProperties", "items", "oneOf", "anyOf",
)  # fmt: skip


def file_name(kind: str) -> str:
    """`NodePool` → `node-pool.v1alpha1.json`."""
    kebab = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", kind).lower()
    return f"{kebab}.{API_VERSION.rpartition('/')[2]}.json"


def kind_schema(kind: Kind) -> Schema:
    """The whole document of one kind: envelope and spec, every reference inlined."""
    spec = type_schema(kind.spec)
    variants = kind.variants() if kind.variants else {}
    for key, variant in variants.items():
        spec["properties"][key] = type_schema(variant)
    if variants:
        spec["oneOf"] = [{"required": [key]} for key in variants]
    required = ["apiVersion", "kind", "metadata"]
    if _needs_something(spec):
        required.append("spec")
    return {
        "$schema": DIALECT,
        "$id": f"urn:swarmctl:schema:{file_name(kind.name).removesuffix('.json')}",
        "title": kind.name,
        "description": kind.summary,
        "type": "object",
        "required": required,
        "properties": {
            "apiVersion": {"description": "Version of the language.", "const": API_VERSION},
            "kind": {"description": "What is declared.", "const": kind.name},
            "metadata": _metadata(kind),
            "spec": _ordered(spec),
        },
        "additionalProperties": False,
    }


def bundle_schema() -> Schema:
    """One schema for files of any kinds: editors apply it to each document of a file and offer what its `kind` has."""
    names = sorted(registry())
    return {
        "$schema": DIALECT,
        "$id": f"urn:swarmctl:schema:{BUNDLE.removesuffix('.json')}",
        "title": "swarmctl declarations",
        "description": "One document of a stack; `kind` decides what the rest looks like.",
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {
            "apiVersion": {"description": "Version of the language.", "const": API_VERSION},
            "kind": {"description": "What is declared.", "enum": names},
        },
        "allOf": [
            {
                "if": {"required": ["kind"], "properties": {"kind": {"const": name}}},
                "then": {"$ref": _REF.format(name=name)},
            }
            for name in names
        ],
        "$defs": {
            name: {key: value for key, value in kind_schema(registry()[name]).items() if not key.startswith("$")}
            for name in names
        },
    }


def type_schema(of: type[Any]) -> Schema:
    """The JSON Schema of one spec type, references inlined, `null` only where the type means it as a value.

    A field typed `X | None` may be left out but not be `null`: an empty `full:` is a slip of the pen, not a choice.
    A type with `ONE_OF: ClassVar[tuple[str, ...]]` takes exactly one of those fields.
    """
    _, definitions = msgspec.json.schema_components([of], ref_template=_REF)
    types = {found.__name__: found for found in _struct_types(of)}

    def inline(node: Any) -> Any:
        if isinstance(node, list):
            return [inline(item) for item in node]
        if not isinstance(node, dict):
            return node
        node = dict(node)
        reference = node.pop("$ref", None)
        if reference is not None:
            name = reference.rpartition("/")[2]
            target = dict(definitions[name])
            target.pop("title", None)
            one_of = getattr(types.get(name), "ONE_OF", ())
            if one_of:
                written = {field.name: field.encode_name for field in msgspec.structs.fields(types[name])}
                target["oneOf"] = [{"required": [written[field]]} for field in one_of]
            node = {**target, **node}
        literal = {
            key: _without_nulls(node.pop(key)) for key in ("default", "examples", "const", "enum") if key in node
        }
        node = {key: inline(value) for key, value in node.items()}
        if "anyOf" in node:
            node = _merge_alternatives(node)
        if node.get("required") == []:
            del node["required"]
        if literal.get("default", ...) is None:
            del literal["default"]
        node.update(literal)
        return _ordered(node)

    schema: Schema = inline({"$ref": _REF.format(name=of.__name__)})
    return schema


def _merge_alternatives(node: Schema) -> Schema:
    """`anyOf` without `null`; alternatives of different types become one schema with a list of types.

    `minimum` judges only numbers, `pattern` only strings and `propertyNames` only mappings, so nothing is lost, and a
    wrong value fails once, where it is wrong.
    """
    rest = {key: value for key, value in node.items() if key != "anyOf"}
    alternatives = [option for option in node["anyOf"] if option.get("type") != "null"]
    if len(alternatives) == 1:
        return {**alternatives[0], **rest}
    types = [option.get("type") for option in alternatives]
    simple = {"integer", "number", "string", "boolean", "object", "array"}
    keywords = [key for option in alternatives for key in option if key != "type"]
    if set(types) <= simple and len(set(types)) == len(types) and len(set(keywords)) == len(keywords):
        merged = {key: value for option in alternatives for key, value in option.items() if key != "type"}
        return {"type": types, **merged, **rest}
    return {**rest, "anyOf": alternatives}


def _struct_types(of: type[Any]) -> list[type[Any]]:
    """`of` and every struct its fields lead to."""
    found: dict[type[Any], None] = {}

    def walk(info: Any) -> None:
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls in found:
                return
            found[info.cls] = None
            for field in info.fields:
                walk(field.type)
        for attribute in ("item_type", "key_type", "value_type", "type"):
            inner = getattr(info, attribute, None)
            if isinstance(inner, msgspec.inspect.Type):
                walk(inner)
        for inner in getattr(info, "types", ()):
            walk(inner)

    walk(msgspec.inspect.type_info(of))
    return list(found)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value


def _ordered(node: Schema) -> Schema:
    place = {key: index for index, key in enumerate(_ORDER)}
    return dict(sorted(node.items(), key=lambda item: place.get(item[0], len(place))))


def _needs_something(spec: Schema) -> bool:
    return bool(spec.get("required") or spec.get("oneOf"))


def _metadata(kind: Kind) -> Schema:
    metadata = type_schema(Metadata)
    if kind.name != STACK:
        del metadata["properties"]["uid"]
    else:
        del metadata["properties"]["uid"]["default"]
    if kind.variants is None:  # labels are of machines
        del metadata["properties"]["labels"]
    return metadata


def files() -> dict[str, bytes]:
    """Every file of `schemas/` as it should be, by name."""
    schemas = {file_name(kind.name): kind_schema(kind) for kind in registry().values()}
    schemas[BUNDLE] = bundle_schema()
    return {name: render(schema) for name, schema in sorted(schemas.items())}


def render(schema: Schema) -> bytes:
    """A schema as the bytes of its file."""
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"


def write(folder: Path) -> list[str]:
    """Write `files()` into `folder`, remove schemas of kinds that are gone; returns the names that changed."""
    wanted = files()
    changed = []
    for name, content in wanted.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)
            changed.append(name)
    for path in folder.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
            changed.append(path.name)
    return changed


def main(arguments: list[str]) -> int:
    """`--write` writes; without it, say which files differ and exit 1 when any does."""
    from swarmctl import assets

    folder = assets.folder("schemas")
    if arguments == ["--write"]:
        for name in write(folder):
            print(f"wrote {folder / name}")
        return 0
    stale = [name for name, content in files().items() if (folder / name).read_bytes() != content]
    for name in stale:
        print(f"differs from its type: {folder / name}", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
