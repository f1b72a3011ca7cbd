"""The plan as plain data: what would change, where it lands, what it disrupts. No Pulumi here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Any

Json = Any


@unique
class Action(StrEnum):
    """What happens to one resource."""

    CREATE = "create"
    ADOPT = "adopt"
    """It is there already, and no state knows it: it is taken over, and made as it is declared."""
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    SAME = "same"

    @property
    def glyph(self) -> str:
        """The sign in front of it: `+ ↦ ~ ± -`."""
        signs = {"create": "+", "adopt": "↦", "update": "~", "replace": "±", "delete": "-", "same": " "}
        return signs[self.value]


@dataclass(frozen=True, slots=True)
class PropertyDiff:
    """One property before and after; `path` is dotted, such as `peers.workers-1.endpoint`."""

    path: str
    action: str
    """`add`, `update` or `delete`."""
    before: Json = None
    after: Json = None
    """Unknown values are `{"unknown": "address.property"}`, secret ones `{"secret": "hmac-sha256:…"}`."""
    replaces: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HostEffect:
    """One thing that lands on a host: `+ peer workers-1 …`, `- rule ray-head …`."""

    action: str
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """One resource that changes."""

    address: str
    type: str
    action: Action
    node: str = ""
    cluster: str = ""
    pool: str = ""
    properties: tuple[PropertyDiff, ...] = ()
    effects: tuple[HostEffect, ...] = ()
    impact: str = ""
    """What it disrupts; empty when nothing is."""
    drifted: bool = False
    """The world had moved away from what was last applied; this change heals it."""
    timeout: int = 0
    """Seconds that this step may take; 0 for the default."""
    guarded: str = ""
    """Why the node undoes it by itself unless it is confirmed, and when; empty when it does not."""


@dataclass(frozen=True, slots=True)
class DriftedProperty:
    """One property that the world has otherwise than it was last applied."""

    address: str
    type: str
    node: str
    path: str
    """Dotted; empty when the resource is gone altogether."""
    expected: Json
    actual: Json


@dataclass(frozen=True, slots=True)
class Plan:
    """What an apply would do: what leaves first, then in the order of the graph; what stays the same is counted."""

    stack: str
    changes: tuple[Change, ...]
    same: int
    drift: tuple[DriftedProperty, ...] = ()
    notes: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()
    """Addresses that it was held to (`--target`), with what they need; empty when it is the whole stack."""
    world_read: bool = True
    """False when it goes by what is recorded: the machines were not asked."""
    unfenced: tuple[str, ...] = ()
    """Backends it touches that can't compare the fencing token where the change happens."""
    left_alone: tuple[str, ...] = ()
    """Machines that could not be read: nothing is planned for them, and they are in none of the counts. Not part of a
    saved plan, which leaves nobody out."""

    def count(self, action: Action) -> int:
        """How many resources have this action."""
        if action is Action.SAME:
            return self.same
        return sum(1 for change in self.changes if change.action is action)

    @property
    def empty(self) -> bool:
        """Nothing would change."""
        return not self.changes

    @property
    def nodes(self) -> list[str]:
        """The machines that it touches."""
        return sorted({change.node for change in self.changes if change.node})

    def summary(self) -> Mapping[str, int]:
        """Counts by action, as in `swarmctl/plan/v1`."""
        return {action.value: self.count(action) for action in Action}


@dataclass(frozen=True, slots=True)
class Preconditions:
    """What a saved plan was made from; every digest is SHA-256 in hex."""

    declarations: str
    graph: str
    state: str
    versions: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    """By address, of the declared secrets in its inputs; `graph` is of all else."""
