"""A problem is a value: a stable code, a place in a file, a reason and a mend.

Rooms return diagnostics; only `reports` sorts, draws or serialises them. A `Code` is declared once, in the room
(or the kind) that finds the problem, and `swarmctl explain CODE` prints its explanation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum, unique


@unique
class Severity(StrEnum):
    """How bad it is: an `ERROR` stops the run (exit code 4), a `WARNING` never does."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """One character in a text; `line` and `column` count from 1, columns in Unicode code points."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """A span of one file: `start` is its first character, `end` is just past its last."""

    file: str
    """The path as shown to the user: relative to the folder the command works in where that is possible."""
    start: Position
    end: Position


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of problem that can be looked up with `swarmctl explain`.

    Ids: SW1xxx text and YAML, SW2xxx schema, names and references, SW3xxx the rules of kinds, SW4xxx the lab,
    hosts and engine. The first word of `title` is lower case; it never carries user data.
    """

    id: str
    title: str
    explanation: str
    """Markdown: what is wrong, why it matters, and a wrong and a right example."""


@dataclass(frozen=True, slots=True)
class Related:
    """A second place that belongs to the problem, such as the first of two definitions."""

    range: Range
    message: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing to tell the user."""

    code: Code
    message: str
    range: Range | None = None
    label: str = ""
    """What stands beside the underline; the short form of the reason."""
    help: str = ""
    """How to mend it, as an instruction."""
    severity: Severity = Severity.ERROR
    related: tuple[Related, ...] = field(default=())


def errors(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    """Those of `diagnostics` that stop a run."""
    return [diagnostic for diagnostic in diagnostics if diagnostic.severity is Severity.ERROR]
