"""What a YAML document has become: plain data in which every key and value still knows its place in the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from swarmctl.diagnostics import Range

Path = tuple[str | int, ...]
"""The way from the root of a document to a value: mapping keys and list indexes, as in JSON Schema's instance path."""


@dataclass(frozen=True, slots=True)
class Source:
    """One text that was read. `display` is the path as shown to the user."""

    display: str
    text: str


class Positions(Protocol):
    """Where things stand. Resolved late: only diagnostics ask."""

    def key(self, path: Path) -> Range:
        """The range of the key (or list item) that `path` ends in; the nearest enclosing one when it is missing."""
        ...

    def value(self, path: Path) -> Range:
        """The range of the value at `path`; the nearest enclosing one when it is missing."""
        ...


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file: `data` is plain JSON-like data by the YAML 1.2 core schema."""

    source: Source
    data: object
    positions: Positions
