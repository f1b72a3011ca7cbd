"""The state store of one stack: a folder with the published state, its backups, its keys, the lease and the runs.

A run works on a private copy in a folder of its own; what came of it is published by compare-and-swap: the lease must
still be the run's and the state the one that it began from. Whoever reads sees the last published state.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from swarmctl import __version__, paths
from swarmctl.errors import LeaseLost, SwarmError
from swarmctl.state import backups, damage, files, forgotten, migration, moving, published, recovery, runs, unlocking
from swarmctl.state.checkpoint import EMPTY, Recorded, Snapshot, StateUnreadable, latest, salt, snapshot
from swarmctl.state.keys import Keys
from swarmctl.state.migration import PROJECT, checkpoint_file
from swarmctl.state.model import Applied, PlanMark, Published, ResourceHeader, RunHeader
from swarmctl.state.runs import RunFolder

if TYPE_CHECKING:
    from swarmctl.state.lease import Lease, OnWait

__all__ = ["PROJECT", "Recorded", "Snapshot", "Store", "checkpoint_file"]

Json = Any
_LEAST = 4096
"""Bytes that a state takes on a disk, however small it is."""
_ABANDONED = 3600.0
"""Seconds after which nobody is still at writing a small file."""
_TIMES = 3
"""How often the state has to fit into what is free: the engine's copy, what it makes of it, what is published."""


class Store:
    """Where the state of one stack is kept."""

    def __init__(self, identity: str, url: str | None = None) -> None:
        """`url` is None for the user's data directory, or `file:///folder`, in which the stack gets a folder.

        Raises `SwarmError` for any other URL.
        """
        self.identity = identity
        self.folder = paths.stack_dir(identity) if url is None else _folder(url) / identity
        self.keys = Keys(self.folder / "keys", before=self.folder / "passphrase")
        self._lease: Lease | None = None
        self._entered = 0

    @property
    def file(self) -> Path:
        """The published state."""
        return self.folder / published.FILE

    @property
    def backups(self) -> Path:
        """The folder with the published states before."""
        return self.folder / "backups"

    @property
    def runs_folder(self) -> Path:
        """The folder with a folder per changing run."""
        return self.folder / "runs"

    def runs(self) -> tuple[RunFolder, ...]:
        """Runs that go on, or were cut off and not taken into the state yet; by token. Raises `StateTooNew`."""
        return runs.found(self.runs_folder).runs

    # Reading: writes nothing, needs no lease.

    def load(self) -> Published | None:
        """The published state; None when nothing was ever published. Generation 0 is one of the layout before.

        Raises `StateUnreadable`, which names the last good one and how to go on with it, `StateTooNew`, `StateMoved`.
        """
        moving.check(self.folder)
        try:
            found = published.decode(self.file.read_bytes())
        except FileNotFoundError:
            if next(backups.found(self.backups), None) is None:
                return migration.load(self.folder, self.identity)
            raise self._unreadable("the recorded state is gone") from None
        except IsADirectoryError:
            raise self._unreadable("a folder is where the recorded state should be") from None
        except StateUnreadable as error:
            raise self._unreadable(error.message) from None
        if found.stack != self.identity:
            raise self._unreadable(f"the recorded state is that of another stack, {found.stack[:80]}")
        return found

    def current(self) -> Published | None:
        """The published state with what runs that were cut off, or go on, have done since; None for neither.

        All of it as the next run has it, its generation, too. Of a state that can't be read the last good one; see
        `damage`. Raises `StateUnreadable`
        when there is none, `StateTooNew`.
        """
        # The runs first: one that is published in between is then known by its generation.
        found = self.runs()
        try:
            base = self.load()
        except StateUnreadable:
            good = backups.newest(self.backups)
            if good is None:
                raise
            mended = recovery.replayed(good[1], found, self.identity)[0] or good[1]
            return replace(mended, generation=damage.following(mended, self.backups))
        return recovery.replayed(base, found, self.identity)[0]

    def unread(self) -> tuple[Path, ...]:
        """Folders of runs that did something, and of which nobody can read what: what they made is in no state."""
        return runs.found(self.runs_folder).broken

    def damage(self) -> StateUnreadable | None:
        """Why the published state can't be read, so that the last good one is looked at; None when all is well."""
        try:
            self.load()
        except StateUnreadable as error:
            return error
        return None

    def exists(self) -> bool:
        """Whether anything is recorded: the stack was applied, at least in part, and not destroyed since."""
        found = self.current()
        return found is not None and bool(latest(found.checkpoint).get("resources"))

    def snapshot(self) -> Snapshot:
        """What is recorded, see `current`. Raises `StateUnreadable`, `StateTooNew`."""
        found = self.current()
        return Snapshot(digest=EMPTY) if found is None else snapshot(found.checkpoint)

    # Changing: with the lease.

    @contextlib.contextmanager
    def lease(
        self, timeout: float = 0.0, on_wait: OnWait | None = None, known: Callable[[], int] = lambda: 0
    ) -> Iterator[Lease]:
        """Be the one who works on the stack; within one `Store` it may be taken again. See `lease.acquire`.

        `known` tells the greatest token that is known outside of the store; it is asked when the lease's record is
        missing or can't be read. Raises `LockHeld` when another one does after `timeout` seconds.
        """
        from swarmctl.state import holder, lease

        if self._lease is None:
            files.make(self.folder)
            # Known already when the record is there: whoever makes it begins from this floor.
            floor = max(self._floor(), 0 if lease.recorded(self.folder) else known())
            self._lease = lease.acquire(self.folder, holder.me(), timeout=timeout, on_wait=on_wait, floor=floor)
        self._entered += 1
        try:
            yield self._lease
        finally:
            self._entered -= 1
            if self._entered == 0:
                held, self._lease = self._lease, None
                held.release()

    def recover(self, lease: Lease) -> list[str]:
        """Make the state whole before a run: take the last good one for one that can't be read, take over the layout
        before, take into it what runs that were cut off have done. Returns what to tell the user.

        Raises `StateUnreadable` when there is no good one, `StateTooNew`, `LeaseLost`, `DiskFull`, `ReadOnly`.
        """
        from swarmctl.state import rotation

        with files.told(self.folder):
            notes: list[str] = []
            forgotten.remove(self.folder)
            self._remove_torn()
            found = runs.found(self.runs_folder)
            mine = [run for run in found.runs if run.header.token < lease.token]
            for run in mine:
                runs.close(run)
            base = self._whole(lease, mine, notes)
            if migration.pending(self.folder):
                base = self._take_over(lease, base)
            rotation.settle(self)
            mended, told = recovery.replayed(base, mine, self.identity)
            if told and mended is not None:
                self._put(lease, mended)
                notes += told
            notes += unlocking.settle(self, lease)
            for path in (*(run.path for run in mine), *found.empty):
                lease.check()
                runs.remove(path)
            for path in found.broken:
                aside = runs.put_aside(path)
                notes.append(
                    f"what a run that was cut off did can't be read: it is kept in {aside}; `swarmctl doctor "
                    f"--stack` finds what it made"
                )
            return notes

    def begin(
        self,
        lease: Lease,
        *,
        operation: str,
        graph: str = "",
        plan: str = "",
        resources: Mapping[str, ResourceHeader] | None = None,
    ) -> RunFolder:
        """Make the folder of a run of this lease, with its header on the disk; see `RunHeader` for the words.

        Raises `LeaseLost`, `DiskFull`, `ReadOnly` before anything has begun; so do `load`'s errors.
        """
        with files.told(self.folder):
            self.require_room()
            base = self.load()
            header = RunHeader(
                stack=self.identity,
                token=lease.token,
                generation=base.generation if base else 0,
                operation=operation,
                owner=lease.holder.owner,
                graph=graph,
                plan=plan,
                resources=resources or {},
            )
            # Whoever takes the lease from now on finds the folder, or it is not made: see tests/model.
            with lease.guard():
                return runs.begin(self.runs_folder, header)

    def publish(
        self,
        lease: Lease,
        based_on: int,
        checkpoint: Mapping[str, Json],
        *,
        applied: Applied | None,
        plans: Sequence[PlanMark] = (),
    ) -> Published:
        """Make `checkpoint` the state that everyone sees, if the lease is still ours and the state still that of
        generation `based_on`, 0 for none. The one before is kept as a backup.

        Raises `LeaseLost` (nothing is written then), `DiskFull`, `ReadOnly`.
        """
        made = Published(self.identity, based_on + 1, lease.token, __version__, dict(checkpoint), applied, tuple(plans))
        with files.told(self.folder):
            return self._put(lease, made)

    def do_without_secrets(self, lease: Lease) -> bool:
        """See `unlocking.give_up`."""
        with files.told(self.folder):
            return unlocking.give_up(self, lease)

    def finish(self, run: RunFolder) -> None:
        """Remove the folder of a run whose result is published, or that changed nothing."""
        runs.finish(run)

    def forget(self, lease: Lease) -> None:
        """Remove everything of the stack that was destroyed, the lease with it. Raises `LeaseLost`."""
        try:
            # All at once: half of a store would be taken for one that has lost the rest.
            with lease.guard():
                os.rename(self.folder, self.folder.with_name(f"{self.folder.name}.{lease.token}{forgotten.SUFFIX}"))
                files.sync(self.folder.parent)
            forgotten.remove(self.folder)
        except OSError as error:
            raise SwarmError(
                f"everything is destroyed, and {error.filename} cannot be removed: {error.strerror}",
                "remove it by hand",
            ) from error

    # Keys.

    def hmac(self, value: bytes) -> str:
        """`hmac-sha256:` and the digest of a secret under the stack's own key, which is made when it is missing."""
        with files.told(self.folder):
            return self.keys.hmac(value)

    def passphrase_file(self) -> Path:
        """The file with the passphrase that the published state's secrets are encrypted with; made when missing."""
        found = self.load()
        with files.told(self.folder):
            return self.keys.make_passphrase(salt(found.checkpoint if found else None))

    def signing_key(self) -> Path:
        """Where the key that plans are signed with is kept; may be missing."""
        return self.keys.signing

    def require_room(self, spare: int = files.SPARE) -> None:
        """Raise `DiskFull` when a run that changes things could not save them, with `spare` bytes left over, and
        `ReadOnly` when nothing can be written at all."""
        size = max(self.file.stat().st_size if self.file.exists() else 0, _LEAST)
        files.require_room(self.folder, _TIMES * size + spare)

    # Inside.

    def replace(self, lease: Lease, copy: Published, *, kept: bool = False) -> Published:
        """Make a copy of the state the state again, as a new generation; what is there is kept, also if it can't be
        read, unless it is `kept` already. Raises `LeaseLost`, `DiskFull`, `ReadOnly`, `StateTooNew`."""
        try:
            before, damaged = self.load(), False
        except StateUnreadable:
            before, damaged = None, True
            if not kept:
                damage.keep_aside(self.file)
        # Plans that were carried out stay so: of a damaged state those are known that its last good one has.
        good = None if before else backups.newest(self.backups)
        done = before.plans if before else good[1].plans if good else ()
        plans = {plan.id: plan for plan in (*copy.plans, *done)}
        made = replace(
            copy,
            generation=before.generation + 1 if before else damage.following(copy, self.backups),
            token=lease.token,
            writer=__version__,
            # What was applied since was not undone in the world.
            applied=copy.applied and replace(copy.applied, complete=False),
            plans=tuple(plans.values()),
        )
        with files.told(self.folder):
            return self._put(lease, made, over_damage=damaged)

    def _whole(self, lease: Lease, mine: Sequence[RunFolder], notes: list[str]) -> Published | None:
        try:
            return self.load()
        except StateUnreadable as error:
            good = backups.newest(self.backups)
            if good is None:
                raise
            backup, found = good
            aside = damage.keep_aside(self.file)
            # At once with what was done since: by its new generation it would look as if that was in it.
            mended, told = recovery.replayed(found, mine, self.identity)
            made = self.replace(lease, mended or found, kept=True)
            kept = f" and kept in {aside}" if aside else ""
            notes.append(f"{error.message}{kept}; generation {backup.generation}, the last good one, is used instead")
            notes += told
            return made

    def _remove_torn(self) -> None:
        """Remove files that were being written by who was killed."""
        files.sweep(self.folder, f"{published.FILE}*")
        files.sweep(self.backups, "*")
        files.sweep(self.keys.folder, "*")
        # The lease's record is written by those who wait for it, too.
        files.sweep(self.folder, "*", _ABANDONED)

    def _take_over(self, lease: Lease, base: Published | None) -> Published | None:
        with migration.alone(self.folder):
            migration.take_keys(self.folder, self.keys)
            if base is not None and base.generation == 0:
                base = replace(base, generation=1, token=lease.token, writer=__version__)
                self._put(lease, base)
            migration.clear(self.folder)
        return base

    def _put(self, lease: Lease, made: Published, *, over_damage: bool = False) -> Published:
        content = published.encode(made)
        with lease.guard():
            if not over_damage:
                try:
                    generation = published.generation(self.file.read_bytes())
                except FileNotFoundError:
                    base = self.load()
                    generation = base.generation if base else 0
                if generation != made.generation - 1:
                    raise LeaseLost(
                        f"the state is generation {generation} by now, and this run began from {made.generation - 1}",
                        "Nothing of this one was published.",
                    )
                if self.file.exists():
                    backups.keep(self.backups, self.file, generation)
            files.write(self.file, content)
        return made

    def _floor(self) -> int:
        """The greatest token that is known of from elsewhere than the lease, whose record may have been lost."""
        tokens = [int(path.stem) for path in self.runs_folder.glob("[0-9]*") if path.stem.isdecimal()]
        with contextlib.suppress(StateUnreadable, published.StateTooNew, moving.StateMoved):
            tokens.append(found.token if (found := self.load()) else 0)
        return max(tokens, default=0)

    def _unreadable(self, why: str) -> StateUnreadable:
        return damage.unreadable(why, self.file, self.backups)


def recorded(folder: Path, identity: str) -> bool:
    """Whether a folder holds a stack's state; one with nothing but a lease is left by an apply that was declined."""
    runs_ = folder / "runs"
    return (
        (folder / published.FILE).exists()
        or (runs_.is_dir() and any(runs_.iterdir()))
        or checkpoint_file(folder / "state", identity).exists()
    )


def _folder(url: str) -> Path:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not path.startswith("/"):
        raise SwarmError(f"{url} is no state store", "Write file:// and an absolute path, such as file:///srv/state.")
    return Path(path)
