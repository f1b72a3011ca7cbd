"""What is known of a mesh while `mesh verify` judges it: declared, told by nodes, and measured. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from swarmctl.graph.model import Address, MeshMember
from swarmctl.hosts.facts import Facts
from swarmctl.hosts.mesh_probes import Capture, Echo
from swarmctl.operations.mesh_verify_model import Pair
from swarmctl.operations.nodes import Declared
from swarmctl.operations.status_model import Link, Reading


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is declared for one node of a mesh."""

    member: MeshMember
    mtu: int
    key_path: str
    rotate_every: int
    """Seconds; 0: never."""
    preshared: bool
    """Whether its tunnels have preshared keys."""
    peers: Mapping[str, Any] = field(default_factory=dict)
    """Inputs of its peers by node, as `swarm:mesh:Peers` has them."""
    groups: Sequence[Mapping[str, Any]] = ()
    """Networks that its failover agent may move between peers."""


def wanted(stack: Declared, member: MeshMember) -> Wanted:
    """From its resources."""
    resource = stack.resources.get(member.address)
    inputs = resource.inputs if resource is not None else {}
    mesh = stack.inventory.get("Mesh", member.mesh)
    peers = stack.resources.get(Address("mesh", member.mesh, f"{member.node}/peers"))
    return Wanted(
        member,
        int(inputs.get("mtu", 1420)),
        str(inputs.get("keyPath", f"/etc/swarmctl/mesh/{member.mesh}/private.key")),
        int(inputs.get("rotateEvery") or 0),
        mesh is not None and mesh.spec.keys.preshared_keys != "none",
        peers.inputs.get("peers", {}) if peers is not None else {},
        peers.inputs.get("failover", ()) if peers is not None else (),
    )


@dataclass(slots=True)
class Seen:
    """What one node measured."""

    echoes: dict[str, Echo] = field(default_factory=dict)
    """By address; the last word about each."""
    payloads: dict[str, int] = field(default_factory=dict)
    """By address: the largest payload that came back, where it is known."""
    larger: dict[str, bool] = field(default_factory=dict)
    captures: list[Capture] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)

    def note(self, address: str, echo: Echo, payload: int, *, exact: bool = True) -> None:
        """What came of echoes of a size; `exact`: nothing larger would come back."""
        self.echoes[address] = echo
        self.payloads.pop(address, None)
        if echo.received and exact:
            self.payloads[address] = payload


@dataclass(frozen=True, slots=True)
class Mesh:
    """One mesh and all that is known of it."""

    name: str
    members: Sequence[MeshMember]
    readings: Mapping[str, Reading]
    seen: Mapping[str, Seen]
    wanted: Mapping[str, Wanted]
    links: Sequence[Link]
    pairs: Sequence[Pair]

    def facts(self) -> Iterator[tuple[MeshMember, Wanted, Facts]]:
        """Of the nodes that could be read."""
        for member in self.members:
            facts = self.readings[member.node].facts
            if facts is not None:
                yield member, self.wanted[member.node], facts
