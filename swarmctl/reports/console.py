"""What the terminal can do, decided once per stream; and what makes foreign text safe to print there."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import IO, Any

PIPE_WIDTH = 100
"""Columns where there is no terminal, so that captured output does not depend on where it was captured."""

_NARROWEST = 40


@dataclass(frozen=True, slots=True)
class Console:
    """One output stream."""

    color: bool
    width: int
    live: bool
    """Whether a display that redraws itself is welcome; otherwise plain lines are."""
    terminal: bool


def look(stream: IO[Any], environ: Mapping[str, str] | None = None) -> Console:
    """Decide for one stream.

    `NO_COLOR` (no-color.org: set and not empty) and `TERM=dumb` take colour away, `CLICOLOR_FORCE` and `FORCE_COLOR`
    ask for it on a pipe. `CI` set to anything but nothing, 0 or false means plain lines, as does everything that
    takes colour away.
    """
    env = os.environ if environ is None else environ
    terminal = _is_terminal(stream)
    dumb = env.get("TERM") == "dumb"
    forced = any(env.get(name, "") not in ("", "0") for name in ("CLICOLOR_FORCE", "FORCE_COLOR"))
    color = not env.get("NO_COLOR") and (forced or (terminal and not dumb))
    live = terminal and color and not in_pipeline(env)
    return Console(color=color, width=_width(terminal, env), live=live, terminal=terminal)


def in_pipeline(env: Mapping[str, str]) -> bool:
    """Whether `CI` is set to anything but nothing, 0 or false: then nobody watches, and nobody answers."""
    return env.get("CI", "").lower() not in ("", "0", "false")


def _is_terminal(stream: IO[Any]) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # a closed stream
        return False


def _width(terminal: bool, env: Mapping[str, str]) -> int:
    declared = env.get("COLUMNS", "")
    if declared.isdecimal() and int(declared) > 0:
        return max(_NARROWEST, int(declared))
    return max(_NARROWEST, shutil.get_terminal_size((PIPE_WIDTH, 24)).columns) if terminal else PIPE_WIDTH


_PIECES = re.compile(r"((?:\x1b\[[0-9;]*m)+)|( +)|([^ \x1b]+)")
"""Colour sequences, blanks and words of a painted line."""


def remark(text: str, *, warning: bool, color: bool) -> str:
    """A line beside the report: `warning: …` or `note: …`."""
    word = paint("warning:", "yellow", color=color) if warning else paint("note:", "cyan", color=color)
    return f"{word} {safe(text)}"


def wrapped(text: str, console: Console) -> str:
    """`text` with lines too long for the terminal broken at blanks, the rest indented below. Pipes get lines whole."""
    if not console.terminal:
        return text
    return "\n".join(_wrap(line, console.width) for line in text.split("\n"))


def _wrap(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    indent = " " * min(len(line) - len(line.lstrip(" ")) + 4, width // 2)
    done, column, blanks = "", 0, ""
    for colour, blank, word in _PIECES.findall(line):
        if colour:
            done += blanks + colour
            blanks = ""
        elif blank:
            blanks = blank
            column += len(blank)
        elif column + len(word) > width and column > len(indent):
            done += "\n" + indent + word
            column, blanks = len(indent) + len(word), ""
        else:
            done += blanks + word
            column, blanks = column + len(word), ""
    return done + blanks


_INVISIBLE = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x061C, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF}
"""Marks that reorder or break what is shown (Unicode Bidirectional Algorithm, UAX 9, and line separators)."""


def safe(text: str, *, keep: str = "") -> str:
    """`text` with everything a terminal would obey written as an escape: control characters, ANSI sequences, marks
    of direction, lone surrogates. Characters in `keep` stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character if character in keep or _harmless(character) else _escaped(character) for character in text
    )


def _harmless(character: str) -> bool:
    code = ord(character)
    return not (code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000 or code in _INVISIBLE)


def _escaped(character: str) -> str:
    known = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    code = ord(character)
    return known.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


_STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "magenta": "35",
    "cyan": "36",
}


def paint(text: str, *styles: str, color: bool) -> str:
    """`text` in the given styles where `color`, as it is otherwise. Empty text stays empty."""
    if not color or not text or not styles:
        return text
    return f"\x1b[{';'.join(_STYLES[style] for style in styles)}m{text}\x1b[0m"


def amount(count: int, singular: str, plural: str = "") -> str:
    """`1 node`, `3 nodes`."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def names(items: Iterable[str], *, limit: int = 6) -> str:
    """Names in their natural order, runs shortened: `control-0, workers-0 … workers-247`; at most `limit` runs."""
    runs: list[list[str]] = []
    for item in sorted(set(items), key=_natural):
        if runs and _follows(runs[-1][-1], item):
            runs[-1].append(item)
        else:
            runs.append([item])
    shown = [_run(run) for run in runs[:limit]]
    left = sum(len(run) for run in runs[limit:])
    return ", ".join(part for group in shown for part in group) + (f" and {left:,} more" if left else "")


def _run(run: list[str]) -> list[str]:
    return run if len(run) < 4 else [f"{run[0]} … {run[-1]}"]


def _natural(name: str) -> tuple[str, int, str]:
    stem, _, ordinal = name.rpartition("-")
    return (stem, int(ordinal), "") if ordinal.isdecimal() else (name, -1, name)


def _follows(before: str, after: str) -> bool:
    first, second = _natural(before), _natural(after)
    return first[0] == second[0] and first[1] >= 0 and second[1] == first[1] + 1


def duration(seconds: float) -> str:
    """`0.4s`, `12s`, `3m 05s`, `2h 07m`."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
