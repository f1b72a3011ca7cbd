"""Take everything away: load · take the lease · list · confirm · destroy · sweep · forget."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from swarmctl import backends
from swarmctl.errors import Declined, PlanRefused, WorldUnreadable
from swarmctl.kinds import resource_type
from swarmctl.operations import stack as stacks
from swarmctl.operations import strays
from swarmctl.operations.facts_cache import Cache
from swarmctl.operations.running import Run, Stopper
from swarmctl.operations.stack import Emit, Options
from swarmctl.plans.events import Note, PhaseEnded, PhaseStarted
from swarmctl.plans.model import Action, Change, HostEffect, Plan
from swarmctl.state import destroyed

if TYPE_CHECKING:
    from swarmctl.backends.base import Fence
    from swarmctl.engine.changes import Place
    from swarmctl.engine.outcome import Outcome
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
    interruption, which are in the returned run, the state is kept. Raises InvalidDeclaration, NoDocuments,
    EngineMissing, LockHeld, LeaseLost, Protected, StateTooNew, DiskFull, ReadOnly, Declined.
    """
    loaded, store = stacks.load(folder, emit)
    require_unprotected(loaded)
    with stacks.lease_of(store, options.lock_timeout, emit) as lease:
        snapshot, damage = _recorded(store, lease, emit)
        if snapshot:
            stacks.record_ways(loaded.identity, snapshot)
        unknown = strays.found(loaded.identity, stacks.nodes_in(snapshot) if snapshot else set())
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
        if snapshot and store.exists():
            if store.do_without_secrets(lease):
                note = "the passphrase of the state is gone: what is recorded is removed without the secrets in it"
                emit(Note(note, warning=True))
            session = stacks.open_session(store, stacks.obtain_engine(emit), emit)
            with stopper.watching(session):
                outcome = _remove(session, lease)
            if outcome.failures or outcome.interrupted:
                return Run.of(plan, outcome, (), time.monotonic() - started)
        removed = sweep(loaded.identity, stacks.fence_of(loaded.identity, lease), emit)
        Cache(loaded.identity).forget()
        destroyed.note(store.folder)
        store.forget(lease)
        return Run(plan, plan.changes, removed=tuple(removed), seconds=time.monotonic() - started)


def _remove(session: Session, lease: Lease) -> Outcome:
    """Everything that is recorded. Raises `WorldUnreadable` with what to do about machines that are gone for good."""
    try:
        return session.destroy(lease)
    except WorldUnreadable as error:
        if error.nodes:
            nodes = ", ".join(sorted(error.nodes))
            gone = f"where it is gone for good, declare `state: lost` in its entry of `hosts` ({nodes})"
            error.hint = f"mend the cause, and run the same command again; {gone}"
        raise


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
