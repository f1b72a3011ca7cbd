"""What an apply would do: load · compile · preview · look for machines that nobody knows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from swarmctl.operations import stack as stacks
from swarmctl.operations.running import Stopper
from swarmctl.operations.stack import Emit, Stack
from swarmctl.plans.model import Plan, Preconditions
from swarmctl.plans.signing import Signer

if TYPE_CHECKING:
    from swarmctl.engine.session import Session
    from swarmctl.operations.load import LoadedStack


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and what it was made from."""

    plan: Plan
    preconditions: Preconditions
    signers: tuple[Signer, ...] = ()
    """Whose saved plans the stack accepts; empty when it declares none."""
    signing_key: Path = Path()
    """The key kept with the state; may be missing."""


def signers(loaded: LoadedStack) -> tuple[Signer, ...]:
    """Those whose saved plans the stack accepts."""
    return tuple(Signer(one.name, one.key) for one in loaded.inventory.of("Stack")[0].spec.signers)


def plan(folder: Path, *, emit: Emit, stopper: Stopper) -> Planned:
    """Preview the stack in `folder`. Takes no lock and changes nothing.

    Raises InvalidDeclaration, NoDocuments, EngineMissing, StateUnreadable, WorldUnreadable, Interrupted.
    """
    loaded, store = stacks.load(folder, emit)
    stacks.warn_of_damage(store, emit)
    engine = stacks.obtain_engine(emit)
    stack = stacks.compile_stack(loaded, store)
    session = stacks.open_session(store, engine, stacks.only_looking(emit), stack.secrets)
    made = preview(stack, session, stopper)
    return Planned(made, stacks.preconditions(stack, engine), signers(loaded), store.signing_key())


def preview(stack: Stack, session: Session, stopper: Stopper) -> Plan:
    """The engine's preview, and the removal of machines that no declaration and no state knows."""
    with stopper.looking(session, "planning"):
        found = session.preview(stack.graph)
    # Not those that the state knows: after a crash it also names machines of which the engine had only begun.
    known = stack.nodes | {change.node for change in found.changes if change.type == stacks.MACHINE}
    unknown = tuple(stacks.stray_change(*stray) for stray in stacks.strays(stack.identity, known))
    return replace(found, changes=(*found.changes, *unknown))
