"""A saved plan for people: whose it is, how long it is good for, what speaks against it, and then the plan itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from swarmctl.plans.saved import timestamp
from swarmctl.reports import plan
from swarmctl.reports.console import paint, safe

if TYPE_CHECKING:
    from swarmctl.operations.plan_show import Shown


def render(shown: Shown, *, color: bool, width: int) -> str:
    """All of it."""
    return "\n".join([*_head(shown, color), "", plan.render(shown.plan, color=color, width=width)])


def _head(shown: Shown, color: bool) -> Iterator[str]:
    saved = shown.saved
    yield f"{paint('Saved plan', 'bold', color=color)} {saved.id[:12]} of {safe(saved.stack)}"
    yield f"  made {timestamp(saved.created)}, expires {timestamp(saved.expires)}"
    versions = ", ".join(
        f"{safe(tool)} {safe(version)}" for tool, version in sorted(saved.preconditions.versions.items())
    )
    yield f"  made with {versions}"
    yield f"  {safe(shown.signed)}"
    for problem in shown.problems:
        yield f"  {paint('would be refused:', 'red', color=color)} {safe(problem)}"
    for what in shown.unverified:
        yield f"  {paint('not looked at:', 'yellow', color=color)} {safe(what)}"
