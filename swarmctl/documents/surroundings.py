"""The lines around a place in a text, for working out what a syntax error was meant to be."""

from __future__ import annotations

import re

from swarmctl.documents.text import Lines


class Around:
    """One text and the span of each line around an offset."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.text = lines.source.text

    def bounds(self, offset: int) -> tuple[int, int]:
        """Start of the line of `offset`, and its end without the line break."""
        start = max(self.text.rfind("\n", 0, offset), self.text.rfind("\r", 0, offset)) + 1
        ends = [end for end in (self.text.find("\n", offset), self.text.find("\r", offset)) if end >= 0]
        return start, min(ends, default=len(self.text))

    def content(self, start: int, end: int) -> tuple[int, int]:
        """The span without blanks around it and without a comment at its end."""
        line = self.text[start:end]
        comment = re.search(r"(^|\s)#", line)
        if comment and line[: comment.start()].count('"') % 2 == 0 and line[: comment.start()].count("'") % 2 == 0:
            line = line[: comment.start()]
        return start + len(line) - len(line.lstrip()), start + len(line.rstrip())

    def previous(self, offset: int) -> tuple[int, int] | None:
        """The content of the nearest line above that of `offset` with more than a comment in it."""
        start = self.bounds(offset)[0]
        while start > 0:
            start, end = self.bounds(start - 1)
            first, last = self.content(start, end)
            if first < last:
                return first, last
        return None

    def indent(self, offset: int) -> int:
        """Blanks at the beginning of the line of `offset`."""
        start, end = self.bounds(offset)
        return len(self.text[start:end]) - len(self.text[start:end].lstrip(" \t"))
