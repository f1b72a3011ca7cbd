"""What came of a run of the engine, as plain data, and the errors that end one."""

from __future__ import annotations

from dataclasses import dataclass

from swarmctl.errors import ExitCode, SwarmError
from swarmctl.plans.model import Change


class EngineFailed(SwarmError):
    """The engine itself could not do its work; `details` has what it said."""


class Protected(SwarmError):
    """What is protected would be deleted or made anew; nothing was changed."""

    exit_code = ExitCode.PLAN_REFUSED


@dataclass(frozen=True, slots=True)
class Failure:
    """One resource that could not be changed."""

    address: str
    node: str
    error: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """One resource that was not begun, and why: a clause such as "it needs mesh/m[a], which failed"."""

    address: str
    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an update or a destroy did."""

    changes: tuple[Change, ...]
    failures: tuple[Failure, ...]
    interrupted: bool
    same: int
    skipped: tuple[Skipped, ...] = ()
    emptied: tuple[str, ...] = ()
    """Addresses at which the old one was removed, and the one in its place was not made."""
