"""Columns side by side, as wide as they need; the least important ones are left out where the terminal is narrow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_STYLE = re.compile("\x1b\\[[0-9;]*m")
_GAP = 2


@dataclass(frozen=True, slots=True)
class Column:
    """One column; cells may be painted. Columns with the highest `drop` go first, those with 0 never."""

    title: str
    cells: Sequence[str]
    right: bool = False
    drop: int = 0

    @property
    def width(self) -> int:
        """Characters of the widest cell."""
        return max(map(visible, [self.title, *self.cells]))


def table(columns: Sequence[Column], *, width: int, indent: int = 0) -> list[str]:
    """The head and one line per row, without trailing blanks."""
    kept = list(columns)
    while indent + sum(column.width + _GAP for column in kept) - _GAP > width:
        least = max(column.drop for column in kept)
        if least == 0:
            break
        kept = [column for column in kept if column.drop != least]
    rows = zip(*([column.title, *column.cells] for column in kept), strict=True)
    return [" " * indent + _row(row, kept) for row in rows]


def flowing(parts: Sequence[str], between: str, *, width: int, indent: int, hang: int | None = None) -> list[str]:
    """The parts in as few lines as fit; lines after the first are indented by `hang`, or like the first."""
    lines: list[str] = []
    line = " " * indent
    for part in parts:
        joined = f"{line}{between if line.strip() else ''}{part}"
        if line.strip() and visible(joined) + len(between.rstrip()) > width:
            lines.append(line + between.rstrip())
            line = " " * (indent if hang is None else hang) + part
        else:
            line = joined
    return [*lines, line]


def visible(text: str) -> int:
    """Characters that take room on the terminal."""
    return len(_STYLE.sub("", text))


def _row(cells: Sequence[str], columns: Sequence[Column]) -> str:
    padded = []
    for cell, column in zip(cells, columns, strict=True):
        room = " " * (column.width - visible(cell))
        padded.append(room + cell if column.right else cell + room)
    # The mark in the first column belongs to the name beside it.
    first, *others = padded
    return (
        " ".join([first, (" " * _GAP).join(others)]) if columns[0].width == 1 else (" " * _GAP).join(padded)
    ).rstrip()
