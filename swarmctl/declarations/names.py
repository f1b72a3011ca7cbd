"""Names across a stack: declared twice, referred to and not declared, and the one Stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from swarmctl.declarations import codes
from swarmctl.declarations.declaration import Declaration
from swarmctl.declarations.schemas import Schemas
from swarmctl.declarations.words import did_you_mean, listing, sentences, shown_path
from swarmctl.diagnostics import Diagnostic, Related
from swarmctl.documents.document import Document, Path

STACK = "Stack"
_NAME: Path = ("metadata", "name")


class Named(NamedTuple):
    """A document whose kind is known. `name` is empty when it has none; `declaration` is None when it has errors."""

    kind: str
    name: str
    document: Document
    declaration: Declaration | None


def name_of(document: Document) -> str:
    """The name in a document's metadata, empty when there is none."""
    data = document.data
    metadata = data.get("metadata") if isinstance(data, Mapping) else None
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return name if isinstance(name, str) else ""


def duplicates(named: Sequence[Named]) -> tuple[list[Named], list[Diagnostic]]:
    """The first of each kind and name, and an error for every further one that shows both places."""
    first: dict[tuple[str, str], Named] = {}
    unique, found = [], []
    for one in named:
        earlier = first.setdefault((one.kind, one.name), one) if one.name else one
        if earlier is one:
            unique.append(one)
        else:
            found.append(_twice(earlier, one))
    return unique, found


def _twice(earlier: Named, one: Named) -> Diagnostic:
    return Diagnostic(
        codes.DUPLICATE_NAME,
        f"the {one.kind} `{one.name}` is declared twice",
        one.document.positions.value(_NAME),
        label="declared here again",
        help="give one of them another name, or remove it: names are unique per kind in a stack",
        related=(Related(earlier.document.positions.value(_NAME), "first declared here"),),
    )


def stacks(named: Sequence[Named], *, complete: bool) -> list[Diagnostic]:
    """Exactly one Stack; none is told only when every document is known."""
    found = [one for one in named if one.kind == STACK]
    if not found:
        return [_no_stack(named)] if complete and named else []
    # Those called the same are told as duplicates already.
    names = {found[0].name}
    extra = []
    for one in found[1:]:
        if one.name not in names:
            names.add(one.name)
            extra.append(one)
    return [
        Diagnostic(
            codes.SEVERAL_STACKS,
            f"a folder is one stack, and `{one.name}` is a second one beside `{found[0].name}`",
            one.document.positions.value(("kind",)),
            label="a second Stack",
            help="keep one of them, or move the other with its declarations into a folder of its own",
            related=(Related(found[0].document.positions.value(("kind",)), "the first Stack"),),
        )
        for one in extra
    ]


def _no_stack(named: Sequence[Named]) -> Diagnostic:
    document = named[0].document
    return Diagnostic(
        codes.NO_STACK,
        "none of the documents is a Stack",
        document.positions.value(("kind",)),
        label="the first document",
        help="add a document with `apiVersion: swarmctl/v1alpha1`, `kind: Stack` and `metadata: {name: NAME}`; "
        "`swarmctl init` writes one",
    )


def dangling(
    named: Sequence[Named], schemas: Schemas, *, lost: set[str], complete: bool
) -> Iterator[tuple[str, Diagnostic]]:
    """References to what is not declared, each with the kind of the document that makes it.

    A document with errors still declares its name. Nothing is called missing that may stand in a document that could
    not be read (`complete`), whose kind is unknown (`lost` holds their names), or that has lost its name.
    """
    if not complete:
        return
    declared: dict[str, set[str]] = {}
    for one in named:
        declared.setdefault(one.kind, set()).add(one.name)
    for one in named:
        for pattern, kind in schemas.of(one.kind).references:
            there = declared.get(kind, set())
            if "" in there:
                continue
            for path, value in _values(one.document.data, pattern, ()):
                if isinstance(value, str) and value not in there and value not in lost:
                    yield one.kind, _missing(one, path, value, kind, there)


def _missing(one: Named, path: Path, value: str, kind: str, there: set[str]) -> Diagnostic:
    declared = f"declared: {listing(there)}" if there else f"no {kind} is declared: add one called `{value}`"
    return Diagnostic(
        codes.DANGLING_REFERENCE,
        f"`{shown_path(path)}` of the {one.kind} `{one.name}` names the {kind} `{value}`, which is not declared",
        one.document.positions.value(path),
        label=f"no such {kind}",
        help=sentences(did_you_mean(value, there), declared),
    )


def _values(data: Any, pattern: tuple[str, ...], path: Path) -> Iterator[tuple[Path, Any]]:
    if not pattern:
        yield path, data
    elif pattern[0] != "*":
        if isinstance(data, Mapping) and pattern[0] in data:
            yield from _values(data[pattern[0]], pattern[1:], (*path, pattern[0]))
    elif isinstance(data, Mapping):
        for key, value in data.items():
            yield from _values(value, pattern[1:], (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _values(value, pattern[1:], (*path, index))
