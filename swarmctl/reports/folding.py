"""Changes that say the same on many nodes become one entry; nothing that differs in substance is ever folded away."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from swarmctl.plans.model import Action, Change, PropertyDiff
from swarmctl.reports.values import delta

_ADDRESS = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7})(?:/\d{1,3})?(?![\w])"
)
"""An IPv4 or IPv6 address, with or without a prefix length."""
_OWN = re.compile(r"(?<![\w+/])(?:[A-Za-z0-9+/]{43}=|[0-9a-f]{16})(?![\w+/=])")
"""A WireGuard public key, or the identity of a machine: no two nodes have the same."""


@dataclass(frozen=True, slots=True)
class Fold:
    """One change that stands for all of `changes`."""

    changes: tuple[Change, ...]
    exact: bool
    """They differ in nothing but the name of the node they land on; otherwise also in names and addresses."""

    @property
    def first(self) -> Change:
        """The one that is shown."""
        return self.changes[0]


_ORDINAL = re.compile(r"(/[a-z0-9-]+)\[\d+\]")
"""The end of the address of a machine that is one of a count: `nodepool/workers[0]`."""
_WORD = re.compile(r"[\w-]+")


def fold(changes: Iterable[Change], names: Iterable[str] = ()) -> list[Fold]:
    """Fold changes of one pool, in the order in which each first appears; `names` are other nodes they may speak of.

    They fold when they are alike: names of nodes and addresses may differ, since every node has its own, and so may the
    number of peers that the same happens to.
    """
    changes = list(changes)
    mask = Mask({*names, *(change.node for change in changes)} - {""})
    groups: dict[Any, list[Change]] = {}
    for position, change in enumerate(changes):
        groups.setdefault(_likeness(change, mask) if change.node else position, []).append(change)
    return [Fold(tuple(group), _all_the_same(group)) for group in groups.values()]


class Mask:
    """Replaces addresses, keys and names of nodes in a text; texts come again and again, so results are kept."""

    def __init__(self, names: set[str]) -> None:
        self._names = names
        self._kept: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        masked = self._kept.get(text)
        if masked is None:
            masked = _WORD.sub(lambda word: "\0node" if word[0] in self._names else word[0], text)
            masked = _ORDINAL.sub(r"\1[]", masked)
            masked = self._kept[text] = _OWN.sub("\0own", _ADDRESS.sub("\0address", masked))
        return masked


def _likeness(change: Change, mask: Mask) -> Any:
    common = (change.action, change.type, mask(change.impact), change.drifted, change.timeout, mask(change.guarded))
    if change.action in (Action.UPDATE, Action.ADOPT, Action.REPLACE):
        properties = frozenset(likeness(diff, mask, effects=bool(change.effects)) for diff in change.properties)
        effects = frozenset((effect.action, mask(effect.text)) for effect in change.effects)
        return (*common, properties, effects)
    lines = sorted((effect.action, mask(effect.text)) for effect in change.effects)
    # With effects the properties are not shown, so they need not agree either.
    shown = () if lines else tuple((diff.path, diff.action, mask(repr(diff.after))) for diff in change.properties)
    return (*common, tuple(lines), shown)


def likeness(diff: PropertyDiff, mask: Mask, *, effects: bool = False) -> Any:
    """What it has in common with the differences of other nodes, or of other peers of the same node."""
    words = delta(diff.before, diff.after) if effects and diff.action == "update" else ""
    values = (mask(words),) if words else (mask(repr(diff.before)), mask(repr(diff.after)))
    return (mask(diff.path), diff.action, values, diff.replaces, diff.reason)


def _all_the_same(changes: list[Change]) -> bool:
    first = _identity(changes[0])
    return all(_identity(change) == first for change in changes[1:])


def _identity(change: Change) -> Any:
    """Everything that is shown of a change, with its own node's name left open."""
    own = re.compile(rf"(?<![\w-]){re.escape(change.node)}(?![\w-])")

    def mask(text: str) -> str:
        return own.sub("\0node", text) if change.node in text else text

    def values(diff: PropertyDiff) -> tuple[str, ...]:
        # Where effects say what lands on the host, the same words in and out of values that are each node's own
        # (lists of all others, for instance) are the same change.
        words = delta(diff.before, diff.after) if change.effects and diff.action == "update" else ""
        return (mask(words),) if words else (mask(repr(diff.before)), mask(repr(diff.after)))

    return (
        change.action,
        change.type,
        tuple(
            (mask(diff.path), diff.action, values(diff), diff.replaces, diff.reason)
            for diff in sorted(change.properties, key=lambda diff: diff.path)
        ),
        tuple((effect.action, mask(effect.text)) for effect in change.effects),
        mask(change.impact),
        change.drifted,
        mask(change.guarded),
    )
