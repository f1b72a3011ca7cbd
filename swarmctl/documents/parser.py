"""Text of one file → documents: plain data and the places of everything, built in one pass over libyaml's events.

Built from events and not by PyYAML's composer, whose recursion in C ends in a crash when a file is nested deeply, and
which reads YAML 1.1. Nothing here recurses; depth, size and the expansion of aliases are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from yaml import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    MarkedYAMLError,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from yaml._yaml import CParser

from swarmctl.diagnostics import Code, Diagnostic, Related, Severity
from swarmctl.documents.codes import (
    ALIAS,
    ALIAS_BOMB,
    CONTINUED_TEXT,
    DIRECTIVE,
    DUPLICATE_KEY,
    KEY_NOT_TEXT,
    MERGE_KEY,
    MISSING_COLON,
    TAG,
    TOO_DEEP,
    TOO_LARGE,
)
from swarmctl.documents.document import Document, Source
from swarmctl.documents.places import Place, Places
from swarmctl.documents.scalars import INTERESTING, Remark, resolve
from swarmctl.documents.text import LINE_BREAK, Lines, printable

MAX_DEPTH = 64
MAX_VALUES = 1_000_000
MAX_ALIASED = 100_000
MAX_RESTARTS = 20
"""Syntax errors told per file: each costs reading the rest again."""

_TAG = re.compile(r"!(<[^>\s]*>|[^\s,\[\]{}]*)")
_NEXT_DOCUMENT = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)


def parse(source: Source) -> tuple[list[Document], list[Diagnostic], bool]:
    """The documents of one text, what is wrong with it, and whether every document could be read to its end.

    After a syntax error reading starts again at the next `---`. Empty documents are left out.
    """
    lines = Lines(source)
    reader = _Reader(lines)
    base = restarts = 0
    whole = True
    while True:
        stopped = reader.read(base)
        if stopped is None:
            break
        whole = False
        restarts += 1
        following = _NEXT_DOCUMENT.search(source.text, max(stopped, base + 1))
        if following is None or restarts == MAX_RESTARTS:
            break
        base = following.start()
    return reader.documents, reader.diagnostics, whole


class _Stop(Exception):
    """The rest of the document is not to be read; the diagnostic is already noted."""

    def __init__(self, offset: int) -> None:
        super().__init__()
        self.offset = offset


class _Reader:
    """Reads one text, possibly in several goes."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.text = lines.source.text
        self.documents: list[Document] = []
        self.diagnostics: list[Diagnostic] = []
        self.base = 0
        self._known: dict[str, tuple[object, Remark | None]] = {}
        self._values = 0
        self._last: Place = None
        self._innermost: Place = None

    def read(self, base: int) -> int | None:
        """Read on from offset `base`. Returns the offset at which reading could not go on; None at the end."""
        self.base = base
        self._last = self._innermost = None
        try:
            get_event: Callable[[], Any] = CParser(self.text[base:] if base else self.text).get_event
            while True:
                event = get_event()
                if event.__class__ is DocumentStartEvent:
                    self._directives(event)
                    self._document(get_event)
                elif event.__class__ is StreamEndEvent:
                    return None
        except MarkedYAMLError as error:
            return self._syntax(error)
        except _Stop as stop:
            return stop.offset

    def _document(self, get_event: Callable[[], Any]) -> None:
        """Read one document; the innermost loop of validate, hence the local names and the few calls."""
        known = self._known
        anchors: dict[str, tuple[object, Place, int, int]] = {}  # value, place, how many values, how many levels
        open_anchors: list[tuple[str, int, int, int]] = []  # name, depth, values before, deepest before
        stack: list[tuple[Any, Place, Any, Any]] = []
        # The container being filled; the document's root is the one item of a list.
        data: Any = []
        places: Any = [0, 0]
        is_mapping = False
        key: Any = None
        key_place: Any = None
        place: Place = None
        aliased = deepest = 0
        values = self._values
        try:
            while True:
                event = get_event()
                kind = event.__class__
                values += 1
                if values > MAX_VALUES:
                    at = event.start_mark.index
                    self._error(TOO_LARGE, at, at + 1, f"this file holds more than {MAX_VALUES:,} values", "split it")
                    raise _Stop(len(self.text))
                if kind is ScalarEvent:
                    value = event.value
                    place = (event.start_mark.index, event.end_mark.index)
                    if event.tag is not None:
                        self._tag(place[0])
                    elif not event.style:
                        if event.anchor is None and place[1] - place[0] > len(value):
                            self._continued(place)
                        if is_mapping and key_place is None:
                            if not value or value[0] in INTERESTING or value == "<<":
                                value = self._plain_key(value, place)
                        elif not value or value[0] in INTERESTING:
                            resolved = known.get(value)
                            if resolved is None:
                                resolved = known[value] = resolve(value)
                            if resolved[1] is not None:
                                self._remark(resolved[1], place)
                            if not value and is_mapping and key and ":" in key:
                                self._missing_space(key, key_place)
                            value = resolved[0]
                    if event.anchor is not None:
                        anchors[event.anchor] = (value, place, 1, 0)
                elif kind is MappingStartEvent or kind is SequenceStartEvent:
                    start = event.start_mark.index
                    if event.tag is not None:
                        self._tag(start)
                    stack.append((data, places, key, key_place))
                    depth = len(stack)
                    if depth > MAX_DEPTH:
                        self._too_deep(start, event.end_mark.index)
                    if event.anchor is not None:
                        open_anchors.append((event.anchor, depth, values, deepest))
                        anchors.pop(event.anchor, None)
                        deepest = depth
                    elif depth > deepest:
                        deepest = depth
                    is_mapping = kind is MappingStartEvent
                    data = {} if is_mapping else []
                    places = {None: (start, start)} if is_mapping else [start, start]
                    key = key_place = None
                    continue
                elif kind is MappingEndEvent or kind is SequenceEndEvent:
                    value, place = data, places
                    if is_mapping:
                        place[None] = (place[None][0], event.end_mark.index)
                    else:
                        place[1] = event.end_mark.index
                    depth = len(stack)
                    if open_anchors and open_anchors[-1][1] == depth:
                        name, _, before, deepest_before = open_anchors.pop()
                        anchors[name] = (value, place, values - before, deepest - depth + 1)
                        deepest = max(deepest, deepest_before)
                    data, places, key, key_place = stack.pop()
                    is_mapping = type(data) is dict
                elif kind is AliasEvent:
                    start, end = event.start_mark.index, event.end_mark.index
                    place = (start, end)
                    if event.anchor in anchors:
                        value, target, size, levels = anchors[event.anchor]
                        place = (start, end, target)
                        aliased += size
                        values += size
                        deepest = max(deepest, len(stack) + levels)
                        if aliased > MAX_ALIASED:
                            self._bomb(start, end)
                        if len(stack) + levels > MAX_DEPTH:
                            self._too_deep(start, end)
                    else:
                        value = None
                        self._alias(start, end, inside=any(event.anchor == name for name, *_ in open_anchors))
                else:  # DocumentEndEvent
                    self._values = values
                    if data[0] is not None or places[2][0] != places[2][1]:
                        root = Places(self.lines, places[2], self.base)
                        self.documents.append(Document(self.lines.source, data[0], root))
                    return

                if not is_mapping:
                    data.append(value)
                    places.append(place)
                elif key_place is None:
                    if type(value) is not str or len(place) == 3:
                        value, place = self._odd_key(value, place)
                    if value is not None and value in data:
                        self._duplicate(value, place, places[value])
                    key, key_place = value, place
                else:
                    if key is not None:  # else the key was refused, and its value belongs nowhere
                        data[key] = value
                        places[key] = (key_place[0], key_place[1], place)
                    key_place = None
        except MarkedYAMLError:
            self._last, self._innermost = place, places
            raise

    # What can be wrong. Offsets count from `base`.

    def _syntax(self, error: MarkedYAMLError) -> int:
        # Imported here: most files have no syntax errors, and every start of swarmctl would pay for it.
        from swarmctl.documents.syntax import Near, explain_syntax

        base = self.base
        last = self._last if type(self._last) is tuple else (0, 0)
        inner = self._innermost[None][0] if type(self._innermost) is dict else (self._innermost or [0])[0]
        near = Near(base, (last[0] + base, last[1] + base), inner + base)
        diagnostic, offset = explain_syntax(self.lines, error, near)
        before = self.diagnostics[-1] if self.diagnostics else None
        if before and before.code is CONTINUED_TEXT and before.range and diagnostic.range:
            if before.range.end.line >= diagnostic.range.start.line:
                # That text ran on is what the syntax error says too, and better.
                self.diagnostics.pop()
        self.diagnostics.append(diagnostic)
        return offset

    def _error(
        self,
        code: Code,
        start: int,
        end: int,
        message: str,
        help: str,
        *,
        label: str = "",
        first: Related | None = None,
    ) -> None:
        place = self.lines.range(start + self.base, end + self.base)
        related = (first,) if first else ()
        self.diagnostics.append(Diagnostic(code, message, place, label=label, help=help, related=related))

    def _remark(self, remark: Remark, place: Place) -> None:
        where = self.lines.range(place[0] + self.base, place[1] + self.base)
        self.diagnostics.append(
            Diagnostic(remark.code, remark.message, where, help=remark.help, severity=remark.severity)
        )

    def _directives(self, event: Any) -> None:
        if event.tags or event.version not in (None, (1, 2)):
            start = event.start_mark.index
            line_break = LINE_BREAK.search(self.text, start + self.base)
            end = line_break.start() - self.base if line_break else start + 1
            self._error(
                DIRECTIVE, start, end, "directives are not supported: this is read as YAML 1.2", "remove the line"
            )

    def _tag(self, start: int) -> None:
        match = _TAG.search(self.text, start + self.base)
        if match is None:  # libyaml saw a tag here, so this cannot be; the place is still told
            self._error(TAG, start, start + 1, "tags are not part of the language", "remove the tag")
            return
        written = printable(match.group())
        help = "quote the value to make it text" if written == "!!str" else "remove the tag"
        self._error(
            TAG,
            match.start() - self.base,
            match.end() - self.base,
            f"the tag `{written}` is not part of the language: fields know their types",
            help,
        )

    def _continued(self, place: Place) -> None:
        start, end = place[0] + self.base, place[1] + self.base
        self.diagnostics.append(
            Diagnostic(
                CONTINUED_TEXT,
                "unquoted text goes on in the next line",
                self.lines.range(start, end),
                label="read as one text",
                help="mend the indentation, or quote the text if one text is meant",
                severity=Severity.WARNING,
            )
        )

    def _plain_key(self, text: str, place: Place) -> str | None:
        """The key that unquoted `text` is; None when it is none."""
        start, end = place
        if text == "<<":
            help = "write the fields out; the Stack's `defaults` are shared by all documents"
            self._error(MERGE_KEY, start, end, "merge keys (`<<`) are not part of YAML 1.2", help)
            return None
        if not text:
            self._error(
                KEY_NOT_TEXT, start, start + 1, "there is no key before the colon", "write the key, or remove the colon"
            )
            return None
        value, remark = resolve(text)
        if type(value) is not str:
            what = {bool: "a truth value", type(None): "nothing"}.get(type(value), "a number")
            self._error(
                KEY_NOT_TEXT, start, end, f"the key `{text}` is {what}, and keys are text", f'quote it: "{text}"'
            )
        elif remark is not None and text not in "yYnN":
            # Coordinates such as {x: 1, y: 2} are common, and no reader of YAML 1.1 in use takes these keys for truth.
            self._remark(remark, place)
        return text

    def _odd_key(self, value: object, place: Place) -> tuple[None, tuple[int, int]]:
        if value is None and len(place) == 2:
            return None, place
        start, end = place[None] if type(place) is dict else (place[0], place[1])
        message, help = "a list or mapping cannot be a key", "write text as the key; quote it if it holds brackets"
        if len(place) == 3 and type(place) is tuple:
            message, help = "an alias cannot be a key", "write the key out"
        elif self.text.startswith("{{", start + self.base - 1):
            message, help = "templates are not part of the language", "write the value itself"
            start -= 1
            end += 1
        elif self.text.startswith("{{", start + self.base):
            return None, (start, end)  # told already, for what stands inside
        self._error(KEY_NOT_TEXT, start, end, message, help)
        return None, (start, end)

    def _missing_space(self, key: str, place: Place) -> None:
        colon = self.text.find(":", place[0] + self.base) - self.base
        if not place[0] < colon < place[1]:
            return
        self._error(
            MISSING_COLON,
            place[0],
            place[1],
            f"`{printable(key)}` is a key without a value: a space is missing after its colon",
            f"write `{printable(key.replace(':', ': ', 1))}`, or quote the key",
        )

    def _duplicate(self, key: str, place: Place, first: Place) -> None:
        before = self.lines.range(first[0] + self.base, first[1] + self.base)
        self._error(
            DUPLICATE_KEY,
            place[0],
            place[1],
            f"the key `{printable(key)}` stands twice in this mapping",
            "remove one of them",
            label=f"also in line {before.start.line}",
            first=Related(before, "first written here"),
        )

    def _alias(self, start: int, end: int, *, inside: bool) -> None:
        name = printable(self.text[start + self.base : end + self.base])
        if inside:
            message, help = f"`{name}` stands inside the value that it names", "write the value out"
        else:
            message = f"`{name}` stands for nothing: no value before it in this document is marked `&{name[1:]}`"
            help = f'mark one, or quote the text if no alias is meant: "{name}"'
        self._error(ALIAS, start, end, message, help)

    def _bomb(self, start: int, end: int) -> None:
        self._error(
            ALIAS_BOMB, start, end, f"the aliases stand for more than {MAX_ALIASED:,} values", "write the values out"
        )
        raise _Stop(start + self.base)

    def _too_deep(self, start: int, end: int) -> None:
        self._error(
            TOO_DEEP,
            start,
            max(end, start + 1),
            f"this is nested more than {MAX_DEPTH} levels deep",
            "look for a bracket or a level of indentation too many",
        )
        raise _Stop(start + self.base)
