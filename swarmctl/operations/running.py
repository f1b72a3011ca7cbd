"""A run that changes things: how it is stopped, what it did, and whether that is a success."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from swarmctl.errors import CutOff, Interrupted, NothingDone, PartlyDone, SwarmError, WorldUnreadable, together
from swarmctl.operations import silent, unfit
from swarmctl.plans.model import Action, Change, Plan

if TYPE_CHECKING:
    from swarmctl.engine.session import Failure, Outcome, Session, Skipped
    from swarmctl.graph.model import Unfit

GO_ON = "what was done is in the state: run the same command again to go on, or `swarmctl destroy` to take it all away"

_TOLD = 20
"""Failures told in full."""
_MORE = 8
"""Addresses told of those that failed like another one."""


@dataclass(frozen=True, slots=True)
class Undone:
    """One guarded change that was made and does not stay."""

    address: str
    node: str
    reason: str
    """A clause about the node, such as "does not reach a-1 any more"."""


@dataclass(frozen=True, slots=True)
class Run:
    """What an apply or destroy did."""

    plan: Plan
    """What was shown and confirmed."""
    changes: tuple[Change, ...] = ()
    """What was done."""
    failures: tuple[Failure, ...] = ()
    removed: tuple[str, ...] = ()
    """Machines that nobody knew and other remains that were removed."""
    interrupted: bool = False
    seconds: float = 0.0
    skipped: tuple[Skipped, ...] = ()
    """What was not begun: it needs what failed, or its pool's rollout was stopped."""
    undone: tuple[Undone, ...] = ()
    """What was made and undone, because it cut nodes off; none of `changes`."""
    silent: Mapping[str, SwarmError] = field(default_factory=dict)
    """Why, by node, of the machines that were left as they are, because they could not be asked."""
    kept: tuple[str, ...] = ()
    """Addresses that a destroy has left in the state, because they lie on such machines."""
    unfit: tuple[Unfit, ...] = ()
    """What was left alone on machines whose facts contradict it."""
    emptied: tuple[str, ...] = ()
    """Addresses at which the old one was removed, and the one in its place was not made."""
    unswept: SwarmError | None = None
    """Why a destroy that has removed all that is recorded could not remove other remains."""

    @classmethod
    def of(
        cls, plan: Plan, outcome: Outcome, removed: Sequence[str], seconds: float, undone: Sequence[Undone] = ()
    ) -> Run:
        """The run in which the engine did `outcome`, of which `undone` does not stay."""
        gone = {it.address for it in undone}
        # The engine knows no adoption: to it, it creates.
        adopted = {change.address for change in plan.changes if change.action is Action.ADOPT}
        changes = tuple(
            replace(change, action=Action.ADOPT) if change.address in adopted else change
            for change in outcome.changes
            if change.address not in gone
        )
        return cls(
            plan,
            changes,
            outcome.failures,
            tuple(removed),
            outcome.interrupted,
            seconds,
            outcome.skipped,
            tuple(undone),
            emptied=outcome.emptied,
        )

    def count(self, action: Action) -> int:
        """How many resources were changed so; `same` are those that needed nothing."""
        if action is Action.SAME:
            return self.plan.same
        return sum(1 for change in self.changes if change.action is action)

    def judge(self) -> None:
        """Raises Interrupted, PartlyDone, NothingDone, CutOff or WorldUnreadable, naming what failed where and why,
        and what was left alone; returns when all went well and nothing was left alone."""
        unfit.judge(self.unfit, self._judge, done=bool(self.changes or self.removed))

    def _judge(self) -> None:
        try:
            self._judge_changes()
        except SwarmError as error:
            try:
                silent.judge(self.silent, kept=self.kept)
            except WorldUnreadable as unread:
                raise together(error, unread) from None
            raise
        silent.judge(self.silent, kept=self.kept)
        if self.unswept:
            raise self.unswept

    def _judge_changes(self) -> None:
        if self.interrupted:
            done = f"interrupted after {len(self.changes)} of {len(self.plan.changes)} changes"
            raise Interrupted(done, GO_ON, details=self._told())
        if self.failures or self.skipped:
            counts = [
                f"{len(some)} change{'s' if len(some) > 1 else ''} {how}"
                for some, how in ((self.failures, "failed"), (self.skipped, "not begun"), (self.undone, "undone"))
                if some
            ]
            if self.changes or self.removed or self.emptied or self._begun_on_many():
                raise PartlyDone(", ".join(counts), f"mend the cause; {GO_ON}", details=self._told())
            raise NothingDone(
                ", ".join(counts), "mend the cause, then run the same command again", details=self._told()
            )
        if self.undone:
            what = f"{len(self.undone)} change{'s' if len(self.undone) > 1 else ''} cut nodes off and were undone"
            kind = PartlyDone if self.changes else CutOff
            raise kind(what, "see what the plan says of them; it shows them again", details=self._told())

    def _begun_on_many(self) -> bool:
        """Whether something failed that goes through many nodes, such as a rotation of keys: it is done on some."""
        failed = {it.address for it in self.failures}
        found = (it for it in self.plan.changes if it.action is Action.UPDATE and not it.node)
        return bool(self.plan.nodes) and any(it.address in failed for it in found)

    def _told(self) -> list[str]:
        lines = _listed(_alike([(it.address, it.node, it.error) for it in self.failures]))
        if self.undone:
            told = {
                (it.node, it.reason): [one.address for one in self.undone if one.node == it.node] for it in self.undone
            }
            lines += ["undone:", *_listed([(f"{node} ({', '.join(what)})", why) for (node, why), what in told.items()])]
        if self.skipped:
            lines += ["not begun:", *_listed(_alike([(it.address, it.node, it.reason) for it in self.skipped]))]
        return lines


def _at(address: str, node: str) -> str:
    return f"{address}{f' on {node}' if node else ''}"


def _alike(told: Sequence[tuple[str, str, str]]) -> list[tuple[str, str]]:
    """What, and why, of addresses with their node and reason: those with the same reason, but for the name of the
    node, are told in one."""
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for one in told:
        groups.setdefault(_named(one[1]).sub("\0", one[2]) if one[1] else one[2], []).append(one)
    found = []
    for (address, node, reason), *others in groups.values():
        why = reason.removeprefix(f"{node}: ") if node else reason
        if others:
            more = [other[0] for other in others[:_MORE]]
            more += [f"and {len(others) - _MORE} more"] if len(others) > _MORE else []
            why += f"\nthe same with {', '.join(more)}"
        found.append((_at(address, node), why))
    return found


def _named(node: str) -> re.Pattern[str]:
    """Finds a node's name as a whole word."""
    return re.compile(rf"(?<![\w.-]){re.escape(node)}(?![\w-])")


def _listed(told: Sequence[tuple[str, str]]) -> list[str]:
    """What, and why, in lines; those after the first of a reason are set in."""
    lines = []
    for what, why in told[:_TOLD]:
        first, *more = why.splitlines() or [""]
        lines += [f"{what}: {first}", *(f"    {line}" for line in more)]
    left = len(told) - _TOLD
    return [*lines, f"and {left} more; --format json has them all"] if left > 0 else lines


class Stopper:
    """Ctrl-C, passed on to the engine: the first finishes the steps in flight and saves, the second stops at once."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self.pressed = 0
        """How often a stop was asked for while the engine worked."""

    @property
    def busy(self) -> bool:
        """Whether the engine works; otherwise there is nothing to finish and the run may simply end."""
        return self._session is not None

    def press(self) -> None:
        """Ask to stop. Call it from any thread, not from inside a signal handler."""
        self.pressed += 1
        if session := self._session:
            session.interrupt()

    @contextmanager
    def watching(self, session: Session) -> Iterator[None]:
        """Calls go to `session` for as long as the block runs."""
        self._session = session
        try:
            yield
        finally:
            self._session = None

    @contextmanager
    def looking(self, session: Session, doing: str) -> Iterator[None]:
        """As `watching`, for work that changes nothing: raises Interrupted in place of whatever the engine says after
        it was asked to stop. `doing` completes "interrupted while …"."""
        with self.watching(session):
            try:
                yield
            except SwarmError as error:
                self._check(doing, error)
                raise
        self._check(doing, None)

    def _check(self, doing: str, cause: SwarmError | None) -> None:
        if self.pressed:
            raise Interrupted(
                f"interrupted while {doing}; nothing was changed", "run it again when you are ready"
            ) from cause
