"""Resources that keep their node and change their address: a pool, a mesh or a policy got another name. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from swarmctl.graph.model import Address, Graph


def moves(graph: Graph, recorded: Mapping[str, tuple[str, str]]) -> dict[Address, str]:
    """New address → address in the state, of everything that moved.

    `recorded` has type and node by address. What is declared at an address that nothing is recorded at, and recorded
    at one that nothing is declared at, is the same thing when type and node are; not when several could be meant.
    """
    declared = {str(address) for address in graph.resources}
    left: dict[tuple[str, str], list[str]] = {}
    for address, (kind, node) in recorded.items():
        if node and address not in declared:
            left.setdefault((kind, node), []).append(address)
    come: dict[tuple[str, str], list[Address]] = {}
    for resource in graph.resources.values():
        if (resource.type, resource.node) in left and str(resource.address) not in recorded:
            come.setdefault((resource.type, resource.node), []).append(resource.address)
    return {new[0]: left[place][0] for place, new in come.items() if len(new) == len(left[place]) == 1}
