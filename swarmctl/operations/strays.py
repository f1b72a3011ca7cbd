"""Machines that carry a stack's mark and that nobody knows: a run that was cut off left them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarmctl import backends
from swarmctl.plans.model import Action, Change, HostEffect

if TYPE_CHECKING:
    from swarmctl.backends.base import Fence

NO_TYPE = ""
"""Type of what is no resource of the engine's."""


def found(identity: str, known: set[str]) -> list[tuple[str, str]]:
    """Machines that carry the stack's mark and are not among the `known` nodes, left by a crash: (backend, node)."""
    return [(name, node) for name in backends.names() for node in sorted(backends.load(name).machines(identity, known))]


def remove(identity: str, backend: str, node: str, fence: Fence) -> None:
    """Remove a machine of which nothing is known but the mark it carries. Raises Fenced, ForeignStack."""
    there = backends.load(backend)
    host = dict(there.host_of(identity, node))
    there.delete_machine({"backend": backend, "node": node, "host": host}, fence)


def change(backend: str, node: str) -> Change:
    """The removal of a machine that nobody knows, as a line of the plan."""
    text = f"the whole machine ({backend}): nothing declares it, a run that was cut off left it"
    effects, impact = (HostEffect("delete", text),), f"{node} goes away with everything on it"
    return Change(f"{backend}/{node}", NO_TYPE, Action.DELETE, node=node, effects=effects, impact=impact)
