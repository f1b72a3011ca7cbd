"""Declarations → graph: every kind expands in turn, those first whose exports others read."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from swarmctl.declarations.declaration import Inventory
from swarmctl.declarations.secrets import SecretRef
from swarmctl.diagnostics import Range
from swarmctl.graph.model import Address, Graph, Json
from swarmctl.kinds import expansion_order
from swarmctl.kinds.base import Expansion, load


def compile_graph(
    inventory: Inventory,
    stack: str,
    previous: Callable[[Address], Mapping[str, Json] | None],
    on_node: Callable[[str, str], Mapping[str, Json] | None] = lambda type_, node: None,
    secret: Callable[[SecretRef, Range], Json] = lambda ref, where: {"secret": ref.plain()},
) -> Graph:
    """The desired state of a valid stack. Pure: the same declarations and the same `previous` give the same graph.

    `stack` is the stack's identity; `previous` gives the inputs of a resource in the state, None when it is new, and
    `on_node` those of the one of a type on a node; `secret` gives what stands for a declared secret.
    Raises SwarmError for what only shows now, such as a network with too few addresses.
    """
    graph = Graph(stack)
    context = Expansion(inventory=inventory, graph=graph, previous=previous, on_node=on_node, secret=secret)
    for kind in expansion_order():
        if kind.expand:
            load(kind.expand)(context)
    return graph
