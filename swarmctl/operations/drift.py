"""Where the world has moved away from what was applied: load · read back · compare."""

from __future__ import annotations

from pathlib import Path

from swarmctl.operations import stack as stacks
from swarmctl.operations.running import Stopper
from swarmctl.operations.stack import Emit
from swarmctl.plans.model import Plan

NEVER_APPLIED = "nothing of this stack has been applied yet"


def drift(folder: Path, *, emit: Emit, stopper: Stopper) -> Plan:
    """Read back everything in the state of the stack in `folder`; the differences are `Plan.drift`.

    Takes no lock and changes nothing. Raises InvalidDeclaration, NoDocuments, EngineMissing, StateUnreadable,
    WorldUnreadable, Interrupted.
    """
    loaded, store = stacks.load(folder, emit)
    stacks.look_around(store, emit)
    if not store.exists() or not store.snapshot().resources:
        return Plan(loaded.identity, (), 0, notes=(NEVER_APPLIED,))
    session = stacks.open_session(store, stacks.obtain_engine(emit), stacks.only_looking(emit))
    with stopper.looking(session, "reading the world"):
        return session.drift()
