"""Whether a run of the engine was a good one; what was not a matter of single resources is raised. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from swarmctl.engine.changes import Context
from swarmctl.engine.events import Gathered, Op, Step
from swarmctl.engine.outcome import EngineFailed
from swarmctl.engine.runner import Ended
from swarmctl.errors import SwarmError, WorldUnreadable
from swarmctl.kinds.base import MACHINE
from swarmctl.provider.errors import HELP
from swarmctl.state.files import DiskFull

_FULL = re.compile("no space left on device|disk quota exceeded", re.IGNORECASE)
"""How the engine, which has it from the operating system, tells that it could not save."""
_AGAIN = "What was done is recorded; run the same command again."


def unread(gathered: Gathered) -> list[Step]:
    """What could not be read back."""
    return [step for step in gathered.failures.values() if step.op is Op.REFRESH]


def judge(ended: Ended, context: Context, folder: Path, *, changing: bool) -> None:
    """Raises `WorldUnreadable`, `DiskFull` (of the file system that `folder` is on) and `EngineFailed`; whatever else
    was raised when events were taken is a bug, and raised as it is."""
    gathered = ended.gathered
    failed = list(gathered.failures.values())
    if missed := unread(gathered):
        error = WorldUnreadable(
            f"{_count(missed)} could not be read back; nothing was changed", details=_told_together(missed, context)
        )
        error.nodes = _by_node(missed, context)
        raise error
    if changing and any(_FULL.search(line) for line in [*gathered.complaints, *ended.output]):
        raise DiskFull.at(folder)
    if ended.failure is not None and not isinstance(ended.failure, msgspec.DecodeError):
        raise ended.failure
    if ended.given_up:
        details = [*_told(failed, context), *_lines([str(ended.failure or ""), *gathered.complaints])]
        raise EngineFailed(
            f"the Pulumi engine was given up: {ended.given_up}", _AGAIN if changing else "", details=details
        )
    if orderly(ended, changing=changing):
        return
    if failed and not changing:
        raise EngineFailed(f"{_count(failed)} could not be compared", details=_told(failed, context))
    how = "ended" if ended.status >= 0 else "was killed"
    raise EngineFailed(
        f"the Pulumi engine {how} (status {ended.status}) before it was done",
        _AGAIN if changing else "",
        details=[*_told(failed, context), *_lines([*gathered.complaints, *_left(gathered)] or ended.output)],
    )


def orderly(ended: Ended, *, changing: bool = True) -> bool:
    """Whether the engine came to its end, and what went wrong is a matter of single resources. Its provider may have
    died: then it says that it has finished, and names nothing that failed."""
    gathered = ended.gathered
    # A program that ends well without a word of what it did is no engine.
    finished = gathered.finished and ended.failure is None and not ended.given_up
    return finished and (ended.status == 0 or (changing and bool(gathered.failures or gathered.refused)))


def _count(steps: Sequence[Step]) -> str:
    return f"{len(steps)} resource{'s' if len(steps) > 1 else ''}"


def _lines(texts: Sequence[str]) -> list[str]:
    return [line.rstrip() for text in texts for line in text.splitlines() if line.strip()]


def _left(gathered: Gathered) -> list[str]:
    """Errors about resources that no step came to: without the engine's summing up they are nobody's yet."""
    return [message for messages in gathered.unplaced.values() for message in messages]


def _by_node(steps: Sequence[Step], context: Context) -> dict[str, SwarmError]:
    """Why, by node; what is said of the machine itself comes before what is said of things on it."""
    found: dict[str, SwarmError] = {}
    for step in sorted(steps, key=lambda step: step.type != MACHINE):
        if node := context.place(step).node:
            lines = step.error.splitlines() or [""]
            hint = lines[-1].removeprefix(HELP) if len(lines) > 1 and lines[-1].startswith(HELP) else ""
            found.setdefault(node, SwarmError(lines[0], hint))
    return found


def _told_together(steps: Sequence[Step], context: Context) -> list[str]:
    """The same, once where one machine has one reason for many: one that doesn't answer is one failure."""
    alike: dict[tuple[str, str], list[Step]] = {}
    for step in steps:
        node = context.place(step).node
        alike.setdefault((node or step.address, step.error), []).append(step)
    lines = []
    for (node, error), group in alike.items():
        first, *more = error.splitlines() or [""]
        if len(group) == 1:
            lines += _told(group, context)
        else:
            named = f"{node}: {first.removeprefix(f'{node}: ')}"
            lines += [f"{named} ({_count(group)} there)", *(f"    {line}" for line in more)]
    return lines


def _told(steps: Sequence[Step], context: Context) -> list[str]:
    """Each failure with its place, in lines; those after the first are set in."""
    lines = []
    for step in steps:
        node = context.place(step).node
        first, *more = step.error.splitlines() or [""]
        lines += [f"{step.address}{f' on {node}' if node else ''}: {first}", *(f"    {line}" for line in more)]
    return lines
