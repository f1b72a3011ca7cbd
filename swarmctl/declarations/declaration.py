"""A typed declaration: one document whose kind is known and whose spec has become that kind's frozen type."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from swarmctl.diagnostics import Range
from swarmctl.documents.document import Document, Path

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Metadata:
    """Kubernetes' envelope: a name that is unique per kind, labels for selectors, annotations for people."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    uid: str = ""
    """Only on `Stack`: written once by `swarmctl init`."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """One declared thing. `spec` is an instance of the kind's spec type, defaults filled in."""

    kind: str
    metadata: Metadata
    spec: Any
    document: Document
    variant: str = ""
    """For one-of kinds: the key that was chosen, such as `lab` in a NodePool."""
    variant_spec: Any = None
    """The typed value under that key."""

    @property
    def name(self) -> str:
        """The declared name."""
        return self.metadata.name

    def key(self, *path: str | int) -> Range:
        """Where the key at `path` (from the document's root) stands."""
        return self.document.positions.key(path)

    def value(self, *path: str | int) -> Range:
        """Where the value at `path` (from the document's root) stands."""
        return self.document.positions.value(path)


class Inventory:
    """All declarations of one stack, by kind and name, in the order of files and documents."""

    def __init__(self, declarations: Iterable[Declaration], *, complete: bool = True) -> None:
        self._all = tuple(declarations)
        self.complete = complete
        """False when documents with errors were left out: then nothing may be concluded from what is not here."""
        self._index = {(declaration.kind, declaration.name): declaration for declaration in reversed(self._all)}

    def __iter__(self) -> Iterator[Declaration]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def of(self, kind: str) -> list[Declaration]:
        """The declarations of one kind."""
        return [declaration for declaration in self._all if declaration.kind == kind]

    def get(self, kind: str, name: str) -> Declaration | None:
        """One declaration, or None when it is not declared."""
        return self._index.get((kind, name))


__all__ = ["Declaration", "Inventory", "Metadata", "Path"]
