"""Where the world has moved away from what was applied: load · read back · compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from swarmctl.backends import ways
from swarmctl.errors import SwarmError
from swarmctl.operations import silent, snapshots
from swarmctl.operations import stack as stacks
from swarmctl.operations.nodes import OF_TUNNELS
from swarmctl.operations.running import Stopper
from swarmctl.operations.stack import Emit
from swarmctl.plans.model import Plan

NEVER_APPLIED = "nothing of this stack has been applied yet"


@dataclass(frozen=True, slots=True)
class Drifted:
    """What has moved away, as far as it could be read."""

    plan: Plan
    """The differences are its `drift`; it counts nothing of machines that could not be read."""
    silent: Mapping[str, SwarmError] = field(default_factory=dict)
    """Why, by node, of the machines that could not be read."""

    def judge(self) -> None:
        """Raises WorldUnreadable when there are such."""
        silent.judge(self.silent, "and what is on it is not known", "and what is on them is not known")


def drift(folder: Path, *, emit: Emit, stopper: Stopper) -> Drifted:
    """Read back everything in the state of the stack in `folder`, but what lies on machines that can't be read.

    Takes no lock and changes nothing. Raises InvalidDeclaration, NoDocuments, EngineMissing, StateUnreadable,
    WorldUnreadable, Interrupted.
    """
    loaded, store = stacks.load(folder, emit, OF_TUNNELS)
    stacks.look_around(store, emit)
    if not store.exists() or not (snapshot := store.snapshot()).resources:
        return Drifted(Plan(loaded.identity, (), 0, notes=(NEVER_APPLIED,)))
    snapshots.record_ways(loaded.identity, snapshot)
    session = stacks.open_session(store, stacks.obtain_engine(emit), stacks.only_looking(emit))

    def look(unread: silent.Silent) -> Plan:
        with stopper.looking(session, "reading the world"):
            found = session.drift()
        unasked = sum(ways.on_silent(it.inputs) for it in snapshot.resources.values()) if unread else 0
        return replace(found, same=found.same - unasked)

    return Drifted(*silent.without(loaded.identity, snapshot, look, emit))
