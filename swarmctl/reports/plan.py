"""The plan for people: deletes and replacements first, by cluster and pool, down to what lands on each host."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, TypeVar

from swarmctl.declarations.duration import exactly
from swarmctl.plans.model import Action, Change, HostEffect, Plan, PropertyDiff
from swarmctl.reports import drift
from swarmctl.reports.console import amount, names, paint, safe
from swarmctl.reports.folding import Fold, Mask, fold, likeness
from swarmctl.reports.values import delta, show

COLORS = {
    Action.CREATE: "green",
    Action.ADOPT: "cyan",
    Action.UPDATE: "yellow",
    Action.REPLACE: "magenta",
    Action.DELETE: "red",
    Action.SAME: "dim",
}
_SECTIONS = (
    ("Deletes and replacements", (Action.DELETE, Action.REPLACE)),
    ("Updates and creations", (Action.UPDATE, Action.ADOPT, Action.CREATE)),
)
_EFFECT = {"add": ("+", "green"), "update": ("~", "yellow"), "delete": ("-", "red")}
MOST_LINES = 12
"""Lines shown of one creation or removal; what is updated or replaced is always shown whole."""


def render(plan: Plan, *, color: bool, width: int) -> str:
    """The whole plan as text, ending in one summary line."""
    lines: list[str] = []
    if plan.drift:
        lines += [*drift.lines(plan.drift, color=color, width=width), ""]
    common = _common_timeout(plan.changes)
    for title, actions in _SECTIONS:
        chosen = [change for change in plan.changes if change.action in actions]
        if chosen:
            lines += [paint(title, "bold", color=color), *_groups(chosen, set(plan.nodes), common, color, width), ""]
    lines += [f"{paint('note:', 'cyan', color=color)} {safe(note)}" for note in (*_limits(plan, common), *plan.notes)]
    lines.append(summary(plan, color=color))
    return "\n".join(lines) + "\n"


def _common_timeout(changes: Sequence[Change]) -> int:
    """Seconds, when there are several steps and all have the same declared timeout; else 0."""
    timeouts = {change.timeout for change in changes}
    return timeouts.pop() if len(timeouts) == 1 < len(changes) else 0


def scope(plan: Plan) -> Iterator[str]:
    """What it does not cover."""
    if plan.partial:
        yield f"only {', '.join(plan.partial)} and what that needs: everything else is left as it is"
    if not plan.world_read:
        yield "the world was not read: what has moved away from what was applied is not seen here"


def _limits(plan: Plan, common: int) -> Iterator[str]:
    """What the plan does not cover, or can't promise."""
    yield from scope(plan)
    if common:
        yield f"each step may take {exactly(common)}"
    if plan.unfenced:
        backends = f"{'backend' if len(plan.unfenced) == 1 else 'backends'} {', '.join(plan.unfenced)}"
        yield (
            f"the {backends} can't compare tokens where a change happens: of a run that lost its lease a change that "
            "is on its way may still arrive"
        )


def summary(plan: Plan, *, color: bool) -> str:
    """`Plan: 5 to create, 1 to update, 12 unchanged; touches 6 nodes; disrupts 2 nodes`."""
    verbs = (
        (Action.CREATE, "to create"),
        (Action.ADOPT, "to adopt"),
        (Action.UPDATE, "to update"),
        (Action.REPLACE, "to replace"),
        (Action.DELETE, "to delete"),
    )
    counts = [
        paint(f"{plan.count(action):,} {verb}", COLORS[action], color=color)
        for action, verb in verbs
        if plan.count(action)
    ]
    if plan.same:
        counts.append(f"{plan.same:,} unchanged")
    left = f"{amount(len(plan.left_alone), 'machine')} left alone: {names(plan.left_alone)}" if plan.left_alone else ""
    none = "nothing could be compared" if left else "nothing declared and nothing there; nothing to change"
    head = f"{paint('Plan:', 'bold', color=color)} {', '.join(counts) or none}"
    if plan.empty:
        end = "; nothing to change" if counts else ""
    else:
        end = f"; touches {amount(len(plan.nodes), 'node')}; {_disruption(plan.changes)}{_guarded(plan)}"
    return f"{head}{end}" + (f"; {paint(safe(left), 'yellow', color=color)}" if left else "")


def _disruption(changes: Iterable[Change]) -> str:
    hit = [change for change in changes if change.impact]
    if not hit:
        return "disrupts nothing"
    nodes = {change.node for change in hit if change.node}
    return f"disrupts {amount(len(nodes), 'node')}" if nodes else f"disrupts {amount(len(hit), 'resource')}"


def _guarded(plan: Plan) -> str:
    nodes = {change.node for change in plan.changes if change.guarded}
    return f"; {amount(len(nodes), 'node')} guarded" if nodes else ""


def _groups(changes: Sequence[Change], nodes: set[str], common: int, color: bool, width: int) -> Iterator[str]:
    def place(change: Change) -> tuple[str, str]:
        return (change.cluster, change.pool)

    for (cluster, pool), members in groupby(sorted(changes, key=place), key=place):
        if heading := " / ".join(part for part in (cluster, pool) if part):
            yield f"  {paint(safe(heading), 'cyan', color=color)}"
        for folded in fold(_in_order(list(members)), nodes):
            yield from _change(folded, Mask(nodes), common, color, width)


def _in_order(changes: list[Change]) -> list[Change]:
    """By action, then in the order in which the engine comes to each type of resource, then by address."""
    actions = [Action.DELETE, Action.REPLACE, Action.UPDATE, Action.ADOPT, Action.CREATE]
    types = list(dict.fromkeys(change.type for change in changes))

    def key(change: Change) -> tuple[int, int, list[tuple[int, str]]]:
        parts = re.split(r"(\d+)", change.address)
        numbers = [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
        return (actions.index(change.action), types.index(change.type), numbers)

    return sorted(changes, key=key)


def _change(folded: Fold, mask: Mask, common: int, color: bool, width: int) -> Iterator[str]:
    change = folded.first
    sign = f"{change.action.glyph} {change.action.value}"
    sign = paint(f"{sign:<9}", COLORS[change.action], "bold", color=color)
    heals = paint("  heals drift", "dim", color=color) if change.drifted else ""
    limit = (
        paint(f"  within {exactly(change.timeout)}", "dim", color=color) if change.timeout not in (0, common) else ""
    )
    yield f"    {sign} {safe(change.address)}{heals}{limit}"
    if len(folded.changes) > 1:
        nodes = names(other.node for other in folded.changes)
        count = amount(len(folded.changes), "node")
        yield (
            f"      same change on {count}: {safe(nodes)}"
            if folded.exact
            else (f"      alike on {count}, with names and addresses of their own: {safe(nodes)}")
        )
    details = [*_properties(folded, mask, color, width), *_effects(change, mask, color)]
    if change.action is Action.ADOPT:
        details.append(f"      it is there already{'' if details else ', as it is declared'}, and is taken over")
    whole = change.action in (Action.UPDATE, Action.ADOPT, Action.REPLACE) or len(details) <= MOST_LINES
    yield from details if whole else details[: MOST_LINES - 1]
    if not whole:
        rest = len(details) - MOST_LINES + 1
        yield paint(f"      … and {rest:,} lines more; --format json has them all", "dim", color=color)
    if change.impact:
        yield f"      {paint('disrupts:', 'yellow', color=color)} {safe(change.impact)}"
    if change.guarded:
        yield f"      {paint('guarded:', 'cyan', color=color)} {safe(change.guarded)}"


def _properties(folded: Fold, mask: Mask, color: bool, width: int) -> Iterator[str]:
    """Before → after per property. What a creation or removal lands on a host says the same in fewer words."""
    change = folded.first
    if change.action in (Action.CREATE, Action.DELETE) and change.effects:
        return
    for diff, more in _alike(change.properties, lambda diff: likeness(diff, mask)):
        # Of values that are each node's own only what all of them gain and lose can be shown for all.
        common = delta(diff.before, diff.after) if len(folded.changes) > 1 and change.effects else ""
        lines = list(_property(diff, common, color, width))
        yield from [*lines[:-1], lines[-1] + _more(more, color)]


T = TypeVar("T")


def _alike(items: Iterable[T], key: Callable[[T], Any]) -> list[tuple[T, int]]:
    """The first of those that are alike, and how many more there are."""
    groups: dict[Any, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return [(group[0], len(group) - 1) for group in groups.values()]


def _more(count: int, color: bool) -> str:
    return paint(f"  (and {count:,} more alike)", "dim", color=color) if count else ""


def _property(diff: PropertyDiff, common: str, color: bool, width: int) -> Iterator[str]:
    glyph, paintbrush = _EFFECT.get(diff.action, ("~", "yellow"))
    head = f"      {paint(glyph, paintbrush, color=color)} {safe(diff.path)}:"
    why = ""
    if diff.replaces:
        why = "  forces replacement" + (f": {safe(diff.reason)}" if diff.reason else "")
    tail = paint(why, "magenta", color=color)
    before, after = show(diff.before), show(diff.after)
    if diff.action != "update":
        yield f"{head} {after if diff.action == 'add' else before}{tail}"
        return
    whole = f"{before} → {after}"
    fits = len(f"      ~ {diff.path}: {whole}{why}") <= width
    words = common or ("" if fits else delta(diff.before, diff.after))
    if words and len(words) < len(whole):
        yield f"{head} {words}{tail}"
    elif fits:
        yield f"{head} {whole}{tail}"
    else:
        yield from (f"{head}{tail}", f"          {before}", f"        → {after}")


def _effects(change: Change, mask: Mask, color: bool) -> Iterator[str]:
    told = change.properties if change.action in (Action.UPDATE, Action.ADOPT) else ()
    effects = [effect for effect in change.effects if not any(_repeats(effect, diff) for diff in told)]
    if not effects:
        return
    yield f"      {f'on {safe(change.node)}' if change.node else 'there'}:"
    for effect, more in (
        _alike(effects, lambda effect: (effect.action, mask(effect.text)))
        if told
        else ((effect, 0) for effect in effects)
    ):
        yield f"        {_effect(effect, color)}{_more(more, color)}"


def _repeats(effect: HostEffect, diff: PropertyDiff) -> bool:
    """Whether the effect says no more than the property's own line."""
    before, after = show(diff.before), show(diff.after)
    return (
        effect.action == diff.action == "update"
        and re.search(rf"(?<!\S){re.escape(before)}s? → {re.escape(after)}s?$", effect.text) is not None
    )


def _effect(effect: HostEffect, color: bool) -> str:
    glyph, paintbrush = _EFFECT.get(effect.action, (effect.action, "yellow"))
    return f"{paint(glyph, paintbrush, color=color)} {safe(effect.text)}"
