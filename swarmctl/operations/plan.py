"""What an apply would do: load · compile · prove that nothing has to change, or preview · look for unknown machines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from swarmctl.backends import ways
from swarmctl.errors import SwarmError
from swarmctl.graph.rollout import in_turn, in_words
from swarmctl.kinds.base import MACHINE
from swarmctl.operations import overdue, silent, strays, targets, unchanged, unfit
from swarmctl.operations import stack as stacks
from swarmctl.operations.facts_cache import Cache
from swarmctl.operations.running import Stopper
from swarmctl.operations.stack import Emit, Options, Stack
from swarmctl.plans.model import Action, Plan, Preconditions
from swarmctl.plans.signing import Signer

if TYPE_CHECKING:
    from swarmctl.engine.session import Session
    from swarmctl.graph.model import Machine, Unfit
    from swarmctl.hosts.first_look import Seen


JUST_NOW = 300.0
"""Seconds since a machine's facts were read for which it is taken to be as they say."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and what it was made from."""

    plan: Plan
    preconditions: Preconditions
    signers: tuple[Signer, ...] = ()
    """Whose saved plans the stack accepts; empty when it declares none."""
    signing_key: Path = Path()
    """The key kept with the state; may be missing."""
    silent: Mapping[str, SwarmError] = field(default_factory=dict)
    """Why, by node, of the machines that are left out of it, because they can't be asked."""

    unfit: tuple[Unfit, ...] = ()
    """What is left alone on machines whose facts contradict it."""

    def require_whole(self) -> None:
        """Raises WorldUnreadable when machines are left out."""
        silent.judge(self.silent)

    def judge(self) -> None:
        """Raises WorldUnreadable when machines are left out, NothingDone when something on them is left alone."""
        unfit.judge(self.unfit, self.require_whole)


def plan(folder: Path, *, emit: Emit, stopper: Stopper, options: Options = stacks.DEFAULT) -> Planned:
    """Preview the stack in `folder`. Takes no lease and changes nothing.

    Raises InvalidDeclaration, NoDocuments, EngineMissing, Protected, StateUnreadable, WorldUnreadable, Interrupted.
    """
    loaded, store = stacks.load(folder, emit)
    stacks.look_around(store, emit)
    stack = stacks.compile_stack(loaded, store, emit=emit)
    stacks.warn(stack, emit)
    overdue.tell(stack.snapshot, options, emit)
    held = targets.held(stack, options.targets)
    amiss = unfit.of(stack.graph, options.targets, held)
    engine = stacks.obtain_engine(emit)
    found = unchanged.proved(stack, emit, options, held)
    left: silent.Silent = {}
    if found is None:
        session = stacks.open_session(store, engine, stacks.only_looking(emit), stack.secrets)
        look = partial(preview, session=session, stopper=stopper, options=options)
        told = partial(_told, Cache(stack.identity))
        found, _, _, left = silent.leaving_out(
            stack, held, look, emit, told, ask=options.refresh, partial=options.partial
        )
    amiss = tuple(one for one in amiss if one.node not in left)
    return Planned(found, stacks.preconditions(stack, engine), loaded.signers, store.signing_key(), left, amiss)


def _told(cache: Cache, machine: Machine) -> Seen | None:
    """What it has told of itself along with its facts, if that was a moment ago: of a thousand new machines none is
    asked twice for one plan. An apply asks them all."""
    kept = cache.get(machine.name, machine.host, JUST_NOW)
    seen = kept.facts.seen if kept else None
    if kept is None or seen is None or seen.clock is None:
        return None
    return replace(seen, clock=seen.clock + round(time.time() - kept.read))


def preview(stack: Stack, held: frozenset[str], session: Session, stopper: Stopper, options: Options) -> Plan:
    """The engine's preview, and the removal of machines that no declaration and no state knows."""
    _require_access(stack)
    with stopper.looking(session, "planning"):
        found = session.preview(stack.graph, refresh=options.refresh, held=held)
    found = replace(
        found,
        partial=options.partial,
        world_read=options.refresh,
        unfenced=_unfenced(stack, found),
        notes=(*found.notes, *unfit.notes(unfit.of(stack.graph, options.targets, held)), *_rollouts(stack, found)),
    )
    if options.targets:
        return found
    # Not those that the state knows: after a crash it also names machines of which the engine had only begun.
    known = stack.nodes | {change.node for change in found.changes if change.type == MACHINE}
    found_there = strays.found(stack.identity, known)
    # Nor those that are left alone, and can't say whose they are.
    unknown = tuple(
        strays.change(backend, node)
        for backend, node in found_there
        if not ways.is_silent({"backend": backend, "stack": stack.identity, "node": node})
    )
    return replace(found, changes=(*found.changes, *unknown))


def _require_access(stack: Stack) -> None:
    """Raises what keeps this computer from reaching declared machines at all, before any of them is asked."""
    from swarmctl import backends
    from swarmctl.graph.model import Machine

    for name in sorted({machine.host["backend"] for machine in stack.graph.exported(Machine)}):
        backends.load(name).require_access(stack.identity)


def _unfenced(stack: Stack, plan: Plan) -> tuple[str, ...]:
    """Backends of the nodes it touches that can't compare the token of a run where the change happens."""
    from swarmctl import backends
    from swarmctl.graph.model import Machine

    nodes = set(plan.nodes)
    touched = {machine.host["backend"] for machine in stack.graph.exported(Machine) if machine.name in nodes}
    return tuple(sorted(name for name in touched if not backends.load(name).fences))


def _rollouts(stack: Stack, plan: Plan) -> Iterator[str]:
    """How the pools that it changes are gone through, where they declare it."""
    made = {change.address for change in plan.changes if change.action not in (Action.DELETE, Action.SAME)}
    touched = {change.pool: set[str]() for change in plan.changes if change.pool in stack.graph.rollouts}
    for change in plan.changes:
        if change.pool in touched:
            touched[change.pool].add(change.node)
    for pool, nodes in sorted(touched.items()):
        yield f"rollout of {pool}: {in_words(stack.graph.rollouts[pool], len(nodes))}"
    order = in_turn(stack.graph, [address for address in stack.graph.resources if str(address) in made])
    if order:
        yield (
            f"drivers change one pool at a time: {', then '.join(order)}; where too many nodes fail, "
            "the pools after it are not begun"
        )
