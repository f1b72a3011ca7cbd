"""Take everything away: load · take the lease · list · confirm · destroy · sweep · forget.

What lies on machines that can't be asked stays, in the state as well, and nothing is swept or forgotten before that is
gone, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from swarmctl import backends
from swarmctl.backends.base import HostUnreachable
from swarmctl.errors import Declined, PlanRefused, SwarmError, WorldUnreadable, together
from swarmctl.kinds import resource_type
from swarmctl.operations import silent, snapshots, strays
from swarmctl.operations import stack as stacks
from swarmctl.operations.facts_cache import Cache
from swarmctl.operations.running import Run, Stopper
from swarmctl.operations.stack import Emit, Options
from swarmctl.plans.events import Note, PhaseEnded, PhaseStarted
from swarmctl.plans.model import Action, Change, HostEffect, Plan
from swarmctl.state import destroyed

if TYPE_CHECKING:
    from swarmctl.backends.base import Fence
    from swarmctl.engine.changes import Place
    from swarmctl.engine.outcome import Failure, Outcome
    from swarmctl.engine.session import Session
    from swarmctl.operations.load import LoadedStack
    from swarmctl.state.checkpoint import StateUnreadable
    from swarmctl.state.lease import Lease
    from swarmctl.state.store import Recorded, Snapshot, Store

ConfirmByName = Callable[[Plan, str], bool]


def destroy(
    folder: Path, *, confirm: ConfirmByName, emit: Emit, stopper: Stopper, options: Options = stacks.DEFAULT
) -> Run:
    """Destroy the stack in `folder`: what the state knows, then whatever else carries its mark, then the state itself.

    Works again after a crash anywhere, when the machines are gone already, and when nobody can read the state any more.
    `confirm` gets the plan and the stack's name, and is not called when there is nothing. After failures and
    interruption, and where machines are silent, which is in the returned run, the state is kept. Raises
    InvalidDeclaration, NoDocuments, EngineMissing, LockHeld, LeaseLost, Protected, StateTooNew, DiskFull, ReadOnly,
    Declined.
    """
    loaded, store = stacks.load(folder, emit)
    require_unprotected(loaded)
    with stacks.lease_of(store, options.lock_timeout, emit) as lease:
        snapshot, damage = _recorded(store, lease, emit)
        if snapshot:
            snapshots.record_ways(loaded.identity, snapshot)
        unknown = strays.found(loaded.identity, snapshots.nodes_in(snapshot) if snapshot else set())
        if damage:
            if not unknown:
                # Nothing carries a mark here; what the state knew may be elsewhere, and would be forgotten.
                raise damage
            emit(Note(f"{damage.message}; what carries the stack's mark is removed without it", warning=True))
        known = deletions(snapshot) if snapshot else []
        plan = Plan(loaded.identity, (*known, *(strays.change(*stray) for stray in unknown)), 0)
        if not (plan.empty and snapshot) and not confirm(plan, loaded.name):
            raise Declined("nothing was destroyed")
        lease.check()
        started = time.monotonic()
        done: Run | None = None
        if snapshot and store.exists():
            if store.do_without_secrets(lease):
                note = "the passphrase of the state is gone: what is recorded is removed without the secrets in it"
                emit(Note(note, warning=True))
            session = stacks.open_session(store, stacks.obtain_engine(emit), emit)
            with stopper.watching(session):
                outcome, kept, left = _remove(session, loaded.identity, snapshot, lease, emit)
            Cache(loaded.identity).forget()
            done = Run.of(plan, outcome, (), time.monotonic() - started)
            if outcome.failures or outcome.interrupted:
                return replace(done, silent=left, kept=kept)
            if left:
                removed, more, failed = _unknown(loaded.identity, unknown, lease)
                seconds = time.monotonic() - started
                run = replace(done, failures=failed, removed=tuple(removed), seconds=seconds)
                return replace(run, silent={**left, **more}, kept=kept)
        try:
            removed = sweep(loaded.identity, stacks.fence_of(loaded.identity, lease), emit)
        except SwarmError as error:
            if not (done and done.changes):
                raise
            return replace(done, unswept=error, seconds=time.monotonic() - started)
        Cache(loaded.identity).forget()
        destroyed.note(store.folder)
        store.forget(lease)
        return Run(plan, plan.changes, removed=tuple(removed), seconds=time.monotonic() - started)


def _remove(
    session: Session, identity: str, snapshot: Snapshot, lease: Lease, emit: Emit
) -> tuple[Outcome, tuple[str, ...], silent.Silent]:
    """Everything that is recorded but what lies on silent machines: with what came of it, the addresses of that, and
    why."""
    kept: tuple[str, ...] = ()

    def work(left: silent.Silent) -> Outcome:
        nonlocal kept
        kept = tuple(sorted(silent.recorded_on(snapshot, left)))
        try:
            return session.destroy(lease, kept)
        except WorldUnreadable as error:
            try:
                silent.judge(left, kept=kept)
            except WorldUnreadable as others:
                # One more has fallen silent meanwhile: those that were left out before are told with it.
                raise together(error, others) from None
            raise

    outcome, left = silent.without(identity, snapshot, work, emit)
    return outcome, kept, left


def _unknown(
    identity: str, unknown: Iterable[tuple[str, str]], lease: Lease
) -> tuple[list[str], dict[str, SwarmError], tuple[Failure, ...]]:
    """Remove machines that nothing but their mark tells of; returns which, why others can't be asked, and what could
    not be taken away on others again: none of them keeps the next one, or what was done before, from being told."""
    from swarmctl.engine.outcome import Failure
    from swarmctl.provider.errors import describe

    removed, left, failed = list[str](), dict[str, SwarmError](), list[Failure]()
    for backend, node in unknown:
        try:
            strays.remove(identity, backend, node, stacks.fence_of(identity, lease))
            removed.append(node)
        except HostUnreachable as error:
            left[node] = error
        except SwarmError as error:
            failed.append(Failure(strays.change(backend, node).address, node, describe(error)))
    return removed, left, tuple(failed)


def require_unprotected(loaded: LoadedStack) -> None:
    """Raises PlanRefused when a declaration is protected: its things are to stay, whatever the state knows of them."""
    protected = [f"{it.kind} {it.name}: metadata.protect is true" for it in loaded.inventory if it.metadata.protect]
    if protected:
        raise PlanRefused(
            "protected declarations can't be destroyed; nothing was touched",
            "take `protect: true` away, run `swarmctl apply`, then destroy",
            details=protected,
        )


def _recorded(store: Store, lease: Lease, emit: Emit) -> tuple[Snapshot | None, StateUnreadable | None]:
    """What the state knows, with what a run that was cut off did; or why no state is readable any more: the marks
    that everything carries then have to do."""
    from swarmctl.state.checkpoint import StateUnreadable

    try:
        stacks.recover(store, lease, emit)
        return store.snapshot(), None
    except StateUnreadable as error:
        return None, error


def deletions(snapshot: Snapshot) -> list[Change]:
    """The deletion of everything in the state, by address."""
    from swarmctl.engine.changes import places

    found = places(None, {address: recorded.inputs for address, recorded in snapshot.resources.items()})
    return [_deletion(address, recorded, found) for address, recorded in sorted(snapshot.resources.items())]


def _deletion(address: str, recorded: Recorded, places: Mapping[str, Place]) -> Change:
    kind = resource_type(recorded.type)
    node = str(recorded.inputs.get("node") or "")
    place = places.get(node)
    return Change(
        address,
        recorded.type,
        Action.DELETE,
        node,
        place.cluster if place else "",
        place.pool if place else "",
        effects=tuple(HostEffect(effect.action.value, effect.text) for effect in kind.effects(recorded.inputs, None)),
        impact=kind.impact(recorded.inputs, None).text,
    )


def sweep(identity: str, fence: Fence, emit: Emit) -> list[str]:
    """Let every backend remove what still carries the stack's mark; returns what was found.

    Raises Fenced, ForeignStack.
    """
    title = "looking for remains"
    started = time.monotonic()
    emit(PhaseStarted(title))
    removed = [thing for name in backends.names() for thing in backends.load(name).sweep(identity, fence)]
    emit(PhaseEnded(title, time.monotonic() - started))
    return removed
