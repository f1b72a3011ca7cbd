"""Looking at a lease, and releasing it by hand. Neither is ever needed for a run to go on after a crash."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from swarmctl.errors import LockHeld
from swarmctl.processes import Process
from swarmctl.state import lease_files, lease_rules, lease_words
from swarmctl.state.files import told
from swarmctl.state.holder import process_of
from swarmctl.state.lease_files import Unreadable, locked
from swarmctl.state.lease_queue import UNKNOWN, Timing
from swarmctl.state.lease_rules import Life, Party, Record
from swarmctl.state.lease_watch import Watch, end_remains, remains
from swarmctl.state.model import Holder


@dataclass(frozen=True, slots=True)
class Queued:
    """One who waits."""

    holder: Holder
    life: Life


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    """The lease as it is now."""

    token: int
    """The last that was given out."""
    holder: Holder | None = None
    """None: it is free."""
    life: Life = Life.UNSEEN
    """What is known of the holder."""
    quiet: float | None = None
    """Seconds since its last sign of life; None when that was not seen."""
    ttl: float = lease_rules.TTL
    here: bool = False
    """The holder's process is, or was, one of this machine's."""
    remains: int = 0
    """Processes of runs of this stack on this machine, the holder's own among them."""
    queue: tuple[Queued, ...] = ()
    """Who waits, in the order in which they are served."""


@dataclass(frozen=True, slots=True)
class Released:
    """What `release` did."""

    holder: Holder | None
    """Who held the lease; None: nobody did."""
    life: Life
    """What was known of it before."""
    ended: bool = False
    """Its process was ended."""
    elsewhere: bool = False
    """It may go on to work, on another machine or where its process can't be seen: fencing alone holds it back."""
    raised: int = 0
    """The last token by now, where nobody held the lease and the next one would not have been greater than asked."""


def status(folder: Path, *, watch: float = 0.0) -> LeaseStatus | None:
    """The lease of the stack in `folder`; None when it was never taken. Writes nothing.

    A holder on another machine is looked at for up to `watch` seconds, until it has given a sign of life.
    """
    record, life, observer, now = _look(folder, watch)
    if record is None:
        return None
    lives = observer.lives(record, now)
    queue = tuple(Queued(party.holder, lives[party.id]) for party in record.queue)
    owner = record.owner
    if owner is None:
        return LeaseStatus(record.token, queue=queue, ttl=record.ttl)
    sight = observer.sight(owner, now)
    quiet = round(sight.quiet, 1) if sight.exact else None
    left = len(remains(folder))
    return LeaseStatus(record.token, owner.holder, life, quiet, record.ttl, sight.near, left, queue)


def release(
    folder: Path,
    *,
    force: bool = False,
    floor: int = 0,
    timing: Timing | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Released:
    """Free the lease of one that is gone; with `force` also of one that lives, which is ended when it is on this
    machine: asked to, then killed after `timing.patience` seconds.

    The next token is greater than `floor`, also when nobody held the lease. `tell` is told what takes time. Raises
    `LockHeld` for one that lives without `force`, DiskFull, ReadOnly, ProcessStuck.
    """
    timing = timing or Timing()
    deadline = time.monotonic() + 4 * timing.ttl + 2 * timing.patience
    done: Released | None = None
    while True:
        record, life, _, _ = _look(folder, timing.ttl, tell)
        owner = record.owner if record else None
        if record is None or owner is None:
            return replace(done or Released(None, life), raised=_raise(folder, floor, timing))
        if done and owner.holder != done.holder:
            return done
        if life not in (Life.GONE, Life.EXPIRED) and not force:
            raise _lives(record, life)
        if time.monotonic() > deadline:
            raise _lives(record, life)
        process = process_of(owner.holder)
        done = done or Released(owner.holder, life, elsewhere=process is None and life is not Life.GONE)
        if process is not None and process.alive():
            tell(f"ending {lease_words.who(owner.holder)}")
            if _end(folder, record.token, owner.holder, process, timing, stuck=life is Life.STUCK):
                done = replace(done, ended=True)
        if not done.elsewhere:
            end_remains(folder, timing.patience, lambda: None)
        if _revoke(folder, record, floor, timing):
            return done


def _look(
    folder: Path, patience: float, tell: Callable[[str], None] = lambda text: None
) -> tuple[Record | None, Life, Watch, float]:
    """The record and what is known of its owner, looked at for up to `patience` seconds if need be."""
    observer = Watch(folder)
    begun = time.monotonic()
    said = False
    while True:
        now = time.monotonic()
        try:
            record = lease_files.read(folder)
        except Unreadable:
            record = Record(0, Party("", UNKNOWN))
        if record is None or record.owner is None:
            return record, Life.UNSEEN, observer, now
        life = observer.lives(record, now)[record.owner.id]
        if life is not Life.UNSEEN or now - begun >= patience:
            return record, life, observer, now
        if not said:
            tell(f"looking for a sign of life of {lease_words.who(record.owner.holder)}")
            said = True
        time.sleep(0.1)


def _lives(record: Record, life: Life) -> LockHeld:
    error = lease_words.held(record, life, (), waits=True)
    hint = "Wait until it has ended, or end it: `swarmctl lock release --force`."
    return LockHeld(error.message, hint)


def _end(folder: Path, token: int, holder: Holder, process: Process, timing: Timing, *, stuck: bool) -> bool:
    """End the owner: whether this was our doing. It is asked first, so that it saves what it has done."""
    try:
        with locked(folder, ttl=timing.ttl):
            if not lease_rules.owns(lease_files.read(folder), token):
                return False
            process.ends_by(signal.SIGKILL if stuck else signal.SIGTERM, 0.0)
        deadline = time.monotonic() + timing.patience
        while process.alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    except PermissionError:
        raise lease_words.no_right(holder) from None
    return True


def _revoke(folder: Path, record: Record, floor: int, timing: Timing) -> bool:
    """Free the lease under a new token, unless it is another's by now."""
    with told(folder), locked(folder, create=True, ttl=timing.ttl):
        try:
            there = lease_files.read(folder)
        except Unreadable:
            there = record
        if there is None or there.owner is None or there.token != record.token:
            return False
        revoked = lease_rules.revoked(there, milliseconds=time.time_ns() // 1_000_000, floor=floor)
        lease_files.write(folder, revoked, sync=True)
        return True


def _raise(folder: Path, floor: int, timing: Timing) -> int:
    """Let the next token be greater than `floor`; returns that, 0 when it is greater anyway or somebody has come."""
    if floor <= 0:
        return 0
    with told(folder), locked(folder, create=True, ttl=timing.ttl):
        try:
            there = lease_files.read(folder)
        except Unreadable:
            there = None
        record = lease_rules.raised(there, floor)
        if record is None:
            return 0
        lease_files.write(folder, record, sync=True)
        return record.token
