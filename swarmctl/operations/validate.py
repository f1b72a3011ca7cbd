"""Folder → checked declarations, with every mistake at once. Reads files; no network, no engine, no state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from swarmctl import kinds
from swarmctl.declarations.codes import ABOUT_A_VALUE
from swarmctl.declarations.declaration import Inventory
from swarmctl.declarations.decode import decode
from swarmctl.diagnostics import Diagnostic, Range, errors
from swarmctl.documents import read_folder
from swarmctl.documents.codes import REFUSED
from swarmctl.kinds.base import load


@dataclass(frozen=True, slots=True)
class Checked:
    """All that reading and checking a folder brings to light."""

    inventory: Inventory
    diagnostics: tuple[Diagnostic, ...]
    """Errors and warnings, by file and place."""
    sources: Mapping[str, str]
    """Text by path as shown, for excerpts."""
    documents: int
    """How many documents were read."""

    @property
    def valid(self) -> bool:
        """Whether there are no errors; warnings don't count."""
        return not errors(list(self.diagnostics))


def validate(folder: Path) -> Checked:
    """Read and check the declarations in `folder`. Raises NoDocuments when there are none."""
    reading = read_folder(folder)
    registry = kinds.registry()
    # What the reader has told of a value needs no second telling of what follows from it.
    told = {one.range for one in errors(reading.diagnostics) if one.range}
    refused = {(one.range.file, one.range.start) for one in reading.diagnostics if one.range and one.code in REFUSED}
    inventory, found = decode(reading.documents, registry, complete=reading.whole, told=refused)
    spans = [*told, *(one.range for one in found if one.range and one.code in ABOUT_A_VALUE)]
    followed: list[Diagnostic] = []
    for kind in registry.values():
        if kind.rules and inventory.of(kind.name):
            rules: Callable[[Inventory], Iterable[Diagnostic]] = load(kind.rules)
            followed += rules(inventory)
    found += [one for one in followed if not any(_inside(one.range, span) for span in spans)]
    diagnostics = sorted([*reading.diagnostics, *(one for one in found if one.range not in told)], key=_place)
    return Checked(inventory, tuple(diagnostics), reading.sources, len(reading.documents))


def _inside(place: Range | None, span: Range) -> bool:
    return place is not None and place.file == span.file and span.start <= place.start and place.end <= span.end


def _place(diagnostic: Diagnostic) -> tuple[str, int, int, str]:
    where = diagnostic.range
    if where is None:
        return "", 0, 0, diagnostic.code.id
    return where.file, where.start.line, where.start.column, diagnostic.code.id
