"""Take everything away: load · lock · list · confirm · destroy · sweep · forget."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from swarmctl import backends
from swarmctl.errors import Declined, SwarmError
from swarmctl.kinds import resource_type
from swarmctl.operations import stack as stacks
from swarmctl.operations.running import Run, Stopper
from swarmctl.operations.stack import Emit
from swarmctl.plans.events import Note, PhaseEnded, PhaseStarted
from swarmctl.plans.model import Action, Change, HostEffect, Plan

if TYPE_CHECKING:
    from swarmctl.engine.changes import Place
    from swarmctl.state.store import Recorded, Snapshot, Store

ConfirmByName = Callable[[Plan, str], bool]


def destroy(folder: Path, *, confirm: ConfirmByName, emit: Emit, stopper: Stopper) -> Run:
    """Destroy the stack in `folder`: what the state knows, then whatever else carries its mark, then the state itself.

    Works again after a crash anywhere, when the machines are gone already, and when nobody can read the state any more.
    `confirm` gets the plan and the stack's name, and is not called when there is nothing. After failures and
    interruption, which are in the returned run, the state is kept. Raises InvalidDeclaration, NoDocuments,
    EngineMissing, LockHeld, Declined.
    """
    loaded, store = stacks.load(folder, emit)
    with store.lock():
        snapshot = _recorded(store, emit)
        unknown = stacks.strays(loaded.identity, stacks.nodes_in(snapshot) if snapshot else set())
        known = deletions(snapshot) if snapshot else []
        plan = Plan(loaded.identity, (*known, *(stacks.stray_change(*stray) for stray in unknown)), 0)
        if not (plan.empty and snapshot) and not confirm(plan, loaded.name):
            raise Declined("nothing was destroyed")
        started = time.monotonic()
        if snapshot and store.exists():
            session = stacks.open_session(store, stacks.obtain_engine(emit), emit)
            with stopper.watching(session):
                outcome = session.destroy()
            if outcome.failures or outcome.interrupted:
                return Run.of(plan, outcome, (), time.monotonic() - started)
        removed = sweep(loaded.identity, emit)
        forget(store)
        return Run(plan, plan.changes, removed=tuple(removed), seconds=time.monotonic() - started)


def _recorded(store: Store, emit: Emit) -> Snapshot | None:
    """What the state knows, mended where a run was cut off; None when no state is readable any more: the marks that
    everything carries then have to do."""
    from swarmctl.state.checkpoint import StateUnreadable

    try:
        stacks.repair(store, emit)
        return store.snapshot()
    except StateUnreadable as error:
        emit(Note(f"{error.message}; what carries the stack's mark is removed without it", warning=True))
        return None


def forget(store: Store) -> None:
    """Remove the state, the passphrase and the lock: nothing of the stack is left that they could be needed for."""
    try:
        shutil.rmtree(store.folder)
    except OSError as error:
        raise SwarmError(
            f"everything is destroyed, and {error.filename} cannot be removed: {error.strerror}", "remove it by hand"
        ) from error


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


def sweep(identity: str, emit: Emit) -> list[str]:
    """Let every backend remove what still carries the stack's mark; returns what was found."""
    title = "looking for remains"
    started = time.monotonic()
    emit(PhaseStarted(title))
    removed = [thing for name in backends.names() for thing in backends.load(name).sweep(identity)]
    emit(PhaseEnded(title, time.monotonic() - started))
    return removed
