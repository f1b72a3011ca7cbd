"""The nodes that a stack declares, and one of them by name: what `status`, `graph`, `exec` and `logs` begin with."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from swarmctl.declarations.declaration import Inventory
from swarmctl.errors import UsageError
from swarmctl.graph.model import Address, Graph, LostMachine, Machine, MeshMember, Resource
from swarmctl.graph.names import natural as natural
from swarmctl.operations.stack import Emit, compile_stack, load, look_around

OF_TUNNELS = ("SW3138",)
"""Codes of mistakes that keep machines from having tunnels, and nobody from reaching the machines."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A stack as its files and its state have it; nothing here was asked of a machine."""

    name: str
    inventory: Inventory
    machines: tuple[Machine, ...]
    members: tuple[MeshMember, ...]
    recorded: frozenset[str]
    """Addresses in the state: what was applied and not destroyed."""
    resources: Mapping[Address, Resource] = field(default_factory=dict)
    """What it is made of, by address."""
    identity: str = ""
    """The stack's."""
    lost: tuple[LostMachine, ...] = ()
    """Declared to be gone."""

    @classmethod
    def of(cls, name: str, inventory: Inventory, graph: Graph, recorded: frozenset[str] = frozenset()) -> Declared:
        """Take from a compiled graph what one needs to look at nodes, in the natural order of their names."""
        machines = sorted(graph.exported(Machine), key=lambda machine: natural(machine.name))
        members = sorted(graph.exported(MeshMember), key=lambda member: (member.mesh, natural(member.node)))
        lost = sorted(graph.exported(LostMachine), key=lambda machine: natural(machine.name))
        return cls(
            name, inventory, tuple(machines), tuple(members), recorded, graph.resources, graph.stack, tuple(lost)
        )


def declared(folder: Path, emit: Emit, *, machines_alone: bool = False) -> Declared:
    """Read the stack in `folder`, with the addresses that its nodes got before. Doesn't start the engine.

    With `machines_alone` there is nothing in it but the machines, and no mistake is in the way that is about their
    tunnels. `emit` is told when somebody is changing the stack. Raises NoDocuments, InvalidDeclaration and
    StateUnreadable.
    """
    loaded, store = load(folder, despite=OF_TUNNELS if machines_alone else ())
    look_around(store, emit)
    stack = compile_stack(loaded, store, reveal=False, kinds=("NodePool",) if machines_alone else None)
    return Declared.of(stack.loaded.name, stack.loaded.inventory, stack.graph, frozenset(stack.snapshot.resources))


def find(machines: Sequence[Machine], name: str) -> Machine:
    """The machine called `name`. Raises UsageError that names the nearest and lists all when there is none."""
    by_name = {machine.name: machine for machine in machines}
    if name in by_name:
        return by_name[name]
    near = difflib.get_close_matches(name, by_name, n=1)
    known = ", ".join(sorted(by_name, key=natural)) or "none; the stack declares no machines"
    hint = (f"did you mean {near[0]!r}? " if near else "") + f"nodes: {known}"
    raise UsageError(f"no such node: {name!r}", hint)
