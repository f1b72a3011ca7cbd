"""Bytes of a file → text, and offsets in that text → lines and columns as editors count them."""

from __future__ import annotations

import codecs
import re
import unicodedata
from bisect import bisect_right

from swarmctl.diagnostics import Code, Diagnostic, Position, Range
from swarmctl.documents.codes import FORBIDDEN_CHARACTER, NOT_TEXT
from swarmctl.documents.document import Source

LINE_BREAK = re.compile(r"\r\n|\n|\r")
"""The line breaks of YAML 1.2 (5.4)."""

_PLAIN_BYTES = bytes([0x09, 0x0A, 0x0D, *range(0x20, 0x7F)])
# Outside of YAML's c-printable, other line breaks, a second byte order mark, and what turns writing around.
_FORBIDDEN = (
    "[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u2028\u2029\ufeff\u202a-\u202e\u2066-\u2069]"
)
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class Lines:
    """Where the lines of one text start; built when the first diagnostic asks."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._starts: list[int] | None = None

    def position(self, offset: int) -> Position:
        """Line and column of the character at `offset`; an offset past the end is the end."""
        if self._starts is None:
            self._starts = [0, *(match.end() for match in LINE_BREAK.finditer(self.source.text))]
        offset = max(0, min(offset, len(self.source.text)))
        line = bisect_right(self._starts, offset)
        return Position(line, offset - self._starts[line - 1] + 1)

    def range(self, start: int, end: int) -> Range:
        """The span from `start` to just before `end`."""
        return Range(self.source.display, self.position(start), self.position(end))


def decode(display: str, data: bytes) -> tuple[Source, list[Diagnostic]]:
    """The text of a file, or what keeps it from being one; then the source holds what can be shown of it.

    A byte order mark decides on the encoding (YAML 1.2, 5.2) and isn't part of the text.
    """
    encoding = "utf-8"
    for mark, name in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            encoding, data = name, data[len(mark) :]
            break
    if encoding == "utf-8" and not data.translate(None, _PLAIN_BYTES):
        return Source(display, data.decode("ascii")), []
    if encoding == "utf-8" and b"\0" in data:
        return _no_text(display)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        return _undecodable(display, data, encoding, error)
    source = Source(display, text)
    return source, _forbidden(source)


def _no_text(display: str) -> tuple[Source, list[Diagnostic]]:
    start = Position(1, 1)
    problem = Diagnostic(
        NOT_TEXT,
        "this file is not text: it holds NUL bytes",
        Range(display, start, start),
        help="move it out of the stack's folder; if it is text in UTF-16, save it as UTF-8",
    )
    return Source(display, ""), [problem]


def _undecodable(
    display: str, data: bytes, encoding: str, error: UnicodeDecodeError
) -> tuple[Source, list[Diagnostic]]:
    source = Source(display, data.decode(encoding, "replace"))
    offset = len(data[: error.start].decode(encoding, "replace"))
    wrong = " ".join(f"{byte:02X}" for byte in data[error.start : error.end][:4])
    problem = Diagnostic(
        NOT_TEXT,
        f"this file is not valid {encoding[:-3].upper() if encoding != 'utf-8' else 'UTF-8'}",
        Lines(source).range(offset, offset + 1),
        label=f"byte {wrong}" if len(wrong) == 2 else f"bytes {wrong}",
        help="save the file as UTF-8",
    )
    return source, [problem]


def _forbidden(source: Source) -> list[Diagnostic]:
    # Compiled here (and kept by `re`): most files are ASCII and never get here.
    first = re.search(_FORBIDDEN, source.text)
    if first is None:
        return []
    count = sum(1 for _ in re.finditer(_FORBIDDEN, source.text))
    name = character_name(first.group())
    more = f"; {count - 1} more in this file" if count > 1 else ""
    return [
        problem_at(
            Lines(source),
            FORBIDDEN_CHARACTER,
            f"the character {name} is not allowed{more}",
            first.start(),
            first.end(),
            help=f'remove it, or write it as an escape in double quotes: "\\u{ord(first.group()):04x}"',
        )
    ]


def problem_at(
    lines: Lines, code: Code, message: str, start: int, end: int, *, label: str = "", help: str
) -> Diagnostic:
    """An error at a span of offsets."""
    return Diagnostic(code, message, lines.range(start, end), label=label, help=help)


def character_name(character: str) -> str:
    """`U+202E RIGHT-TO-LEFT OVERRIDE`; control characters have no names of their own."""
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X} {name}".rstrip()


def printable(text: str) -> str:
    """`text` with everything escaped that could move a terminal's cursor, colour it, or turn writing around.

    Tabs and line breaks are escaped too. Used wherever text from files or file names reaches a terminal.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
