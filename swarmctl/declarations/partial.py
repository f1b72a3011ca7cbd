"""A document with mistakes → what can be said of it for certain, so that rules find its other mistakes in the same go.

Mistaken values become unknown ones. An unknown value equals nothing, is less or greater than nothing and selects
nothing, so no rule can conclude anything from it; what a rule finds in the rest holds however the mistakes are mended.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import inspect

from swarmctl.declarations.declaration import Declaration, Metadata, Unknown
from swarmctl.declarations.typed import KindOfSpec
from swarmctl.diagnostics import Range
from swarmctl.documents.document import Document, Path, Positions

_ABSENT = object()
"""Stands for a mapping that has a mistake itself: none of its fields is known."""


@dataclass(slots=True)
class Mistakes:
    """What of a document is not to be relied on."""

    bad: set[Path] = field(default_factory=set)
    """Places of values that break the schema."""
    meant: set[Path] = field(default_factory=set)
    """Fields that are not there and most likely stand elsewhere, misspelt or at the wrong depth."""
    everything: bool = False
    """Nothing is known."""

    @property
    def any(self) -> bool:
        """Whether there are such values; what is missing or too much leaves none."""
        return self.everything or bool(self.bad)


@dataclass(frozen=True, slots=True)
class _Shifted:
    """Positions of a document whose lists have lost items: paths count those that are left."""

    positions: Positions
    kept: Mapping[Path, list[int]]
    """By path of a list, as counted now: the places that its items have in the file."""

    def key(self, path: Path) -> Range:
        return self.positions.key(self._written(path))

    def value(self, path: Path) -> Range:
        return self.positions.value(self._written(path))

    def _written(self, path: Path) -> Path:
        steps: list[str | int] = []
        for end, step in enumerate(path):
            kept = self.kept.get(path[:end])
            steps.append(kept[step] if kept is not None and isinstance(step, int) and step < len(kept) else step)
        return tuple(steps)


def partial(document: Document, kind: KindOfSpec, mistakes: Mistakes) -> Declaration:
    """The declaration as far as it is known; `apiVersion` and `kind` are known to be right."""
    data: Any = document.data
    builder = _Builder(mistakes)
    metadata = builder.struct(Metadata, data.get("metadata"), ("metadata",), ("metadata",))
    written = data.get("metadata")
    if isinstance(written, Mapping) and isinstance(written.get("name"), str):
        # A name of the wrong form is a name: references and duplicates go by it.
        metadata = msgspec.structs.replace(metadata, name=written["name"])
    spec = data.get("spec", {})
    variants: Mapping[str, type[Any]] = kind.variants() if kind.variants else {}
    chosen = [key for key in variants if isinstance(spec, Mapping) and key in spec]
    variant = None
    if chosen:
        path = ("spec", chosen[-1])
        variant = builder.struct(variants[chosen[-1]], spec[chosen[-1]], path, path)
    whole = builder.struct(kind.spec, spec, ("spec",), ("spec",))
    positions = _Shifted(document.positions, builder.kept)
    return Declaration(
        kind.name, metadata, whole, Document(document.source, data, positions), chosen[-1] if chosen else "", variant
    )


class _Builder:
    """Builds types from plain data without checking it: that has been done."""

    def __init__(self, mistakes: Mistakes) -> None:
        self.mistakes = mistakes
        self.kept: dict[Path, list[int]] = {}

    def struct(self, of: type[Any], data: Any, path: Path, place: Path) -> Any:
        """`path` is where `data` stands in the file, `place` where it stands among what is kept."""
        if not isinstance(data, Mapping):
            data = _ABSENT
        given = [name for name in getattr(of, "ONE_OF", ()) if data is not _ABSENT and _written(of, name) in data]
        values = {}
        for each in msgspec.structs.fields(of):
            below = inspect.type_info(each.type)
            here, there = (*path, each.encode_name), (*place, each.encode_name)
            if len(given) > 1 and each.name in given[:-1]:
                continue  # several that exclude each other: one of them is looked at, the others' defaults stand
            if data is _ABSENT:
                values[each.name] = _unknown(below)
            elif each.encode_name in data:
                values[each.name] = self.value(below, data[each.encode_name], here, there)
            elif each.required or here in self.mistakes.meant:
                values[each.name] = _unknown(below)
        return of(**values)

    def value(self, of: inspect.Type, data: Any, path: Path, place: Path) -> Any:
        """`data` as the type has it, unknown where it is mistaken."""
        of = _plain(of)
        if data is None:
            return _unknown(of)
        if isinstance(of, inspect.UnionType):
            options = [_plain(option) for option in of.types if not isinstance(option, inspect.NoneType)]
            if len(options) == 1:
                return (
                    _unknown(of) if self._wrong(options[0], data, path) else self.value(options[0], data, path, place)
                )
        if self._wrong(of, data, path):
            return _unknown(of)
        if isinstance(of, inspect.StructType):
            return self.struct(of.cls, data, path, place)
        if isinstance(of, inspect.ListType):
            return self._list(of, data, path, place)
        if isinstance(of, inspect.DictType):
            return {key: self.value(of.value_type, item, (*path, key), (*place, key)) for key, item in data.items()}
        return data

    def _list(self, of: inspect.ListType, data: list[Any], path: Path, place: Path) -> list[Any]:
        kept = [index for index, item in enumerate(data) if not self._wrong(_plain(of.item_type), item, (*path, index))]
        if len(kept) < len(data):
            self.kept[place] = kept
        return [
            self.value(of.item_type, data[index], (*path, index), (*place, number)) for number, index in enumerate(kept)
        ]

    def _wrong(self, of: inspect.Type, data: Any, path: Path) -> bool:
        """Whether nothing of the value can be used; a list or mapping of the wrong size can."""
        if isinstance(of, inspect.StructType | inspect.DictType):
            return not isinstance(data, Mapping)
        if isinstance(of, inspect.ListType):
            return not isinstance(data, list)
        return data is None or isinstance(data, (list, Mapping)) or path in self.mistakes.bad


def _written(of: type[Any], name: str) -> str:
    return next(each.encode_name for each in msgspec.structs.fields(of) if each.name == name)


def _plain(of: inspect.Type) -> inspect.Type:
    while isinstance(of, inspect.Metadata):
        of = of.type
    return of


def _unknown(of: inspect.Type) -> Any:
    """A value of the type from which nothing can be concluded."""
    of = _plain(of)
    match of:
        case inspect.UnionType():
            options = [_plain(option) for option in of.types]
            texts = [option for option in options if isinstance(option, inspect.StrType | inspect.LiteralType)]
            return Unknown() if texts else None
        case inspect.StructType():
            return of.cls(
                **{each.name: _unknown(inspect.type_info(each.type)) for each in msgspec.structs.fields(of.cls)}
            )
        case inspect.ListType():
            return []
        case inspect.DictType():
            return {Unknown(): Unknown()}
        case inspect.IntType() | inspect.FloatType():
            return math.nan
        case inspect.BoolType():
            return False
    return Unknown()
