"""Declared moves (`moved:` of the Stack): as the graph takes them, and what only the state can tell is wrong with them.

The Stack's own rules judge what stands in the files; here it is known, too, what a stack was applied with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from swarmctl.declarations.declaration import Inventory
from swarmctl.diagnostics import Code, Diagnostic
from swarmctl.graph.model import Address, Graph, Json, Move
from swarmctl.graph.moves import former

Previous = Callable[[Address], Mapping[str, Json] | None]

STILL_THERE = Code(
    "SW2302",
    "something is declared where a move begins",
    """`from` of a move is an address that nothing has any more. Something declared there now is another thing, and it
would get what the first one leaves. Known when the stack is planned.

Wrong: `moved: [{from: "mesh/backbone[n1]", to: "mesh/backbone[n2]"}]` while both machines are in the mesh

Right: the entry removed, once it has been applied
""",
)
OCCUPIED = Code(
    "SW2303",
    "a move to where something else is already",
    """Both the old and the new address of a move are in the state: two things are there, and one of them would be
removed, which is what a move is meant to keep from happening.

Wrong: `moved: [{from: nodepool/a, to: nodepool/b}]` where `nodepool/b[0]` and `nodepool/a[0]` have both been applied

Right: `moved: [{from: "nodepool/a[0]", to: "nodepool/b[3]"}]`, or no entry: then what is in `nodepool/a` is removed
""",
)


def moves(inventory: Inventory) -> tuple[Move, ...]:
    """The moves of a valid stack."""
    return tuple(
        Move(Address.parse(entry.from_), Address.parse(entry.to))
        for stack in inventory.of("Stack")
        for entry in stack.spec.moved
    )


def following(previous: Previous, moved: tuple[Move, ...]) -> Previous:
    """`previous` that also finds what was applied at an address which the resource had before."""
    if not moved:
        return previous

    def look_up(address: Address) -> Mapping[str, Json] | None:
        found = previous(address)
        if found is not None:
            return found
        return next((inputs for one in former(address, moved) if (inputs := previous(one)) is not None), None)

    return look_up


def problems(inventory: Inventory, graph: Graph, previous: Previous) -> Iterator[Diagnostic]:
    """What is wrong with the moves, given what was applied (`previous`, without moves)."""
    told: set[int] = set()
    for address in graph.resources if graph.moved else ():
        for number, move in enumerate(graph.moved):
            if number not in told and _covers(move.source, address):
                told.add(number)
                yield _still_there(inventory, number, address)
        if previous(address) is None:
            continue
        before = next((one for one in former(address, graph.moved) if previous(one) is not None), None)
        if before is not None and before not in graph.resources:
            number = next(at for at, move in enumerate(graph.moved) if _covers(move.source, before))
            if number not in told:
                told.add(number)
                yield _occupied(inventory, number, before, address)


def _covers(move: Address, address: Address) -> bool:
    if (move.kind, move.name) != (address.kind, address.name):
        return False
    return not move.key or address.key == move.key or address.key.startswith(f"{move.key}/")


def _still_there(inventory: Inventory, number: int, address: Address) -> Diagnostic:
    return Diagnostic(
        STILL_THERE,
        f"a move begins at {address}, and something is declared there",
        inventory.of("Stack")[0].value("spec", "moved", number, "from"),
        label="declared, so it has not moved",
        help="remove the entry when it has been applied already; otherwise remove what is declared there",
    )


def _occupied(inventory: Inventory, number: int, before: Address, address: Address) -> Diagnostic:
    return Diagnostic(
        OCCUPIED,
        f"{before} cannot become {address}: both have been applied",
        inventory.of("Stack")[0].value("spec", "moved", number, "to"),
        label=f"{address} is there already",
        help="move it to an address that is free, or remove the entry: "
        f"without it the plan shows that {before} is removed",
    )
