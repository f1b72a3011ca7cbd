"""What a state says of machines and of what lies on them, as those who compile or look want to know it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from swarmctl.backends import ways
from swarmctl.kinds.base import MACHINE

if TYPE_CHECKING:
    from swarmctl.graph.model import Address, Json
    from swarmctl.state.store import Snapshot


def record_ways(identity: str, snapshot: Snapshot) -> None:
    """From now on machines that have left the declarations are found by what the state recorded of them."""
    ways.record(identity, (it.inputs for it in snapshot.resources.values() if it.type == MACHINE))


def previous(snapshot: Snapshot) -> Callable[[Address], Mapping[str, Json] | None]:
    """Inputs by address as they were last applied."""

    def look_up(address: Address) -> Mapping[str, Json] | None:
        recorded = snapshot.resources.get(str(address))
        return recorded.inputs if recorded else None

    return look_up


def on_node(snapshot: Snapshot) -> Callable[[str, str], Mapping[str, Json] | None]:
    """Inputs by type and node as they were last applied."""
    found = {(it.type, str(it.inputs["node"])): it.inputs for it in snapshot.resources.values() if "node" in it.inputs}
    return lambda type_, node: found.get((type_, node))


def machines(snapshot: Snapshot) -> dict[str, Mapping[str, Json]]:
    """The inputs of the machines that the state knows, by their names."""
    return {str(it.inputs["node"]): it.inputs for it in snapshot.resources.values() if it.type == MACHINE}


def machines_in(snapshot: Snapshot) -> dict[str, str]:
    """The address of each machine that the state knows, by its name."""
    found = snapshot.resources.items()
    return {str(it.inputs["node"]): address for address, it in found if it.type == MACHINE and it.inputs.get("node")}


def nodes_in(snapshot: Snapshot) -> set[str]:
    """Names of all machines that the state knows."""
    return {str(recorded.inputs["node"]) for recorded in snapshot.resources.values() if recorded.inputs.get("node")}
