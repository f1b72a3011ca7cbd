"""Declarations → graph: every kind expands in turn, those first whose exports others read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from swarmctl import collector
from swarmctl.declarations.declaration import Inventory
from swarmctl.declarations.names import STACK
from swarmctl.declarations.secrets import SecretRef
from swarmctl.diagnostics import Range
from swarmctl.errors import InvalidDeclaration
from swarmctl.graph import declared
from swarmctl.graph.model import Address, Graph, Json, Machine, Timeouts
from swarmctl.graph.names import natural
from swarmctl.hosts.states import ISOLATED
from swarmctl.kinds import expansion_order
from swarmctl.kinds.base import MACHINE, Expansion, Nothing, Systems, load

if TYPE_CHECKING:
    from swarmctl.hosts.system import SystemFacts


def compile_graph(
    inventory: Inventory,
    stack: str,
    previous: Callable[[Address], Mapping[str, Json] | None],
    on_node: Callable[[str, str], Mapping[str, Json] | None] = lambda type_, node: None,
    secret: Callable[[SecretRef, Range], Json] = lambda ref, where: {"secret": ref.plain()},
    rotate: Collection[str] = (),
    system: Systems | None = None,
    existing: Callable[[str], Collection[str]] = lambda backend: (),
    nodes: Mapping[str, str] | None = None,
    anew: Callable[[Iterable[Machine]], Mapping[str, SystemFacts]] = lambda machines: {},
    kinds: Collection[str] | None = None,
) -> Graph:
    """The desired state of a valid stack. Pure but for `system` and `existing`: with the same facts, the same machines
    and the same `previous` the same declarations give the same graph.

    `stack` is the stack's identity; `previous` gives the inputs of a resource in the state, None when it is new, and
    `on_node` those of the one of a type on a node; `secret` gives what stands for a declared secret; `rotate` names
    the nodes whose keys are to be rotated now; `system` gives facts of machines, by default none, and no host is read;
    `existing` names the machines that a backend has, by default none, so that nothing is asked; `nodes` gives
    those in the state and their addresses there, by default none: then any of them may be declared under another name;
    `anew` is that of `Expansion`; `kinds` are the only ones that are expanded, for who wants to know no more.
    Raises SwarmError for what only shows now, such as a network with too few addresses, and InvalidDeclaration for
    what is wrong with the declarations given what was applied.
    """
    graph = Graph(stack, moved=declared.moves(inventory))
    context = Expansion(
        inventory=inventory,
        graph=graph,
        previous=declared.following(previous, graph.moved),
        on_node=on_node,
        secret=secret,
        rotate=frozenset(rotate),
        system=system or Nothing(),
        existing=existing,
        nodes=nodes or {},
        anew=anew,
    )
    with collector.paused():
        for kind in expansion_order():
            if kind.expand and (kinds is None or kind.name in kinds):
                load(kind.expand)(context)
    if kinds is None and (found := list(declared.problems(inventory, graph, previous))):
        raise InvalidDeclaration(found, {one.document.source.display: one.document.source.text for one in inventory})
    _complete(graph, inventory)
    _freeze(graph)
    return graph


TOUCHED = (MACHINE, "swarm:securitypolicy:Firewall")
"""Types of what is done to a machine that is isolated; what has left the graph is taken away."""
_NAMED = 5


def _freeze(graph: Graph) -> None:
    """An isolated machine stays as it is for whoever looks into it: what else is on it is neither made nor changed."""
    isolated = {machine.name for machine in graph.exported(Machine) if machine.state == ISOLATED}
    frozen = {
        address
        for address, resource in graph.resources.items()
        if resource.node in isolated and resource.type not in TOUCHED
    }
    graph.frozen |= frozen
    kept = sorted({graph.resources[address].node for address in frozen}, key=natural)
    if kept:
        more = f" and {len(kept) - _NAMED} more" if len(kept) > _NAMED else ""
        are = (
            "are isolated: what else is declared for them"
            if len(kept) > 1
            else "is isolated: what else is declared for it"
        )
        graph.notes.append(f"{', '.join(kept[:_NAMED])}{more} {are} is neither made nor changed meanwhile")


def _complete(graph: Graph, inventory: Inventory) -> None:
    """What holds for resources of every kind: whether they are protected, and how long steps on them may take."""
    protected = {(one.kind.lower(), one.name) for one in inventory if one.metadata.protect}
    everything = any(kind == STACK.lower() for kind, _ in protected)
    timeouts = {machine.name: machine.timeouts for machine in graph.exported(Machine)}
    for address, resource in graph.resources.items():
        of_cluster = bool(resource.cluster) and ("cluster", resource.cluster) in protected
        protect = everything or of_cluster or (address.kind, address.name) in protected
        limits = _limits(timeouts.get(resource.node, resource.timeouts), resource.timeouts)
        if protect or limits != resource.timeouts:
            graph.resources[address] = replace(resource, protect=protect, timeouts=limits)


def _limits(declared: Timeouts, own: Timeouts) -> Timeouts:
    """What the machine's pool declares; where that is the default, what the kind has set for the resource."""
    usual = Timeouts()
    found = {
        step: getattr(own if getattr(declared, step) == getattr(usual, step) else declared, step)
        for step in ("create", "update", "delete", "read")
    }
    return Timeouts(**found)
