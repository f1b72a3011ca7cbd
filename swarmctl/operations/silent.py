"""Machines that can't be read now: a run leaves them, and what needs them, as they are, and goes on with the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from swarmctl import backends
from swarmctl.backends import ways
from swarmctl.errors import SwarmError, WorldUnreadable
from swarmctl.kinds.base import MACHINE
from swarmctl.plans.events import Note

if TYPE_CHECKING:
    from swarmctl.operations.stack import Emit, Stack
    from swarmctl.plans.model import Plan
    from swarmctl.state.store import Snapshot

_SHOWN = 20
"""Addresses told one by one."""
T = TypeVar("T")
Silent = Mapping[str, SwarmError]
"""Why, by node."""


def leaving_out(
    stack: Stack, held: frozenset[str], look: Callable[[Stack, frozenset[str]], Plan], emit: Emit
) -> tuple[Plan, Stack, frozenset[str], Silent]:
    """What `look` sees of a world in which it must not touch what is `held`; where machines are silent, without these:
    with the stack as it is then, what is to be held, and why. Raises what `look` does.

    Others are not told a new address of a silent machine: nobody has reached it there.
    """
    now, more = stack, held

    def see(silent: Silent) -> Plan:
        nonlocal now, more
        now = stack.anew() if silent else stack
        more = held | lying_on(now, silent)
        return replace(look(now, more), left_alone=tuple(sorted(silent)))

    plan, silent = without(stack.identity, stack.snapshot, see, emit)
    return plan, now, more, silent


def without(identity: str, snapshot: Snapshot, look: Callable[[Silent], T], emit: Emit) -> tuple[T, Silent]:
    """What `look` finds, and which machines it was told to do without: none at first. Raises what it does."""
    ways.silence(identity, ())
    try:
        return look({}), {}
    except WorldUnreadable as error:
        if not (silent := find(identity, snapshot, error, emit)):
            raise
    return look(silent), silent


def find(identity: str, snapshot: Snapshot, error: WorldUnreadable, emit: Emit) -> Silent:
    """The recorded machines that could not be read; `emit` is told of each. Where the error names none, they are asked,
    many at a time.

    Only those whose way stands in the declarations count: those are elsewhere. From now on nobody asks them again.
    """
    recorded: dict[str, list[str]] = {}
    for it in snapshot.resources.values():
        if ways.is_lost(it.inputs.get("host", {})):
            continue  # nobody asks it, and nothing waits for it
        if it.type == MACHINE and backends.by_declaration(str(it.inputs.get("backend"))):
            recorded.setdefault(str(it.inputs["backend"]), []).append(str(it.inputs["node"]))
    found: dict[str, SwarmError] = {}
    hosts = []
    for backend, nodes in sorted(recorded.items()):
        silent: Silent = {node: error.nodes[node] for node in nodes if node in error.nodes}
        silent = silent or backends.load(backend).silent(identity, nodes)
        found |= silent
        hosts += [{"backend": backend, "stack": identity, "node": node} for node in silent]
    ways.silence(identity, hosts)
    for node, why in sorted(found.items()):
        emit(Note(f"{node} is left alone: {why.message.removeprefix(f'{node}: ')}", warning=True))
    return found


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
        details = []
        for node, error in sorted(silent.items()):
            named = error.message if node in error.message else f"{node}: {error.message}"
            details += [named, *([f"    help: {error.hint}"] if error.hint else [])]
        if kept:
            more = f" and {len(kept) - _SHOWN} more" if len(kept) > _SHOWN else ""
            details.append(f"still in the state: {', '.join(kept[:_SHOWN])}{more}")
        raise WorldUnreadable(
            many if len(silent) > 1 else f"one machine could not be read, {end}",
            "mend the cause, and run the same command again; a machine that is gone for good is declared `state: lost`",
            details=details,
        )
