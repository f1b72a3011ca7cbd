"""What a run has done, in a few lines: what changed, what failed where and why, how long it took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarmctl.plans.model import Action
from swarmctl.reports.console import amount, duration, names, paint, safe
from swarmctl.reports.plan import COLORS, scope
from swarmctl.reports.progress import PAST

if TYPE_CHECKING:
    from swarmctl.operations.running import Run


def render(run: Run, *, color: bool, nothing: str, done: str) -> str:
    """The outcome of `run`: `nothing` is the sentence when there was nothing to do, `done` the word when all went well.

    What failed is not listed here: it ends the run as an error, see `Run.judge`.
    """
    if run.plan.empty:
        notes = "".join(f"note: {safe(text)}\n" for text in scope(run.plan))
        if run.silent:  # "nothing to change" would be a promise about machines that nobody has seen
            nothing = "Nothing to change on what could be read." if run.plan.same else "Nothing could be compared."
            return f"{paint(nothing, 'yellow', color=color)}{_same(run)}\n{notes}"
        if run.unfit:
            nothing = "Nothing to change beside what is left alone."
        return f"{paint(nothing, 'yellow' if run.unfit else 'green', color=color)}{_same(run)}\n{notes}"
    lines = []
    if run.removed:
        lines.append(f"  {paint('- removed', 'red', color=color)}  {safe(names(run.removed))}")
    counts = [
        paint(f"{run.count(action):,} {PAST[action]}", COLORS[action], color=color)
        for action in (Action.CREATE, Action.ADOPT, Action.UPDATE, Action.REPLACE, Action.DELETE)
        if run.count(action)
    ]
    unfinished = "Partly done" if run.changes or run.emptied else "Undone" if run.undone else "Failed"
    bad = run.failures or run.skipped or run.undone or run.unfit
    head = "Interrupted" if run.interrupted else unfinished if bad else done
    style = "yellow" if run.interrupted or bad else "green"
    nodes = {change.node for change in run.changes if change.node}
    where = f" on {amount(len(nodes), 'node')}" if nodes else ""
    failed = f"; {paint(f'{len(run.failures):,} failed', 'red', color=color)}" if run.failures else ""
    # After an interruption they are only those that the engine came to; how many are left is told beside it.
    left = 0 if run.interrupted else len(run.skipped)
    skipped = f"; {paint(f'{left:,} not begun', 'yellow', color=color)}" if left else ""
    undone = f"; {paint(f'{len(run.undone):,} undone', 'red', color=color)}" if run.undone else ""
    if run.emptied:
        counts.append(paint(f"{len(run.emptied):,} removed and not made anew", "red", color=color))
    what = ", ".join(counts) or "nothing changed"
    lines.append(
        f"{paint(head + ':', style, 'bold', color=color)} {what}{where}{failed}{undone}{skipped}; "
        f"{duration(run.seconds)}"
    )
    return "\n".join(lines) + "\n"


def _same(run: Run) -> str:
    return f" ({amount(run.plan.same, 'resource')} unchanged)" if run.plan.same else ""
