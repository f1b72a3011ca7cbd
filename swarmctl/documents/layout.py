"""The one way to lay out a text: two spaces per level, one blank line at most, comments kept where they belong.

Works on libyaml's tokens and copies every scalar and comment as it is written; only what stands between them changes:
indentation, blanks, blank lines, `---`, and the order of the envelope's keys. (Round trips through a YAML library were
tried: they lose blank lines, leave comments in their old columns and write scalars anew.)

What the user decides stays: quotes, `[a, b]` or a list with dashes, and whether brackets span one line or several.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from yaml import tokens as t
from yaml._yaml import CParser

from swarmctl.documents.text import LINE_BREAK

ENVELOPE = ("apiVersion", "kind", "metadata", "spec")
INDENT = 2
MODELINE = "# yaml-language-server:"
_FARTHEST_COMMENT = 30
"""Comments of adjacent lines stand in one column unless that pushes one farther than this from its text."""

_STRUCTURE = (t.BlockMappingStartToken, t.BlockSequenceStartToken, t.BlockEndToken, t.KeyToken)
_OPENING = (t.FlowSequenceStartToken, t.FlowMappingStartToken)
_CLOSING = (t.FlowSequenceEndToken, t.FlowMappingEndToken)
_ENDING = (t.DocumentStartToken, t.DocumentEndToken, t.StreamEndToken, t.DirectiveToken)


class CannotLayOut(Exception):
    """The text uses what has no place in the layout; the message says what."""


@dataclass(slots=True)
class Line:
    """One line of the result."""

    text: str
    comment: str = ""
    """Behind the text, with its `#`."""
    blank: bool = False
    """An empty line between things, as opposed to one inside a text."""


@dataclass(slots=True)
class _Level:
    """An open mapping or list."""

    kind: str
    """`mapping`, `list` (with dashes), or `flow` (in brackets)."""
    column: int
    """Where it started in the source, for comments that belong to it; -1 outside of everything."""
    indent: int
    """Where its keys, dashes or items start in the result."""
    tall: bool = False
    """In brackets: one item per line."""
    implied: bool = False
    """A list whose dashes stood in the column of its key, which libyaml doesn't announce."""


@dataclass(slots=True)
class Laid:
    """A text laid out."""

    text: str
    comments: list[str] = field(default_factory=list)
    """All comments, for proof that none was lost."""


def lay_out(text: str) -> Laid:
    """Lay out a text that the reader has accepted. Raises CannotLayOut for explicit keys (`? key`)."""
    return _Printer(LINE_BREAK.sub("\n", text)).run()


class _Printer:
    """Walks the tokens once and writes lines."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines: list[Line] = []
        self.comments: list[str] = []
        self.levels: list[_Level] = []
        self.tall: set[int] = set()
        """Offsets of the brackets that span several lines."""
        self.done = 0
        """Offset up to which the source has been dealt with."""
        self.at_line_start = True
        """`done` is the beginning of a line of the source."""
        self.line: Line | None = None
        """What the next token may be added to."""
        self.last: type[Any] | None = None
        """The token written last."""
        self.fresh = True
        """The next token begins a line."""
        self.entry = False
        """The next token begins a key."""
        self.separator: int | None = None
        """Where `---` goes, should the document turn out to have content."""
        self.has_content = False
        self.keys: list[tuple[str, int]] = []
        """The root's keys of this document, each with its first line."""

    def run(self) -> Laid:
        """The whole stream."""
        tokens = list(_tokens(self.text))
        self.tall = _tall_brackets(self.text, tokens)
        waiting: list[Any] = []
        for token in tokens:
            if isinstance(token, _STRUCTURE):
                if token.start_mark.index != token.end_mark.index:
                    raise CannotLayOut("it has a key written with `?`")
                waiting.append(token)
            elif not isinstance(token, t.StreamStartToken):
                self._between(waiting, token)
                waiting = []
                self._token(token)
                self.last = type(token)
        return Laid(_join(self.lines), self.comments)

    # What stands between two tokens: structure, comments, blank lines.

    def _between(self, waiting: list[Any], token: Any) -> None:
        popped = self._structure(waiting, token)
        target = self.levels[-1] if self.levels else _Level("mapping", -1, 0)
        own_line = self.entry or target.kind == "flow" or isinstance(token, (t.BlockEntryToken, *_ENDING))
        indent = target.indent if own_line else self._inside()
        between = self._gap(token.start_mark.index)
        if not self.fresh and not any(comment for _, comment in between):
            between = []  # the token stays in its line
        if self.last in (t.ValueToken, t.BlockEntryToken, *_OPENING):
            while between and not between[0][1]:
                del between[0]
        owners = [_owner(popped, target, column) if comment else None for column, comment in between]
        inner = max((number + 1 for number, owner in enumerate(owners) if owner), default=0)
        chunk = len(self.lines) + inner
        for (_, comment), owner in zip(between, owners, strict=True):
            at = owner.indent if owner else indent
            self.lines.append(Line(" " * at + comment) if comment else Line("", blank=True))
            self.fresh = True
        if isinstance(token, _ENDING):
            self._order_envelope(chunk)
            self.keys, self.levels = [], []
        elif self.entry and len(self.levels) == 1:
            self.keys.append(("", chunk))

    def _structure(self, waiting: list[Any], token: Any) -> list[_Level]:
        """Close and open levels; returns those closed, the deepest first."""
        popped: list[_Level] = []
        opened = False
        for each in waiting:
            if isinstance(each, t.BlockEndToken | t.KeyToken) and self.levels and self.levels[-1].implied:
                popped.append(self.levels.pop())
            if isinstance(each, t.BlockEndToken):
                popped.append(self.levels.pop())
            elif not isinstance(each, t.KeyToken):
                kind = "list" if isinstance(each, t.BlockSequenceStartToken) else "mapping"
                self.levels.append(_Level(kind, each.start_mark.column, self._inside()))
                opened = True
            elif not self.levels or self.levels[-1].kind != "flow":
                self.entry = True
                self.fresh = self.fresh or not (opened and self.last is t.BlockEntryToken)
        if isinstance(token, t.BlockEntryToken):
            if not self.levels or self.levels[-1].kind != "list":
                column = self.levels[-1].column if self.levels else 0
                self.levels.append(_Level("list", column, self._inside(), implied=True))
            self.fresh = self.fresh or not (opened and self.last is t.BlockEntryToken)
        elif isinstance(token, _ENDING) or (isinstance(token, _CLOSING) and self.levels[-1].tall):
            self.fresh = True
        return popped

    def _inside(self) -> int:
        """Where what belongs to the innermost level starts."""
        if not self.levels:
            return 0
        level = self.levels[-1]
        return level.indent if level.kind == "flow" else level.indent + INDENT

    def _gap(self, end: int) -> list[tuple[int, str]]:
        """What stands before `end`, a comment behind the last token apart: blank lines ("") and comments by column."""
        pieces = self.text[self.done : end].split("\n")
        between = []
        for number, piece in enumerate(pieces):
            comment = piece.strip()
            if comment:
                self.comments.append(comment)
            if number == 0 and not self.at_line_start:
                if comment and self.line is not None and not self.line.comment:
                    self.line.comment = comment
                elif comment:
                    between.append((0 if self.line is None else self._inside(), comment))
            elif comment or number < len(pieces) - 1:
                between.append((len(piece) - len(piece.lstrip()), comment))
        return between

    # Documents.

    def _begin_document(self) -> None:
        if self.separator is not None:
            # Comments before the first key were written already, and belong behind the `---`.
            self.lines.insert(self.separator, Line("---"))
            self.keys = [(name, start + 1) for name, start in self.keys]
            self.separator = None
        self.has_content = True

    def _order_envelope(self, footer: int) -> None:
        """Bring the root's keys, with the comments above them, in order; `footer` is the line behind the last one's."""
        names = [name for name, _ in self.keys]
        wanted = sorted(names, key=lambda name: ENVELOPE.index(name) if name in ENVELOPE else len(ENVELOPE))
        if names == wanted:
            return
        starts = [start for _, start in self.keys]
        starts[0] += _header(self.lines[starts[0] : footer])
        bounds = zip(starts, [*starts[1:], footer], strict=True)
        chunks = {name: self.lines[start:end] for name, (start, end) in zip(names, bounds, strict=True)}
        self.lines[starts[0] : footer] = [line for name in wanted for line in chunks[name]]

    # Tokens.

    def _token(self, token: Any) -> None:
        start, self.done = token.start_mark.index, token.end_mark.index
        self.at_line_start = False
        written = self.text[start : self.done]
        if isinstance(token, _ENDING):
            if isinstance(token, t.DocumentStartToken):
                self.separator = len(self.lines) if self.has_content else None
            self.line, self.fresh = None, True
        elif isinstance(token, t.BlockEntryToken):
            self._write("-", self.levels[-1].indent)
        elif isinstance(token, t.ValueToken):
            self._append(":")
        elif isinstance(token, t.FlowEntryToken):
            self._append(" ," if self.last is t.ValueToken else ",")
            self.fresh = self.levels[-1].tall
        elif isinstance(token, _OPENING):
            self._open(written, tall=start in self.tall)
        elif isinstance(token, _CLOSING):
            self._close(written)
        elif isinstance(token, t.ScalarToken):
            if self.entry and self.keys and not self.keys[-1][0]:
                self.keys[-1] = (token.value, self.keys[-1][1])
            if token.style in ("|", ">") and not token.plain:
                self._block_text(written)
            else:
                self._text(written)
        else:
            self._text(written)

    def _write(self, piece: str, indent: int) -> None:
        """Add to the line behind a blank, or begin one at `indent`."""
        self._begin_document()
        if self.fresh or self.line is None or self.line.comment:
            self.line = Line(" " * indent + piece)
            self.lines.append(self.line)
        else:
            self.line.text += piece if self.last in _OPENING else f" {piece}"
        self.fresh = False

    def _append(self, piece: str) -> None:
        """Add to the line without a blank, in front of its comment."""
        if self.line is not None:
            self.line.text += piece

    def _open(self, bracket: str, *, tall: bool) -> None:
        inside = self._inside()
        self._write(bracket, inside)
        # YAML wants all of it farther in than the key, the closing bracket too.
        self.levels.append(_Level("flow", -1, inside + INDENT if tall else inside, tall=tall))
        self.fresh, self.entry = tall, False

    def _close(self, bracket: str) -> None:
        level = self.levels.pop()
        if level.tall:
            self._write(bracket, level.indent - INDENT)
            return
        if self.last is t.FlowEntryToken and self.line is not None:
            self.line.text = self.line.text.removesuffix(",")
        self._append(f" {bracket}" if self.last is t.ValueToken else bracket)

    def _text(self, written: str) -> None:
        """A scalar, alias, anchor or tag; further lines of a text stand inside of what it belongs to."""
        first, *more = written.split("\n")
        inside = self._inside()
        self._write(first.rstrip() if more else first, self.levels[-1].indent if self.entry else inside)
        self.entry = False
        for piece in more:
            self.line = Line(" " * inside + piece.strip() if piece.strip() else "")
            self.lines.append(self.line)

    def _block_text(self, written: str) -> None:
        """A text behind `|` or `>`: moved as a whole, so that its own indentation stays."""
        head, *body = written.split("\n")
        signs = head.partition("#")[0]
        digit = re.search(r"\d", signs)
        if digit:
            column, indent = (self.levels[-1].column, self.levels[-1].indent) if self.levels else (0, 0)
            old, new = max(column, 0) + int(digit.group()), indent + int(digit.group())
        else:
            old = next((len(line) - len(line.lstrip(" ")) for line in body if line.strip(" ")), 0)
            new = max(self._inside(), INDENT)
        if self.done == len(self.text) and not written.endswith("\n") and "-" not in signs:
            # The file's last line gets a line break, which the text must not get.
            head = re.sub(r"^([|>]\d?)\+?(\d?)", r"\1\2-", head)
            signs = "-"
        self._write(head.rstrip(), self._inside())
        if "+" in signs:
            # Every empty line at the end counts.
            self.at_line_start = written.endswith("\n")
            body = body[:-1] if self.at_line_start else body
        else:
            while body and not body[-1][:old].strip(" ") and len(body[-1]) <= old:
                self.done -= len(body.pop()) + 1
        for line in body:
            self.lines.append(Line(" " * new + line[old:] if line[old:] else ""))
        self.fresh, self.line = True, None


def _tokens(text: str) -> Iterator[Any]:
    parser = CParser(text)
    while (token := parser.get_token()) is not None:
        yield token


def _tall_brackets(text: str, tokens: list[Any]) -> set[int]:
    """Offsets of the opening brackets whose partner stands in another line, with something between them."""
    tall: set[int] = set()
    stack: list[int] = []
    for token in tokens:
        if isinstance(token, _OPENING):
            stack.append(token.start_mark.index)
        elif isinstance(token, _CLOSING):
            start = stack.pop()
            between = text[start + 1 : token.start_mark.index]
            if "\n" in between and between.strip():
                tall.add(start)
    return tall


def _owner(popped: list[_Level], target: _Level, column: int) -> _Level | None:
    """The level just closed that a comment in `column` still belongs to; None for what comes next."""
    for level in popped:
        if column >= level.column > max(target.column, 0):
            return level
    return None


def _header(lines: list[Line]) -> int:
    """How many lines above the first key belong to the document and not to the key: the modeline, and everything up to
    the last blank line."""
    count = 0
    for number, line in enumerate(lines, 1):
        if not line.blank and not line.text.startswith("#"):
            break
        if line.blank or line.text.startswith(MODELINE):
            count = number
    return count


def _join(lines: list[Line]) -> str:
    """The lines as text: adjacent comments in one column; no blank line at an end, next to `---` or to another one."""
    kept: list[Line] = []
    for line in lines:
        before = kept[-1] if kept else None
        if line.blank and (before is None or before.blank or before.text == "---"):
            continue
        if line.text == "---" and before and before.blank:
            kept.pop()
        kept.append(line)
    while kept and kept[-1].blank:
        kept.pop()
    _align_comments(kept)
    return "".join(f"{line.text}\n" for line in kept)


def _align_comments(lines: list[Line]) -> None:
    start = 0
    while start < len(lines):
        end = start
        while end < len(lines) and lines[end].comment:
            end += 1
        widths = [len(line.text) for line in lines[start:end]]
        near = widths and max(widths) - min(widths) <= _FARTHEST_COMMENT
        for line in lines[start:end]:
            column = max(widths) if near else len(line.text)
            line.text = f"{line.text:<{column}}  {line.comment}"
        start = end + 1
