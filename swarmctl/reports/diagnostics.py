"""Diagnostics → what a person reads (excerpt, underline, how to mend it) or what a program reads (JSON)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from swarmctl.diagnostics import Diagnostic, Position, Range, Severity
from swarmctl.documents.text import LINE_BREAK, printable

MOST_PER_FILE = 20
"""Diagnostics shown per file; the rest is counted. JSON has them all."""
LONGEST_LINE = 120
"""Characters of a line that are shown; of a longer one, those around the underlined place."""
BEFORE_PLACE = 40
TAB_WIDTH = 4

_COLORS = {Severity.ERROR: "red", Severity.WARNING: "yellow"}


def render_text(diagnostics: Sequence[Diagnostic], sources: Mapping[str, str], *, color: bool) -> str:
    """All diagnostics, sorted by file and place, with a summary line at the end; "" when there are none.

    `sources` maps files as shown in the ranges to their text. Whatever comes from files is escaped: it may not move
    the cursor or colour the terminal. With `color` the same characters are coloured, and nothing else changes.
    """
    if not diagnostics:
        return ""
    page = _Page(sources, color)
    blocks: list[str] = []
    for file, here in _by_file(diagnostics):
        # Errors have the right of way when there is no room for all; what is shown stays in the order of the file.
        shown = sorted(sorted(here, key=lambda each: each.severity is Severity.WARNING)[:MOST_PER_FILE], key=_order)
        blocks += [page.block(diagnostic) for diagnostic in shown]
        if len(here) > len(shown):
            blocks.append(f"… and {len(here) - len(shown)} more in {printable(file)}; `--format json` has them all")
    return "\n\n".join([*blocks, summary(diagnostics)]) + "\n"


def summary(diagnostics: Sequence[Diagnostic]) -> str:
    """`3 errors, 1 warning in 2 files`."""
    counts = [
        f"{count} {severity}{'s' if count > 1 else ''}"
        for severity in Severity
        if (count := sum(each.severity is severity for each in diagnostics))
    ]
    files = len({each.range.file for each in diagnostics if each.range})
    where = f" in {files} file{'s' if files > 1 else ''}" if files else ""
    return ", ".join(counts) + where


def to_json(diagnostics: Sequence[Diagnostic]) -> dict[str, Any]:
    """The published form `swarmctl/validate/v1`: fields are only ever added.

    `line` and `column` count from 1, columns in Unicode code points; `endColumn` is just past the last character.
    What belongs to no file has null there. `label` and `related` are left out when there is nothing in them.
    """
    ordered = [each for _, here in _by_file(diagnostics) for each in here]
    return {"schema": "swarmctl/validate/v1", "diagnostics": [_json(each) for each in ordered]}


def _json(diagnostic: Diagnostic) -> dict[str, Any]:
    value: dict[str, Any] = {
        "code": diagnostic.code.id,
        "severity": str(diagnostic.severity),
        **_json_range(diagnostic.range),
        "message": diagnostic.message,
        "help": diagnostic.help,
    }
    if diagnostic.label:
        value["label"] = diagnostic.label
    if diagnostic.related:
        value["related"] = [{**_json_range(each.range), "message": each.message} for each in diagnostic.related]
    return value


def _json_range(place: Range | None) -> dict[str, Any]:
    if place is None:
        return dict.fromkeys(("file", "line", "column", "endLine", "endColumn"))
    return {
        "file": place.file,
        "line": place.start.line,
        "column": place.start.column,
        "endLine": place.end.line,
        "endColumn": place.end.column,
    }


def _by_file(diagnostics: Iterable[Diagnostic]) -> list[tuple[str, list[Diagnostic]]]:
    """The diagnostics of each file in the order of its text; what belongs to no file comes first."""
    files: dict[str, list[Diagnostic]] = {}
    for diagnostic in sorted(diagnostics, key=_order):
        files.setdefault(diagnostic.range.file if diagnostic.range else "", []).append(diagnostic)
    return list(files.items())


def _order(diagnostic: Diagnostic) -> tuple[str, Position, str, str]:
    place = diagnostic.range
    if place is None:
        return "", Position(0, 0), diagnostic.code.id, diagnostic.message
    return place.file, place.start, diagnostic.code.id, diagnostic.message


class _Page:
    """Draws blocks; keeps the lines of files that were already cut up."""

    def __init__(self, sources: Mapping[str, str], color: bool) -> None:
        self._sources = sources
        self._color = color
        self._lines: dict[str, list[str]] = {}

    def block(self, diagnostic: Diagnostic) -> str:
        """One diagnostic as lines of text."""
        color = _COLORS[diagnostic.severity]
        head = self._style(f"{diagnostic.severity}[{diagnostic.code.id}]", color)
        lines = [f"{head}: {self._style(printable(diagnostic.message))}"]
        places = [diagnostic.range, *(each.range for each in diagnostic.related)]
        width = max((len(str(place.start.line)) for place in places if place), default=1)
        if diagnostic.range:
            lines += self._excerpt(diagnostic.range, diagnostic.label, width, "-->", "^", color)
        for related in diagnostic.related:
            lines += self._excerpt(related.range, related.message, width, ":::", "-", "blue")
        explain = f"`swarmctl explain {diagnostic.code.id}`"
        help = printable(diagnostic.help)
        if explain not in help:
            help = f"{help}; see {explain}" if help else f"see {explain}"
        lines.append(f"{self._gutter(width, '=')} {self._style('help', 'cyan')}: {help}")
        return "\n".join(lines)

    def _excerpt(self, place: Range, label: str, width: int, arrow: str, mark: str, color: str) -> list[str]:
        line = self._line(place)
        file = printable(place.file)
        pointer = " " * width + self._style(arrow, "blue")
        if line is None:
            # A file that could not be read has no lines to point at.
            return [f"{pointer} {file}", *([f"{self._gutter(width, '=')} {printable(label)}"] if label else [])]
        start = place.start.column - 1
        same_line = place.end.line == place.start.line
        end = max(place.end.column - 1, start + 1) if same_line else max(len(line.rstrip()), start + 1)
        text, before, length = _show(line, start, end)
        notes = [printable(label)] if label else []
        if not same_line:
            notes.append(f"(to line {place.end.line})")
        underline = self._style(" ".join([mark * length, *notes]), color)
        return [
            f"{pointer} {file}:{place.start.line}:{place.start.column}",
            self._gutter(width, "|"),
            f"{self._style(f'{place.start.line:>{width}} |', 'blue')} {text}".rstrip(),
            f"{self._gutter(width, '|')} {' ' * before}{underline}",
        ]

    def _line(self, place: Range) -> str | None:
        """The line on which `place` starts; None when the file's text isn't known."""
        text = self._sources.get(place.file)
        if not text:
            return None
        if place.file not in self._lines:
            self._lines[place.file] = LINE_BREAK.split(text)
        lines = self._lines[place.file]
        return lines[place.start.line - 1] if place.start.line <= len(lines) else None

    def _gutter(self, width: int, sign: str) -> str:
        return self._style(" " * (width + 1) + sign, "blue")

    def _style(self, text: str, color: str | None = None) -> str:
        return click.style(text, fg=color, bold=True) if self._color else text


def _show(line: str, start: int, end: int) -> tuple[str, int, int]:
    """What of a line is shown, and where the span from `start` to `end` (in characters) lies in it (in cells)."""
    first = max(0, start - BEFORE_PLACE) if len(line) > LONGEST_LINE and end > LONGEST_LINE - 20 else 0
    last = min(len(line), first + LONGEST_LINE)
    shown = ["…"] if first else []
    cells = len(shown)
    before = length = 0
    for column in range(first, last):
        text, width = _cell(line[column], cells)
        if column < start:
            before += width
        elif column < end:
            length += width
        cells += width
        shown.append(text)
    if last < len(line):
        shown.append("…")
    return "".join(shown), before + (1 if first else 0), max(length, 1)


def _cell(character: str, cells: int) -> tuple[str, int]:
    """How one character is shown, and how many cells of a terminal it takes."""
    if character == "\t":
        width = TAB_WIDTH - cells % TAB_WIDTH
        return " " * width, width
    if character.isascii() and character.isprintable():
        return character, 1
    text = printable(character)
    if text != character:
        return text, len(text)
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return text, 0
    return text, 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
