"""Resources that change their address and stay what they are: a pool, a mesh or a policy got another name. Pure.

Declared moves come first. Beyond them a resource that keeps its type and its node is known again by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from swarmctl.graph.model import Address, Graph, Move


def former(address: Address, moved: Sequence[Move]) -> Iterator[Address]:
    """The addresses that the thing at `address` had before, the latest first; moves of moves are followed."""
    seen = {address}
    latest = [address]
    for now in latest:
        for move in moved:
            before = _before(now, move)
            if before is not None and before not in seen:
                seen.add(before)
                latest.append(before)
                yield before


def _before(address: Address, move: Move) -> Address | None:
    source, target = move.source, move.target
    if (address.kind, address.name) != (target.kind, target.name):
        return None
    if not target.key:
        return Address(source.kind, source.name, address.key)
    if address.key == target.key or address.key.startswith(f"{target.key}/"):
        return Address(source.kind, source.name, source.key + address.key.removeprefix(target.key))
    return None


def moves(graph: Graph, recorded: Mapping[str, tuple[str, str]]) -> dict[Address, str]:
    """New address → address in the state, of everything that moved.

    `recorded` has type and node by address. By itself, what is declared at an address that nothing is recorded at, and
    recorded at one that nothing is declared at, is the same thing when type and node are; not when several could be
    meant.
    """
    found = _declared(graph, recorded)
    gone = set(found.values())
    declared = {str(address) for address in graph.resources}
    left: dict[tuple[str, str], list[str]] = {}
    for address, (kind, node) in recorded.items():
        if node and address not in declared and address not in gone:
            left.setdefault((kind, node), []).append(address)
    come: dict[tuple[str, str], list[Address]] = {}
    for resource in graph.resources.values():
        new = resource.address not in found and str(resource.address) not in recorded
        if new and (resource.type, resource.node) in left:
            come.setdefault((resource.type, resource.node), []).append(resource.address)
    found.update({one[0]: left[place][0] for place, one in come.items() if len(one) == len(left[place]) == 1})
    return found


def _declared(graph: Graph, recorded: Mapping[str, tuple[str, str]]) -> dict[Address, str]:
    """What `moved:` says, as far as there is something to move."""
    found: dict[Address, str] = {}
    if not graph.moved:
        return found
    for address, resource in graph.resources.items():
        if str(address) not in recorded:
            before = (str(one) for one in former(address, graph.moved))
            match = next((one for one in before if one in recorded), "")
            if match and recorded[match][0] == resource.type:
                found[address] = match
    return found
