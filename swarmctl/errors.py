"""The few exceptions that end a run: each carries its exit code and a hint; the CLI prints them, never a traceback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum, unique
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarmctl.diagnostics import Diagnostic


@unique
class ExitCode(IntEnum):
    """The published exit codes; when several hold, the first of `PRECEDENCE` counts."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NO_DOCUMENTS = 3
    INVALID_DECLARATION = 4
    PLAN_REFUSED = 5
    LOCK_HELD = 6
    PARTLY_DONE = 7
    WORLD_UNREADABLE = 8
    DECLINED = 9
    CHANGES_PENDING = 20
    DRIFT = 21
    INTERRUPTED = 130


PRECEDENCE = (130, 2, 3, 4, 5, 6, 7, 8, 9, 1, 21, 20)
"""Exit codes, the one that counts first."""


class SwarmError(Exception):
    """A run cannot go on. `message` is one sentence without a full stop, `hint` says how to mend it."""

    exit_code: ExitCode = ExitCode.FAILED
    transient: bool = False
    """It may pass by itself: trying again soon makes sense, and harms nothing."""

    def __init__(self, message: str, hint: str = "", *, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = tuple(details)
        """Further lines, such as every way that was tried."""


def together(one: SwarmError, other: SwarmError) -> SwarmError:
    """Of two errors of one run the one whose exit code counts first, with what the other one says beside it."""
    first, then = sorted((one, other), key=lambda it: PRECEDENCE.index(it.exit_code))
    first.details = (*first.details, then.message, *then.details)
    return first


class UsageError(SwarmError):
    """The command line asks for what cannot be done: no such node, no terminal and no `--yes`."""

    exit_code = ExitCode.USAGE


class NoDocuments(SwarmError):
    """The folder holds no declarations."""

    exit_code = ExitCode.NO_DOCUMENTS


class InvalidDeclaration(SwarmError):
    """The declarations have errors; `diagnostics` holds every one of them, warnings included.

    `sources` holds the texts by path as shown, for excerpts.
    """

    exit_code = ExitCode.INVALID_DECLARATION

    def __init__(self, diagnostics: Sequence[Diagnostic], sources: Mapping[str, str] | None = None) -> None:
        super().__init__("the declarations are not valid")
        self.diagnostics = tuple(diagnostics)
        self.sources = dict(sources or {})


class PlanRefused(SwarmError):
    """A saved plan no longer fits the declarations, the state or the tool."""

    exit_code = ExitCode.PLAN_REFUSED


class LockHeld(SwarmError):
    """Another run works on the same stack."""

    exit_code = ExitCode.LOCK_HELD


class LeaseLost(SwarmError):
    """This run may change nothing any more: another one has taken its place, and its token is the newer one."""

    exit_code = ExitCode.LOCK_HELD


class PartlyDone(SwarmError):
    """Some resources failed; what was done is in the state and the next apply continues there."""

    exit_code = ExitCode.PARTLY_DONE


class NothingDone(SwarmError):
    """Some resources failed, and nothing else was changed."""


class CutOff(SwarmError):
    """All that was changed was undone again: it had cut nodes off."""


class WorldUnreadable(SwarmError):
    """A machine or its backend could not be read."""

    exit_code = ExitCode.WORLD_UNREADABLE
    nodes: Mapping[str, SwarmError] = {}
    """Why, by node, where it is known which machines could not be read."""


class Declined(SwarmError):
    """The user said no at the prompt."""

    exit_code = ExitCode.DECLINED


class Interrupted(SwarmError):
    """Ctrl-C; the message says how to go on."""

    exit_code = ExitCode.INTERRUPTED
