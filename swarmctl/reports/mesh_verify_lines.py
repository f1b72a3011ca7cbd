"""What `swarmctl mesh verify --watch` shows: a screen that is drawn anew, or lines of what changed."""

from __future__ import annotations

import time
from collections.abc import Sequence

from swarmctl.operations.mesh_verify_model import Verdict, Verification
from swarmctl.operations.mesh_verify_watch import Change
from swarmctl.reports.console import paint, safe
from swarmctl.reports.mesh_verify import COLORS, MARKS, TITLES, render, summary

MOST_CHANGES = 20
"""Shown of one measurement."""
_CLEAR = "\x1b[H\x1b[2J"
"""Cursor home, erase the display (ECMA-48, 8.3.21 and 8.3.39)."""


def lines(found: Verification, changes: Sequence[Change], *, color: bool) -> str:
    """The time and the summary, then a line for everything that came or went."""
    return "\n".join([f"{_now()}  {summary(found, color=color)}", *_changes(changes, color)])


def screen(found: Verification, changes: Sequence[Change], *, color: bool, width: int) -> str:
    """The whole report from the top of the terminal, and what has changed since the one before."""
    drawn = render(found, color=color, width=width)
    told = ["", paint(f"Changed at {_now()}", "bold", color=color), *_changes(changes, color)] if changes else []
    return "\n".join([f"{_CLEAR}{_now()}  Ctrl-C ends it", drawn.rstrip("\n"), *told])


def _changes(changes: Sequence[Change], color: bool) -> list[str]:
    drawn = []
    for change in changes[:MOST_CHANGES]:
        verdict = Verdict.OK if change.gone else change.finding.verdict
        mark = paint(MARKS[verdict], COLORS[verdict], color=color)
        place = f"{safe(change.mesh)} {TITLES[change.check]}, {safe(change.finding.node)}"
        drawn.append(f"  {mark} {place}: {'no longer: ' if change.gone else ''}{safe(change.finding.text)}")
    if len(changes) > MOST_CHANGES:
        drawn.append(f"  … and {len(changes) - MOST_CHANGES:,} more")
    return drawn


def _now() -> str:
    return time.strftime("%H:%M:%S")
