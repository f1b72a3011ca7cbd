"""A typed declaration: one document whose kind is known and whose spec has become that kind's frozen type."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    # The provider knows the kinds and their specs, and never reads a document.
    from swarmctl.diagnostics import Range
    from swarmctl.documents.document import Document

S = TypeVar("S")


class Unknown(str):
    """Text that is not known, because what is written has a mistake. It equals nothing but itself."""

    __slots__ = ()

    def __new__(cls) -> Unknown:
        """Every one is another."""
        return super().__new__(cls, "?")

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    def __hash__(self) -> int:
        return id(self)

    def __add__(self, other: str) -> Unknown:
        """What begins with it is as unknown."""
        return Unknown()


Name = Annotated[
    str,
    msgspec.Meta(
        pattern="^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        extra_json_schema={
            "patternErrorMessage": "lower-case letters, digits and hyphens, a letter or digit at both ends, at most 63 "
            "characters"
        },
    ),
]
"""A DNS label (RFC 1123)."""

LabelKey = Annotated[
    str,
    msgspec.Meta(
        pattern="^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$",
        extra_json_schema={
            "patternErrorMessage": "letters, digits, `.`, `_`, `/` and `-`, a letter or digit at both ends, at most 63 "
            "characters"
        },
    ),
]
LabelValue = Annotated[
    str,
    msgspec.Meta(
        pattern="^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$",
        extra_json_schema={
            "patternErrorMessage": "letters, digits, `.`, `_` and `-`, a letter or digit at both ends, at most 63 "
            "characters"
        },
    ),
]
Uid = Annotated[
    str,
    msgspec.Meta(
        pattern="^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        extra_json_schema={"patternErrorMessage": "a UUID in lower case, such as 5b2a9a52-7d0c-4c6e-9a0e-6f1f4f0a9c11"},
    ),
]


def is_known(selector: Mapping[str, str]) -> bool:
    """Whether nothing in a selector is unknown."""
    return not any(isinstance(text, Unknown) for item in selector.items() for text in item)


class Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name, labels and annotations."""

    name: Annotated[
        Name, msgspec.Meta(description="Name, unique per kind in the stack; a DNS label (RFC 1123).", examples=["core"])
    ]
    labels: Annotated[
        dict[LabelKey, LabelValue],
        msgspec.Meta(
            description="Labels of the pool's machines; selectors find machines by them.", examples=[{"role": "worker"}]
        ),
    ] = {}
    annotations: Annotated[
        dict[str, str],
        msgspec.Meta(description="Notes for people and other tools, free text; swarmctl never reads them."),
    ] = {}
    uid: Annotated[
        Uid,
        msgspec.Meta(
            description="Whose things these are: a random UUID, written once by `swarmctl init`, never changed; "
            "only on a Stack.",
            examples=["5b2a9a52-7d0c-4c6e-9a0e-6f1f4f0a9c11"],
        ),
    ] = ""
    protect: Annotated[
        bool,
        msgspec.Meta(
            description="Whether to refuse every plan that would delete what this declares or make it anew. On a "
            "Cluster it holds for everything on the cluster's machines, on a Stack for everything in the stack."
        ),
    ] = False


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

    def written(self, *path: str | int) -> bool:
        """Whether there is anything at `path` in the file; a default is not."""
        data: Any = self.document.data
        for step in path:
            if not isinstance(data, dict) or step not in data:
                return False
            data = data[step]
        return True

    def value(self, *path: str | int) -> Range:
        """Where the value at `path` (from the document's root) stands."""
        return self.document.positions.value(path)


class Inventory:
    """All declarations of one stack, by kind and name, in the order of files and documents."""

    def __init__(
        self, declarations: Iterable[Declaration], *, complete: bool = True, doubtful: Iterable[str] = ()
    ) -> None:
        self._all = tuple(declarations)
        self.complete = complete
        """False when documents could not be read or told apart: then nothing may be concluded from what is not here."""
        self._doubtful = frozenset(doubtful)
        self._index = {(declaration.kind, declaration.name): declaration for declaration in reversed(self._all)}

    def __iter__(self) -> Iterator[Declaration]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def of(self, kind: str) -> list[Declaration]:
        """The declarations of one kind."""
        return [declaration for declaration in self._all if declaration.kind == kind]

    def knows(self, *kinds: str) -> bool:
        """Whether all declarations of these kinds are here, without mistakes: what is not here is nowhere."""
        return self.complete and self._doubtful.isdisjoint(kinds)

    def get(self, kind: str, name: str) -> Declaration | None:
        """One declaration, or None when it is not declared."""
        return self._index.get((kind, name))


__all__ = ["Declaration", "Inventory", "Metadata", "Unknown"]
