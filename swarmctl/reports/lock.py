"""Draws the lease of a stack."""

from __future__ import annotations

from typing import Any

from swarmctl.reports.console import paint, safe
from swarmctl.state.lease import LeaseStatus, Released
from swarmctl.state.lease_rules import Life
from swarmctl.state.lease_words import FENCED, count, who
from swarmctl.state.model import Holder

_LIFE = {
    Life.WORKING: "works",
    Life.UNSEEN: "gave no sign of life while we looked; it may work elsewhere",
    Life.GONE: "is gone; the next run takes its place at once",
    Life.EXPIRED: "gave no sign of life for its time to live; the next run takes its place at once",
    Life.STUCK: "is stopped or hung; the next run ends it and takes its place",
}
_COLOR = {Life.WORKING: "green", Life.UNSEEN: "yellow"}


def render(status: LeaseStatus | None, *, color: bool) -> str:
    """Who holds the lease, since when, whether it lives; who waits, in their order."""
    if status is None:
        return "No run has ever worked on this stack."
    if status.holder is None:
        first = f"Nobody works on this stack. The last token was {status.token}."
    else:
        beat = "" if status.quiet is None else f" (last sign of life {status.quiet:.1f} s ago)"
        life = paint(_LIFE[status.life], _COLOR.get(status.life, "red"), color=color)
        first = f"{safe(who(status.holder))}\n  {life}{beat}\n  token {status.token}"
        if status.remains:
            first += f", {count(status.remains, 'process', 'processes')} of its engine on this machine"
    lines = [
        f"{place:>3}. {safe(who(waiter.holder))}{'' if waiter.life is Life.WORKING else f': {_LIFE[waiter.life]}'}"
        for place, waiter in enumerate(status.queue, 1)
    ]
    return "\n".join([first, *(["", paint("Waiting", "bold", color=color), *lines] if lines else [])])


def render_released(released: Released) -> str:
    """What `lock release` did."""
    if released.holder is None and released.raised:
        return (
            f"Nobody held the lease. The next run's token is greater than {released.raised}.\n"
            f"What that means: whoever still works elsewhere, under that token or an older one, is kept out: {FENCED}."
        )
    if released.holder is None:
        return "Nobody held the lease: nothing to release."
    ended = ", and ended it" if released.ended else ""
    text = f"Released the lease of {safe(who(released.holder))}{ended}."
    return f"{text}\nWhat that means: {FENCED}." if released.elsewhere else text


def to_json(status: LeaseStatus | None) -> dict[str, Any]:
    """The `swarmctl/lock/v1` document."""
    status = status or LeaseStatus(0)
    held = status.holder is not None
    return {
        "schema": "swarmctl/lock/v1",
        "held": held,
        "token": status.token,
        "holder": _holder(status.holder),
        "life": status.life.value if held else None,
        "quietSeconds": status.quiet,
        "ttlSeconds": status.ttl,
        "here": status.here,
        "processes": status.remains,
        "queue": [{"holder": _holder(waiter.holder), "life": waiter.life.value} for waiter in status.queue],
    }


def released_to_json(released: Released) -> dict[str, Any]:
    """The `swarmctl/released/v1` document."""
    return {
        "schema": "swarmctl/released/v1",
        "released": released.holder is not None,
        "holder": _holder(released.holder),
        "ended": released.ended,
        "elsewhere": released.elsewhere,
        "raisedTo": released.raised or None,
    }


def _holder(holder: Holder | None) -> dict[str, Any] | None:
    if holder is None:
        return None
    return {
        "command": holder.command,
        "user": holder.user,
        "host": holder.host,
        "process": holder.pid,
        "boot": holder.boot,
        "since": holder.since,
        "run": holder.run,
    }
