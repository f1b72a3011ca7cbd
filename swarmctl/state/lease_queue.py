"""One who wants the lease: looks, waits in the queue, heals what is dead, takes it."""

from __future__ import annotations

import contextlib
import secrets
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from swarmctl.state import lease_files, lease_rules, lease_words
from swarmctl.state.files import told
from swarmctl.state.holder import clock, process_of
from swarmctl.state.lease_files import Unreadable, locked
from swarmctl.state.lease_rules import TTL, Life, Party, Record, Turn
from swarmctl.state.lease_watch import Watch, any_run, end_remains
from swarmctl.state.model import Holder

UNKNOWN = Holder(host="", boot="", namespace="", pid=0, start=0, user="", command="", since=0)
"""Stands for whoever held a lease whose record can't be read."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds; tests take shorter ones."""

    ttl: float = TTL
    patience: float = 10.0
    """That the engine and provider of a run that is gone get to end by themselves."""
    remind: float = 30.0
    """After which who waits is told again."""

    @property
    def beat(self) -> float:
        """Between two signs of life."""
        return self.ttl / 5

    @property
    def poll(self) -> float:
        """Between two looks at a lease that is waited for."""
        return min(0.2, self.ttl / 20)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What one who waits is told."""

    holder: Holder | None
    """For whom it waits; None when the lease is free and another one waits longer."""
    life: Life
    ahead: tuple[Holder, ...]
    """Who else is served before."""
    waited: float
    limit: float
    """Seconds that it waits at most."""

    @property
    def text(self) -> str:
        """For a line of progress."""
        if self.life in (Life.GONE, Life.EXPIRED, Life.STUCK):
            what = "is stuck and was ended" if self.life is Life.STUCK else "is gone"
            return f"{lease_words.who(self.holder)} {what}; what it has started gets a moment to end"
        others = f"; {lease_words.count(len(self.ahead), 'other is', 'others are')} served before" if self.ahead else ""
        if self.life is Life.UNSEEN and self.waited >= self.limit:
            return f"looking for a sign of life of {lease_words.who(self.holder)}{others}"
        left = max(0.0, self.limit - self.waited)
        whom = "its turn" if self.holder is None else lease_words.who(self.holder)
        return f"waiting for {whom}, for {left:.0f} s at most{others}"


OnWait = Callable[[Waiting], None]


class Contender:
    """See `lease.acquire`."""

    def __init__(
        self, folder: Path, holder: Holder, timing: Timing, timeout: float, on_wait: OnWait, floor: int
    ) -> None:
        self._folder = folder
        self._holder = holder
        self._timing = timing
        self._timeout = timeout
        self._on_wait = on_wait
        self._floor = floor
        self._id = secrets.token_hex(8)
        self._clock = clock()
        self._watch = Watch(folder)
        self._cleared = -1
        """Token of the holder whose remains have been ended."""
        self._beat = 0
        self._due = 0.0
        self._begun = time.monotonic()
        self._told: tuple[object, ...] = ()
        self._tell_again = 0.0

    def run(self) -> int:
        """The token under which the lease is ours."""
        taken = False
        try:
            while True:
                token = self._once()
                if token is not None:
                    taken = True
                    return token
        finally:
            if not taken:
                self._leave()

    def _once(self) -> int | None:
        now = time.monotonic()
        with told(self._folder), locked(self._folder, create=True, ttl=self._timing.ttl):
            record = self._read()
            lives = self._watch.lives(record, now)
            turn = lease_rules.turn(record, self._id, lives)
            if turn is Turn.TAKE and self._cleared != record.token and any_run(self._folder):
                turn = Turn.CLEAR
            if turn is Turn.END:
                self._end(record, lives)
            if turn in (Turn.CLEAR, Turn.END) and self._cleared == record.token:
                turn = Turn.TAKE
            if turn is Turn.TAKE:
                return self._take(record, lives)
            self._queue(record, lives, now)
        life = lives[record.owner.id] if record.owner else Life.WORKING
        if turn is not Turn.WAIT:
            if record.owner is not None:
                self._tell(record, life, ())
            end_remains(self._folder, self._timing.patience, self._keep_place)
            self._cleared = record.token
            return None
        ahead = lease_rules.ahead(record, self._id, lives)
        self._go_on_or_raise(record, lives, ahead)
        self._tell(record, life, ahead)
        time.sleep(self._timing.poll)
        return None

    def _go_on_or_raise(self, record: Record, lives: dict[str, Life], ahead: tuple[Party, ...]) -> None:
        waited = time.monotonic() - self._begun
        if waited < self._timeout:
            return
        before = {lives[party.id] for party in (*ahead, *([record.owner] if record.owner else []))}
        # Those who may be gone are looked at until that is known. Else what a machine has left that is gone, as holder
        # or in the queue, would be found anew by each run that does not wait, and be in the way for ever.
        if Life.UNSEEN in before and Life.WORKING not in before and waited < self._timeout + 2 * record.ttl:
            return
        life = lives[record.owner.id] if record.owner else Life.WORKING
        raise lease_words.held(record, life, ahead, waits=self._timeout > 0)

    def _read(self) -> Record:
        """The record; an unreadable one is replaced by that of an unknown holder, which has its time to live."""
        try:
            record = lease_files.read(self._folder)
        except Unreadable:
            record = Record(self._floor, Party(secrets.token_hex(8), UNKNOWN), self._timing.ttl)
            lease_files.write(self._folder, record, sync=True)
        record = record or Record()
        return replace(record, token=max(record.token, self._floor))

    def _take(self, record: Record, lives: dict[str, Life]) -> int:
        milliseconds = time.time_ns() // 1_000_000
        record = lease_rules.taken(record, self._me(), lives, ttl=self._timing.ttl, milliseconds=milliseconds)
        lease_files.write(self._folder, record, sync=True)
        return record.token

    def _me(self) -> Party:
        self._beat += 1
        return Party(self._id, self._holder, self._beat, time.monotonic(), self._clock)

    def _queue(self, record: Record, lives: dict[str, Life], now: float) -> None:
        """A sign of life in the queue, when it is time for one; those who only look do not stand in it."""
        if self._timeout <= 0 or (now < self._due and any(party.id == self._id for party in record.queue)):
            return
        lease_files.write(self._folder, lease_rules.queued(record, self._me(), lives), sync=False)
        self._due = now + self._timing.beat

    def _keep_place(self) -> None:
        now = time.monotonic()
        if self._timeout > 0 and now >= self._due:
            with told(self._folder), locked(self._folder, create=True, ttl=self._timing.ttl):
                record = self._read()
                self._queue(record, self._watch.lives(record, now), now)

    def _leave(self) -> None:
        if self._timeout <= 0:
            return
        # It is dropped from the queue all the same, a little later, since it beats no more.
        with contextlib.suppress(OSError, Unreadable), locked(self._folder, ttl=self._timing.ttl):
            record = lease_files.read(self._folder)
            if record is not None:
                lease_files.write(self._folder, lease_rules.left(record, self._id), sync=False)

    def _end(self, record: Record, lives: dict[str, Life]) -> None:
        """End the stuck owner, with the flock held: it can't beat meanwhile.

        First something is written: where nothing can be, it may be the disk that keeps the owner from beating.
        """
        lease_files.write(self._folder, record, sync=False)
        owner = record.owner
        process = process_of(owner.holder) if owner else None
        if owner is None or process is None:
            return
        try:
            process.ends_by(signal.SIGKILL, 2.0)
        except PermissionError:
            raise lease_words.no_right(owner.holder) from None

    def _tell(self, record: Record, life: Life, ahead: tuple[Party, ...]) -> None:
        now = time.monotonic()
        news = (record.token, life, tuple(party.id for party in ahead))
        if news == self._told and now < self._tell_again:
            return
        self._told, self._tell_again = news, now + self._timing.remind
        holder = record.owner.holder if record.owner else None
        others = tuple(party.holder for party in ahead)
        self._on_wait(Waiting(holder, life, others, now - self._begun, self._timeout))
