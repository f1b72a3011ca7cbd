"""Machines that can't be read now: a run leaves them, and what needs them, as they are, and goes on with the others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from swarmctl import backends
from swarmctl.backends import ways
from swarmctl.backends.base import NewMachines
from swarmctl.errors import PlanRefused, SwarmError, WorldUnreadable
from swarmctl.kinds.base import MACHINE
from swarmctl.operations import snapshots
from swarmctl.plans.events import Note
from swarmctl.plans.model import Plan

if TYPE_CHECKING:
    from swarmctl.graph.model import Machine
    from swarmctl.hosts.first_look import Seen
    from swarmctl.operations.stack import Emit, Stack
    from swarmctl.state.store import Snapshot

_SHOWN = 20
"""Addresses told one by one."""
T = TypeVar("T")
Silent = Mapping[str, SwarmError]
"""Why, by node."""


def leaving_out(
    stack: Stack,
    held: frozenset[str],
    look: Callable[[Stack, frozenset[str]], Plan],
    emit: Emit,
    told: Callable[[Machine], Seen | None] = lambda machine: None,
    *,
    ask: bool = True,
    partial: tuple[str, ...] = (),
) -> tuple[Plan, Stack, frozenset[str], Silent]:
    """What `look` sees of a world in which it must not touch what is `held`; where machines are silent, without these:
    with the stack as it is then, what is to be held, and why. An empty plan where all there would be is machines that
    can't be taken over. Raises what `look` does.

    Others are not told a new address of a silent machine: nobody has reached it there. A new one that can't be taken
    over is not there yet, for the others either: their tunnels don't wait for it. Those that have `told` of themselves
    just now are not asked for that, and none is unless it is to `ask`; `partial` is what the plan is held to.
    """
    from swarmctl.graph.model import Machine

    now, more = stack, held
    recorded = snapshots.machines(stack.snapshot)
    looked = _look_at_new(stack, held, told) if ask else NewMachines()
    new = looked.unfit
    for node, why in sorted(new.items()):
        _tell(node, why, emit)
    if new and new.keys() == stack.nodes and not recorded:
        empty = Plan(stack.identity, (), 0, partial=partial, left_alone=tuple(sorted(new)))
        return empty, stack, held, new

    def see(silent: Silent) -> Plan:
        nonlocal now, more
        now = _without_absent(stack) if silent else stack
        more = held | lying_on(now, silent)
        return replace(look(now, more), left_alone=tuple(sorted(silent)))

    hosts = {machine.name: machine.host for machine in stack.graph.exported(Machine)}
    ways.absent(stack.identity, [hosts[node] for node in new if node not in looked.ours and node not in recorded])
    # Only while it is looked: afterwards they may be this stack's.
    ways.blank(stack.identity, [hosts[node] for node in looked.blank])
    try:
        plan, silent = without(stack.identity, stack.snapshot, see, emit, new, [hosts[node] for node in new])
    finally:
        ways.blank(stack.identity, ())
    return plan, now, more, silent


def require_fit(stack: Stack, held: frozenset[str]) -> None:
    """Raises PlanRefused where a machine can't be taken over now: a saved plan is carried out whole, and would empty
    the one that it is to stand in for."""
    unfit = _look_at_new(stack, held, lambda machine: None).unfit
    if unfit:
        many = f"{len(unfit)} machines" if len(unfit) > 1 else "a machine"
        raise PlanRefused(
            f"{many} of the plan can't be taken over now",
            "mend the cause and apply the plan again, or make a new one: that leaves them out",
            details=_told_of(unfit),
        )


def _without_absent(stack: Stack) -> Stack:
    """The stack with the graph that it has without new machines that can't be taken over. Where there is none, as for
    spokes without their hub, that with them: then what needs them waits, and all else goes on."""
    try:
        return stack.anew()
    except SwarmError:
        return stack


def _look_at_new(stack: Stack, held: frozenset[str], told: Callable[[Machine], Seen | None]) -> NewMachines:
    """What the declared machines are that nothing is recorded of, and those that stand in another's place."""
    from swarmctl.graph.model import Machine

    known = snapshots.machines(stack.snapshot)
    inputs: dict[str, list[Mapping[str, Any]]] = {}
    known_by_facts: dict[str, Seen] = {}
    for machine in stack.graph.exported(Machine):
        backend = machine.host["backend"]
        if str(machine.address) in held or not backends.by_declaration(backend):
            continue
        declared, before = stack.graph.resources[machine.address].inputs, known.get(machine.name)
        if before is None or any(declared.get(it) != before.get(it) for it in backends.load(backend).replaces()):
            inputs.setdefault(backend, []).append(declared)
            if seen := told(machine):
                known_by_facts[machine.name] = seen
    found = [backends.load(name).look_at_new(of, known_by_facts) for name, of in sorted(inputs.items())]
    return NewMachines(
        {node: why for it in found for node, why in it.unfit.items()},
        frozenset(node for it in found for node in it.blank),
        frozenset(node for it in found for node in it.ours),
    )


def without(
    identity: str,
    snapshot: Snapshot,
    look: Callable[[Silent], T],
    emit: Emit,
    new: Silent = MappingProxyType({}),
    hosts: Collection[Mapping[str, Any]] = (),
) -> tuple[T, Silent]:
    """What `look` finds, and which machines it was told to do without: at first the `new` ones, whose `hosts` these
    are. Raises what it does."""
    ways.silence(identity, hosts)
    try:
        return look(new), new
    except WorldUnreadable as error:
        if not (silent := find(identity, snapshot, error, emit, hosts)):
            raise
    return look({**new, **silent}), {**new, **silent}


def find(
    identity: str,
    snapshot: Snapshot,
    error: WorldUnreadable,
    emit: Emit,
    besides: Collection[Mapping[str, Any]] = (),
) -> Silent:
    """The recorded machines that could not be read; `emit` is told of each. Where the error names none, they are asked,
    many at a time. Those `besides` count as silent already.

    Only those whose way stands in the declarations count: those are elsewhere. From now on nobody asks them again.
    """
    recorded: dict[str, list[str]] = {}
    for it in snapshot.resources.values():
        if ways.is_lost(it.inputs.get("host", {})):
            continue  # nobody asks it, and nothing waits for it
        if it.type == MACHINE and backends.by_declaration(str(it.inputs.get("backend"))):
            recorded.setdefault(str(it.inputs["backend"]), []).append(str(it.inputs["node"]))
    found: dict[str, SwarmError] = {}
    hosts = [*besides]
    for backend, nodes in sorted(recorded.items()):
        silent: Silent = {node: error.nodes[node] for node in nodes if node in error.nodes}
        silent = silent or backends.load(backend).silent(identity, nodes)
        found |= silent
        hosts += [{"backend": backend, "stack": identity, "node": node} for node in silent]
    ways.silence(identity, hosts)
    for node, why in sorted(found.items()):
        _tell(node, why, emit)
    return found


def _tell(node: str, why: SwarmError, emit: Emit) -> None:
    emit(Note(f"{node} is left alone: {why.message.removeprefix(f'{node}: ')}", warning=True))


def lying_on(stack: Stack, silent: Silent) -> frozenset[str]:
    """The addresses, declared or recorded, that a run must not touch because of silent machines: what lies on them,
    and what needs something there that is not made yet."""
    if not silent:
        return frozenset()
    recorded = stack.snapshot.resources
    declared = {str(address): it for address, it in stack.graph.resources.items()}
    found = set(recorded_on(stack.snapshot, silent))
    found |= {name for name, it in declared.items() if ways.on_silent(it.inputs)}
    while more := {
        name
        for name, it in declared.items()
        if name not in found and any(str(need) in found and str(need) not in recorded for need in it.needs())
    }:
        found |= more
    return frozenset(found)


def recorded_on(snapshot: Snapshot, silent: Silent) -> frozenset[str]:
    """The recorded addresses of what lies on silent machines, or on several of which one is silent."""
    return frozenset(name for name, it in snapshot.resources.items() if silent and ways.on_silent(it.inputs))


def judge(
    silent: Silent,
    end: str = "and is left alone",
    ends: str = "and are left alone",
    kept: Sequence[str] = (),
) -> None:
    """Raises WorldUnreadable naming the silent machines, and what is `kept` in the state because of them; returns when
    there are none."""
    if silent:
        many = f"{len(silent)} machines could not be read, {ends}"
        details = _told_of(silent)
        if kept:
            more = f" and {len(kept) - _SHOWN} more" if len(kept) > _SHOWN else ""
            details.append(f"still in the state: {', '.join(kept[:_SHOWN])}{more}")
        raise WorldUnreadable(
            many if len(silent) > 1 else f"one machine could not be read, {end}",
            "mend the cause, and run the same command again; a machine that is gone for good is declared `state: lost`",
            details=details,
        )


def _told_of(silent: Silent) -> list[str]:
    details = []
    for node, error in sorted(silent.items()):
        named = error.message if node in error.message else f"{node}: {error.message}"
        details += [named, *([f"    help: {error.hint}"] if error.hint else [])]
    return details
