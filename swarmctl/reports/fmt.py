"""What `fmt` found → names of files and differences for people, or JSON."""

from __future__ import annotations

from typing import Any

import click

from swarmctl.operations.fmt import Formatted
from swarmctl.reports.console import safe


def render_text(formatted: Formatted, *, diff: bool, color: bool) -> str:
    """The files that change, one per line, each followed by its difference when `diff` is asked for."""
    if not formatted.changed:
        return f"nothing to change in {formatted.files} file{'' if formatted.files == 1 else 's'}\n"
    if not diff:
        return "".join(f"{safe(each.display)}\n" for each in formatted.changed)
    return "".join(_colored(each.diff(), color) for each in formatted.changed)


def _colored(diff: str, color: bool) -> str:
    lines = [safe(line, keep="\t") for line in diff.splitlines()]
    if color:
        lines = [click.style(line, fg=_color(line)) for line in lines]
    return "".join(f"{line}\n" for line in lines)


def _color(line: str) -> str | None:
    if line.startswith(("---", "+++")):
        return None
    return {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])


def to_json(formatted: Formatted, *, written: bool) -> dict[str, Any]:
    """The published form `swarmctl/fmt/v1`: fields are only ever added."""
    return {
        "schema": "swarmctl/fmt/v1",
        "written": written,
        "changed": [{"file": each.display, "diff": each.diff()} for each in formatted.changed],
        "left": [{"file": file, "reason": reason} for file, reason in formatted.left],
    }
