"""Make it so: load · take the lease · compile · preview · judge · confirm · update · clean up."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from swarmctl import backends
from swarmctl.errors import Declined
from swarmctl.operations import overdue, saved_plans, silent, strays, targets, unchanged, unfit
from swarmctl.operations import stack as stacks
from swarmctl.operations.confirm import Judge
from swarmctl.operations.facts_cache import Cache
from swarmctl.operations.plan import preview
from swarmctl.operations.running import Run, Stopper
from swarmctl.operations.stack import Confirm, Emit, Options, Stack
from swarmctl.plans import file as plan_file
from swarmctl.plans.events import Event, Note, PhaseStarted, StepEnded, StepStarted
from swarmctl.plans.model import Action, Change, Plan

if TYPE_CHECKING:
    from swarmctl.operations.load import LoadedStack
    from swarmctl.plans.saved import SavedPlan
    from swarmctl.state.lease import Lease
    from swarmctl.state.store import Store

INTERFACE = "swarm:mesh:Interface"
"""Type of the resources that are a machine's end of a mesh."""


def apply(
    folder: Path,
    *,
    confirm: Confirm,
    emit: Emit,
    stopper: Stopper,
    saved: Path | None = None,
    options: Options = stacks.DEFAULT,
) -> Run:
    """Apply the stack in `folder`; with `saved` exactly that plan, or what is left of it, or nothing.

    `confirm` is called once with the plan, and not at all when there is nothing to change. Failures and interruption
    are in the returned run, see `Run.judge`. Raises InvalidDeclaration, NoDocuments, EngineMissing, LockHeld,
    LeaseLost, PlanRefused, Protected, StateUnreadable, WorldUnreadable, Declined, and Interrupted while nothing is
    changed yet.
    """
    reviewed = plan_file.load(saved) if saved else None
    loaded, store = stacks.load(folder, emit)
    if reviewed:
        saved_plans.trust(reviewed, loaded.signers, store.signing_key())
        options = replace(options, targets=reviewed.partial, refresh=True)
        if store.damage():
            # The state is mended, and published, before a run: not for a plan that will be refused.
            _require_fit(reviewed, loaded, store, emit, stopper, options)
    with stacks.leased(store, options, emit) as lease:
        stack = stacks.compile_stack(loaded, store, rotate=options.rotate, emit=emit)
        stacks.warn(stack, emit)
        overdue.tell(stack.snapshot, options, emit)
        held = targets.held(stack, options.targets)
        amiss = unfit.of(stack.graph, options.targets, held)
        if not reviewed and (nothing := unchanged.proved(stack, emit, options, held)):
            return Run(nothing, unfit=amiss)
        engine = stacks.obtain_engine(emit)
        resumed = reviewed is not None and saved_plans.require(reviewed, stack, engine)
        session = stacks.open_session(store, engine, stacks.only_looking(emit), stack.secrets)
        look = partial(preview, session=session, stopper=stopper, options=options)
        left: silent.Silent = {}
        if reviewed:
            silent.require_fit(stack, held)
            plan = look(stack, held)
            saved_plans.compare(reviewed, plan, stack, resumed=resumed)
        else:
            plan, stack, held, left = silent.leaving_out(stack, held, look, emit, partial=options.partial)
            amiss = tuple(one for one in amiss if one.node not in left)
        plan_id = reviewed.id if reviewed else ""
        if plan.empty:
            if _unrecorded(stack, held, plan_id):
                session.update(stack.graph, lease, held=held, plan_id=plan_id)
            return Run(plan, silent=left, unfit=amiss)
        _require_meshes(stack, plan)
        if not confirm(plan):
            raise Declined("nothing was changed")
        lease.check()
        started = time.monotonic()
        judge = Judge(stack.graph, stack.snapshot, plan, lambda: stacks.fence_of(stack.identity, lease), emit)
        judge.look()
        session = stacks.open_session(store, engine, _counting(plan, emit), stack.secrets, judge.settle)
        with stopper.watching(session), Cache(stack.identity).changing(change.node for change in plan.changes):
            changing = {change.address for change in plan.changes}
            outcome = session.update(
                stack.graph, lease, held=held, plan_id=plan_id, changing=changing, refresh=options.refresh
            )
        went_well = not (outcome.failures or outcome.interrupted or outcome.skipped or judge.undone or left)
        removed = _clean_up(stack, plan.changes, lease, emit) if went_well and not options.targets else []
        run = Run.of(plan, outcome, removed, time.monotonic() - started, judge.undone)
        return replace(run, silent=left, unfit=amiss)


def _require_fit(
    reviewed: SavedPlan, loaded: LoadedStack, store: Store, emit: Emit, stopper: Stopper, options: Options
) -> None:
    """Raises PlanRefused unless the plan fits what is there now, as it will be when the state is mended. Only looks."""
    stack = stacks.compile_stack(loaded, store, rotate=options.rotate)
    engine = stacks.obtain_engine(emit)
    resumed = saved_plans.require(reviewed, stack, engine)
    session = stacks.open_session(store, engine, stacks.only_looking(emit), stack.secrets)
    plan = preview(stack, targets.held(stack, options.targets), session, stopper, options)
    saved_plans.compare(reviewed, plan, stack, resumed=resumed)


def _unrecorded(stack: Stack, held: frozenset[str], plan_id: str) -> bool:
    """Whether the engine has to write something down although nothing changes: that this graph, which says the same in
    other words, is what is applied, or that a saved plan is done with. From then on digests alone tell so."""
    if plan_id or held or not stack.snapshot.resources:
        return bool(plan_id)
    applied = stack.published.applied if stack.published else None
    return applied is None or not applied.complete or applied.graph != stack.digest


def _require_meshes(stack: Stack, plan: Plan) -> None:
    """Raise what keeps machines from having the mesh interfaces that the plan makes on them: said once and before
    anything is made, not once per node afterwards."""
    from swarmctl.graph.model import Machine

    making = (Action.CREATE, Action.REPLACE)
    nodes = {change.node for change in plan.changes if change.type == INTERFACE and change.action in making}
    for name in sorted({it.host["backend"] for it in stack.graph.exported(Machine) if it.name in nodes}):
        backends.load(name).require_mesh()


def _counting(plan: Plan, emit: Emit) -> Emit:
    """`emit`, with phases counted in changes of the plan, and adoptions called so: the engine counts resources, and to
    it an adoption is a creation."""
    total = sum(1 for change in plan.changes if change.type != strays.NO_TYPE)
    adopted = {change.address for change in plan.changes if change.action is Action.ADOPT}

    def counted(event: Event) -> None:
        if isinstance(event, PhaseStarted):
            event = replace(event, total=total)
        elif isinstance(event, StepStarted | StepEnded) and event.address in adopted:
            event = replace(event, action=Action.ADOPT)
        emit(event)

    return counted


def _clean_up(stack: Stack, planned: Iterable[Change], lease: Lease, emit: Emit) -> list[str]:
    """Remove the undeclared machines that the plan named; tell of any other, which nobody has confirmed."""
    confirmed = {change.address for change in planned}
    removed = []
    for backend, node in strays.found(stack.identity, stack.nodes):
        if strays.change(backend, node).address in confirmed:
            strays.remove(stack.identity, backend, node, stacks.fence_of(stack.identity, lease))
            removed.append(node)
        else:
            emit(Note(f"the machine {node} is there and nothing declares it; apply again to remove it", warning=True))
    return removed
