"""The rules of the lease, without a clock, a file or a process: record, what is seen, who asks → what to do.

The record names the holder with its fencing token, and who waits, in order. A token is never given out twice and each
is greater than the one before, so that whoever compares tokens knows the older run. Nothing here compares the times of
two machines: what the rules are given is how long a beat has not changed on the observer's own clock.

`tests/model` checks these very functions, with all interleavings of two runs and a crash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, unique

from swarmctl.state.model import Holder

TTL = 15.0
"""Seconds without a beat after which a holder is taken for gone."""


@dataclass(frozen=True, slots=True)
class Party:
    """One process that holds the lease or waits for it, and the last sign of life it gave."""

    id: str
    """Tells it from all others, those in the same process included."""
    holder: Holder
    beat: int = 0
    at: float = 0.0
    """When it gave that sign, on `clock`."""
    clock: str = ""
    """Names the monotonic clock: processes of the same boot share one, see `state.holder.clock`."""


@dataclass(frozen=True, slots=True)
class Record:
    """`lease.json`. Without an owner the lease is free; its token is then the last that was given out."""

    token: int = 0
    owner: Party | None = None
    ttl: float = TTL
    """That of the owner: it beats five times as often."""
    queue: tuple[Party, ...] = ()


@unique
class Life(Enum):
    """What an observer knows of a party."""

    WORKING = "working"
    UNSEEN = "unseen"
    """It may work elsewhere: it was not looked at for long enough to tell."""
    GONE = "gone"
    """Its process has ended, or the machine was started anew."""
    EXPIRED = "expired"
    """It works elsewhere, if at all, and has not beaten for its TTL."""
    STUCK = "stuck"
    """Its process lives on this machine, stopped or hung, and has not beaten for its TTL."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What an observer sees of a party."""

    near: bool
    """Its process ids mean something here: `alive` is certain, and it can be ended."""
    alive: bool
    quiet: float
    """Seconds without a new beat, as far as the observer can tell."""
    exact: bool
    """The observer knows since when it is quiet, rather than since when itself has been looking."""
    former: bool = False
    """It belongs to an earlier boot, on a store that one machine at a time can have."""


@unique
class Turn(Enum):
    """What whoever wants the lease does next."""

    TAKE = "take"
    """It is free: take it."""
    CLEAR = "clear"
    """The owner is gone: end what it left, then take it."""
    END = "end"
    """The owner lives and is stuck: end it, then what it left, then take the lease."""
    WAIT = "wait"


def life(sight: Sight, ttl: float) -> Life:
    """Judge one party."""
    if sight.former or (sight.near and not sight.alive):
        return Life.GONE
    if sight.quiet >= ttl:
        return Life.STUCK if sight.near else Life.EXPIRED
    return Life.WORKING if sight.near or sight.exact else Life.UNSEEN


def waiting(record: Record, lives: Mapping[str, Life]) -> tuple[Party, ...]:
    """The queue without those who do not wait any more; `lives` by party id, none is as good as unseen."""
    here = (Life.WORKING, Life.UNSEEN)
    return tuple(party for party in record.queue if lives.get(party.id, Life.UNSEEN) in here)


def ahead(record: Record, me: str, lives: Mapping[str, Life]) -> tuple[Party, ...]:
    """Who is served before `me`, who may stand in the queue or not."""
    queue = waiting(record, lives)
    places = [party.id for party in queue]
    return queue[: places.index(me)] if me in places else queue


def turn(record: Record, me: str, lives: Mapping[str, Life]) -> Turn:
    """What `me` does next."""
    if ahead(record, me, lives):
        return Turn.WAIT
    if record.owner is None:
        return Turn.TAKE
    match lives.get(record.owner.id, Life.UNSEEN):
        case Life.GONE | Life.EXPIRED:
            return Turn.CLEAR
        case Life.STUCK:
            return Turn.END
    return Turn.WAIT


def next_token(last: int, milliseconds: int) -> int:
    """The token after `last`: greater in any case, also when the store was lost and time is all there is to go by."""
    return max(last + 1, milliseconds)


def taken(record: Record, party: Party, lives: Mapping[str, Life], *, ttl: float, milliseconds: int) -> Record:
    """`party` has the lease now, under a new token, and waits no more."""
    queue = tuple(it for it in waiting(record, lives) if it.id != party.id)
    return Record(next_token(record.token, milliseconds), party, ttl, queue)


def owns(record: Record | None, token: int) -> bool:
    """Whether the lease is still held under this token."""
    return record is not None and record.owner is not None and record.token == token


def beaten(record: Record | None, token: int, at: float) -> Record | None:
    """The owner's next sign of life; None when it is the owner no more: then it must write nothing."""
    if record is None or record.owner is None or record.token != token:
        return None
    return replace(record, owner=replace(record.owner, beat=record.owner.beat + 1, at=at))


def freed(record: Record | None, token: int) -> Record | None:
    """The lease given back; None when it is another's by now. The token stays, so that none is given out twice."""
    if record is None or not owns(record, token):
        return None
    return replace(record, owner=None)


def revoked(record: Record, *, milliseconds: int, floor: int = 0) -> Record:
    """The lease taken from its owner and given to nobody: under a new token, which the owner does not have, and which
    is `floor` at least."""
    return replace(record, owner=None, token=max(next_token(record.token, milliseconds), floor))


def raised(record: Record | None, floor: int) -> Record | None:
    """The free lease with `floor` as its last token, so that the next one is greater; None when it is held, or when
    the next one is greater anyway."""
    record = record or Record()
    return replace(record, token=floor) if record.owner is None and record.token < floor else None


def queued(record: Record, party: Party, lives: Mapping[str, Life]) -> Record:
    """`party` waits: a sign of life at its place in the queue, or a place at its end."""
    queue = waiting(record, lives)
    if any(it.id == party.id for it in queue):
        queue = tuple(party if it.id == party.id else it for it in queue)
    else:
        queue = (*queue, party)
    return replace(record, queue=queue)


def left(record: Record, me: str) -> Record:
    """`me` waits no more."""
    return replace(record, queue=tuple(party for party in record.queue if party.id != me))
