"""Machines that can't be asked anything now: a run leaves them, and what needs them, as they are, and goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from swarmctl import backends
from swarmctl.backends import ways
from swarmctl.errors import SwarmError, WorldUnreadable
from swarmctl.plans.events import Note

if TYPE_CHECKING:
    from swarmctl.operations.stack import Emit, Stack
    from swarmctl.plans.model import Plan

MACHINE = "swarm:nodepool:Machine"
Silent = Mapping[str, SwarmError]
"""Why, by node."""


def leaving_out(
    stack: Stack, held: frozenset[str], look: Callable[[frozenset[str]], Plan], emit: Emit
) -> tuple[Plan, frozenset[str], Silent]:
    """What `look` sees of a world in which it must not touch what is `held`; where machines are silent, without these:
    with what is to be held then, and why. Raises what `look` does."""
    ways.silence(stack.identity, ())
    try:
        return look(held), held, {}
    except WorldUnreadable:
        if not (silent := find(stack, emit)):
            raise
    more = held | lying_on(stack, silent)
    return look(more), more, silent


def find(stack: Stack, emit: Emit) -> Silent:
    """The recorded machines that are silent, asked many at a time; `emit` is told of each.

    Only machines whose way stands in the declarations are asked: those are elsewhere. From now on nobody asks the
    silent ones again.
    """
    recorded: dict[str, list[str]] = {}
    for it in stack.snapshot.resources.values():
        if ways.is_lost(it.inputs.get("host", {})):
            continue  # nobody asks it, and nothing waits for it
        if it.type == MACHINE and backends.by_declaration(str(it.inputs.get("backend"))):
            recorded.setdefault(str(it.inputs["backend"]), []).append(str(it.inputs["node"]))
    found: dict[str, SwarmError] = {}
    hosts = []
    for backend, nodes in sorted(recorded.items()):
        silent = backends.load(backend).silent(stack.identity, nodes)
        found |= silent
        hosts += [{"backend": backend, "stack": stack.identity, "node": node} for node in silent]
    ways.silence(stack.identity, hosts)
    for node, error in sorted(found.items()):
        emit(Note(f"{node} is left alone: {error.message}", warning=True))
    return found


def lying_on(stack: Stack, silent: Silent) -> frozenset[str]:
    """The addresses, declared or recorded, that a run must not touch because of silent machines: what lies on them,
    and what needs something there that is not made yet."""
    if not silent:
        return frozenset()
    recorded = stack.snapshot.resources
    declared = {str(address): it for address, it in stack.graph.resources.items()}
    found = {name for name, it in recorded.items() if ways.on_silent(it.inputs)}
    found |= {name for name, it in declared.items() if ways.on_silent(it.inputs)}
    while more := {
        name
        for name, it in declared.items()
        if name not in found and any(str(need) in found and str(need) not in recorded for need in it.needs())
    }:
        found |= more
    return frozenset(found)


def judge(silent: Silent) -> None:
    """Raises WorldUnreadable naming the silent machines; returns when there are none."""
    if silent:
        many = (
            f"{len(silent)} machines could not be asked, and are"
            if len(silent) > 1
            else "one machine could not be asked, and is"
        )
        details = []
        for _, error in sorted(silent.items()):
            details += [error.message, *([f"    help: {error.hint}"] if error.hint else [])]
        raise WorldUnreadable(f"{many} left alone", "mend the cause, and run the same command again", details=details)
