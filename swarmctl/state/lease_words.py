"""What the user is told of a lease: who holds it, who waits, what fencing is worth."""

from __future__ import annotations

import time
from collections.abc import Sequence

from swarmctl.errors import LeaseLost, LockHeld
from swarmctl.state.lease_rules import Life, Party, Record
from swarmctl.state.model import Holder

FENCED = (
    "a run that was only cut off from the state, and still works, can do nothing any more: its token is older than the "
    "next run's, and every machine that can compare them refuses it (where a backend cannot, plan says so)"
)

_STATE = {
    Life.WORKING: "works on this stack",
    Life.UNSEEN: "holds this stack, and whether it still works is not known yet",
    Life.GONE: "is gone, and what it has started still works on this stack",
    Life.EXPIRED: "holds this stack and has given no sign of life for its time to live",
    Life.STUCK: "holds this stack, stopped or hung",
}


def who(holder: Holder | None) -> str:
    """A holder in one line: command, user and host, process, since when, where its pipeline is."""
    if holder is None:
        return "nobody"
    if not holder.boot:
        return "a run that is not known: the record of the lease could not be read"
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.since))
    place = f"{holder.user}@{holder.host}, process {holder.pid}, since {since}"
    return f"`{holder.command}` ({place}{f', {holder.run}' if holder.run else ''})"


def held(record: Record, life: Life, ahead: Sequence[Party], *, waits: bool) -> LockHeld:
    """The error of one who can't wait, or can't any more; `ahead` are those who are served before it."""
    if record.owner is None:
        first = who(ahead[0].holder) if ahead else "another run"
        message = f"{first} is about to work on this stack: it was waiting first"
    else:
        message = f"{who(record.owner.holder)} {_STATE[life]}"
    queue = f"; {count(len(ahead), 'run waits', 'runs wait')} already: this one is number {len(ahead) + 1}"
    details = [f"waits: {who(party.holder)}" for party in ahead]
    hint = "Wait until it has ended and try again"
    if not waits:
        hint += ", or wait in the queue with --lock-timeout 10m"
    return LockHeld(message, f"{hint}{queue if ahead else ''}. `swarmctl lock show` tells more.", details=details)


def no_right(holder: Holder) -> LockHeld:
    """The error of one who may not end a stuck holder."""
    return LockHeld(
        f"{who(holder)} is stopped or hung, and this user may not end it",
        f"End process {holder.pid} as {holder.user} or as root, then run the same command again.",
    )


def lost(token: int, record: Record | None, why: str = "") -> LeaseLost:
    """The error of a run whose lease is another's by now."""
    if why:
        cause = why
    elif record is None:
        cause = "its record is gone"
    elif record.owner is None and record.token > token:
        cause = (
            f"it was taken under token {record.token}: by a run that has ended since, or by force (`swarmctl lock "
            "release --force`)"
        )
    elif record.owner is None:
        cause = "it was given back"
    else:
        cause = f"{who(record.owner.holder)} has taken it (token {record.token})"
    return LeaseLost(
        f"this run has lost the lease of the stack (token {token}): {cause}",
        "It changes nothing any more. What it had done is kept: the next apply finds it and goes on from there.",
    )


def count(number: int, one: str, many: str) -> str:
    """`1 run waits`, `2 runs wait`."""
    return f"{number} {one if number == 1 else many}"
