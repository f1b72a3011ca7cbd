"""Where the keys and values of one document stand: offsets kept while reading, lines and columns only when asked."""

from __future__ import annotations

from typing import Any, TypeAlias

from swarmctl.diagnostics import Range
from swarmctl.documents.document import Path
from swarmctl.documents.text import Lines

Place: TypeAlias = Any
"""Offsets, in a shape that mirrors the data and costs little to build:

- scalar: `(start, end)`; alias: `(start, end, place of the value it stands for)`
- list: `[start, end, place of item 0, place of item 1, …]`
- mapping: `{key: (start of key, end of key, place of value), …, None: (start, end)}`
"""


class Places:
    """`Positions` over the offsets that the reader has kept."""

    __slots__ = ("_base", "_lines", "_root")

    def __init__(self, lines: Lines, root: Place, base: int) -> None:
        self._lines = lines
        self._root = root
        self._base = base
        """Offset in the file of the text that the places count from."""

    def key(self, path: Path) -> Range:
        """The range of the key (or list item) that `path` ends in; the nearest enclosing one when it is missing."""
        key, value = self._find(path)
        return self._range(*(key or self._span(value)))

    def value(self, path: Path) -> Range:
        """The range of the value at `path`; the nearest enclosing one when it is missing.

        A value that is left out (`region:`) has no place of its own: the range is that of its key.
        """
        key, value = self._find(path)
        start, end = self._span(value)
        if start == end and key:
            start, end = key
        return self._range(start, end)

    def _find(self, path: Path) -> tuple[tuple[int, int] | None, Place]:
        """The span of the key and the place of the value that `path` leads to, as far as it goes."""
        key: tuple[int, int] | None = None
        place = self._root
        for step in path:
            while type(place) is tuple and len(place) == 3:
                place = place[2]
            if type(place) is dict and isinstance(step, str) and step in place:
                start, end, place = place[step]
                key = (start, end)
            elif type(place) is list and isinstance(step, int) and 0 <= step < len(place) - 2:
                place, key = place[step + 2], None
            else:
                break
        return key, place

    @staticmethod
    def _span(place: Place) -> tuple[int, int]:
        if type(place) is dict:
            start, end = place[None]
        else:
            start, end = place[0], place[1]
        return start, end

    def _range(self, start: int, end: int) -> Range:
        start, end = start + self._base, end + self._base
        text = self._lines.source.text
        # Block collections and block text end where the next thing starts; comments between belong to neither.
        while end > start and text[end - 1] in " \t\r\n":
            end -= 1
        if start == end:
            # An empty list item: its dash.
            dash = text.rfind("-", 0, start)
            if dash >= 0 and not text[dash + 1 : start].strip():
                start, end = dash, dash + 1
        return self._lines.range(start, end)
