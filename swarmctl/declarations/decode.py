"""Documents → typed declarations: kind, schema, types, names, references. Kinds are passed in, never imported."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from swarmctl.declarations import codes, names
from swarmctl.declarations.declaration import Declaration, Inventory
from swarmctl.declarations.names import Named
from swarmctl.declarations.schemas import KindSchema, Schemas, Source, shipped
from swarmctl.declarations.typed import KindOfSpec, doubtful, typed
from swarmctl.declarations.words import fold, listing, nearest, sentences, shown
from swarmctl.diagnostics import Code, Diagnostic, Position, Range
from swarmctl.documents.document import Document, Path

if TYPE_CHECKING:
    from swarmctl.declarations.partial import Mistakes

API_VERSION = "swarmctl/v1alpha1"


def decode(
    documents: Sequence[Document],
    kinds: Mapping[str, KindOfSpec],
    *,
    complete: bool = True,
    schemas: Source = shipped,
    told: Container[tuple[str, Position]] = (),
) -> tuple[Inventory, list[Diagnostic]]:
    """Check and type all documents of one stack; of one with mistakes the inventory holds what is known for certain.

    `complete` is False when files could not be read: then a name that is not there is not called missing.
    `told` are the files and beginnings of values that the reader has refused.
    """
    found: list[Diagnostic] = []
    named: list[Named] = []
    lost: set[str] = set()
    mistaken: set[str] = set()
    cache = Schemas(schemas)
    for document in documents:
        diagnostic = _envelope(document, kinds)
        if diagnostic is not None:
            found.append(diagnostic)
            lost.add(names.name_of(document))
            continue
        kind = kinds[document.data["kind"]]  # type: ignore[index]
        declaration = typed(document, kind)
        if declaration is None or doubtful(document.data):
            diagnostics, mistakes = _mistakes(document, cache.of(kind.name), told, taken=declaration is not None)
            found += diagnostics
            if mistakes is not None:
                mistaken.add(kind.name)
                declaration = _known_part(document, kind, mistakes)
        named.append(Named(kind.name, names.name_of(document), document, declaration))
    unique, duplicates = names.duplicates(named)
    found += duplicates
    mistaken.update(one.kind for one in named if one not in unique)
    stacks = names.stacks(named, complete=complete and not lost)
    if stacks:
        mistaken.add(names.STACK)
    dangling = list(names.dangling(named, cache, lost=lost, complete=complete))
    mistaken.update(kind for kind, _ in dangling)
    found += [*stacks, *(diagnostic for _, diagnostic in dangling)]
    declarations = (one.declaration for one in unique if one.declaration is not None)
    return Inventory(declarations, complete=complete and not lost, doubtful=mistaken), found


def _known_part(document: Document, kind: KindOfSpec, mistakes: Mistakes) -> Declaration | None:
    from swarmctl.declarations.partial import partial

    return None if mistakes.everything else partial(document, kind, mistakes)


def _envelope(document: Document, kinds: Mapping[str, KindOfSpec]) -> Diagnostic | None:
    """What keeps the document from being checked at all: one error, and none of what would follow from it."""
    data = document.data
    if not isinstance(data, Mapping):
        return Diagnostic(
            codes.NOT_A_MAPPING,
            f"a document is a mapping with `apiVersion`, `kind`, `metadata` and `spec`, and this is {shown(data)}",
            document.positions.value(()),
            label="not a mapping",
            help="write `key: value` lines; a file can hold several documents, divided by `---`",
        )
    for field, allowed, code in (
        ("apiVersion", [API_VERSION], codes.API_VERSION),
        ("kind", sorted(kinds), codes.KIND),
    ):
        value = data.get(field)
        if isinstance(value, str) and value in allowed:
            continue
        return _unknown_envelope(document, data, field, allowed, code)
    return None


def _unknown_envelope(
    document: Document, data: Mapping[str, Any], field: str, allowed: list[str], code: Code
) -> Diagnostic:
    what = listing(allowed)
    if field not in data:
        slip = next((key for key in data if fold(key) == fold(field)), "")
        hint = f"`{slip}` is written `{field}`" if slip else f"add `{field}: {allowed[0]}`" if len(allowed) == 1 else ""
        known = f"{'kinds' if field == 'kind' else 'known'}: {what}"
        where = document.positions.key((slip,)) if slip else _first(document, data)
        return Diagnostic(
            code, f"the document has no `{field}`", where, label=f"`{field}` is missing", help=sentences(hint, known)
        )
    value = data[field]
    near = nearest(value, allowed, cutoff=0.5) if isinstance(value, str) else ""
    return Diagnostic(
        code,
        f"unknown {field} {f'`{value}`' if isinstance(value, str) else shown(value)}",
        document.positions.key((field,)) if value is None else document.positions.value((field,)),
        label=f"not a known {field}",
        help=sentences(f"did you mean `{near}`?" if near else "", f"known: {what}"),
    )


def _first(document: Document, data: Mapping[str, Any]) -> Range:
    return document.positions.key((next(iter(data)),)) if data else document.positions.value(())


def _mistakes(
    document: Document, schema: KindSchema, told: Container[tuple[str, Position]], *, taken: bool
) -> tuple[list[Diagnostic], Mistakes | None]:
    """Why a document is not taken. What puts mistakes into words is loaded when there is one."""
    from swarmctl.declarations import messages
    from swarmctl.declarations.partial import Mistakes
    from swarmctl.declarations.validation import check

    found, mistakes = check(document, schema, told)
    if found or mistakes.any:
        return found, mistakes
    if taken:
        return [], None
    # JSON Schema takes 2.0 for a whole number, the types don't.
    for path, value in _leaves(document.data, ()):
        node = schema.at(path) or {}
        if isinstance(value, float) and "integer" in node.get("type", ()):
            found.append(messages.wrong_type(document, path, node))
            mistakes.bad.add(path)
    if not found:
        return [messages.not_taken(document, ("spec",), "its type refuses it")], Mistakes(everything=True)
    return found, mistakes


def _leaves(value: Any, path: Path) -> list[tuple[Path, Any]]:
    if isinstance(value, Mapping):
        return [leaf for key, item in value.items() for leaf in _leaves(item, (*path, key))]
    if isinstance(value, list):
        return [leaf for index, item in enumerate(value) for leaf in _leaves(item, (*path, index))]
    return [(path, value)]
