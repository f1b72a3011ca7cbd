"""A document → its types, or nothing when it is not exactly what they take.

The types come first and the schema only puts mistakes into words: the schema is generated from the types, building them
has to happen anyway, and a stack without mistakes never waits for a schema to be compiled. A test holds both to the
same verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from swarmctl.declarations.declaration import Declaration, Metadata
from swarmctl.declarations.names import STACK
from swarmctl.documents.document import Document

_FIELDS = {"apiVersion", "kind", "metadata", "spec"}


class KindOfSpec(Protocol):
    """What decoding needs to know of a kind; `kinds.base.Kind` is one."""

    @property
    def name(self) -> str:
        """As written in `kind:`."""
        ...

    @property
    def spec(self) -> type[Any]:
        """The type of `spec:`."""
        ...

    @property
    def variants(self) -> Any:
        """None, or a function that returns the one-of types by key."""
        ...


def typed(document: Document, kind: KindOfSpec) -> Declaration | None:
    """The declaration in `document`, whose `apiVersion` and `kind` are known to be right; None when it has mistakes."""
    data: Any = document.data
    spec = data.get("spec", {})
    if not data.keys() <= _FIELDS or not isinstance(spec, Mapping) or _has_null(data):
        return None
    variants: Mapping[str, type[Any]] = kind.variants() if kind.variants else {}
    chosen = [key for key in variants if key in spec]
    if variants and len(chosen) != 1:
        return None
    try:
        metadata = msgspec.convert(data.get("metadata"), Metadata)
        variant = msgspec.convert(spec[chosen[0]], variants[chosen[0]]) if chosen else None
        whole = msgspec.convert({key: value for key, value in spec.items() if key not in chosen}, kind.spec)
    except msgspec.ValidationError:
        return None
    if (
        (metadata.uid and kind.name != STACK)
        or ("labels" in data["metadata"] and not variants)
        or not (_one_each(variant) and _one_each(whole))
    ):
        return None
    return Declaration(kind.name, metadata, whole, document, chosen[0] if chosen else "", variant)


def doubtful(value: Any) -> bool:
    """Whether only the schema can tell: in Python's patterns, which the types use, `$` lets a last line break pass."""
    if isinstance(value, dict):
        return any(map(doubtful, value.values())) or any(map(doubtful, value))
    if isinstance(value, list):
        return any(map(doubtful, value))
    return isinstance(value, str) and value.endswith("\n")


def _has_null(value: Any) -> bool:
    """Types have None for what is left out; written down, it is a mistake."""
    if isinstance(value, dict):
        return any(map(_has_null, value.values()))
    if isinstance(value, list):
        return any(map(_has_null, value))
    return value is None


def _one_each(value: Any) -> bool:
    """Whether every struct with `ONE_OF` has exactly one of those fields."""
    if isinstance(value, msgspec.Struct):
        fields = getattr(value, "ONE_OF", ())
        if fields and sum(getattr(value, name) is not None for name in fields) != 1:
            return False
        return all(_one_each(getattr(value, name)) for name in value.__struct_fields__)
    if isinstance(value, list):
        return all(map(_one_each, value))
    return True
