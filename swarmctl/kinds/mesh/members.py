"""Machines and a declared mesh → what the mesh compiler takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from swarmctl.graph.model import Machine
from swarmctl.kinds.mesh import resolve
from swarmctl.kinds.mesh.resolve import NOWHERE, Node
from swarmctl.kinds.mesh.spec import MeshSpec
from swarmctl.kinds.mesh.topologies import Part, Topology
from swarmctl.mesh.compiler import Combine, Full, Hubs, Links, Member, Regions
from swarmctl.mesh.compiler import Part as CompiledPart
from swarmctl.mesh.selectors import matches


def members(spec: MeshSpec, machines: Iterable[Machine], addresses: dict[str, tuple[str, ...]]) -> Iterator[Member]:
    """The machines as members; a declared endpoint comes before what the backend says."""
    declared = {endpoint.node: endpoint for endpoint in spec.endpoints}
    for machine in machines:
        own = declared.get(machine.name)
        host: str | None = machine.endpoint
        if own is not None:
            host = None if own.host == NOWHERE else resolve.normal(own.host)
        yield Member(
            name=machine.name,
            addresses=addresses[machine.name],
            underlay=machine.underlay,
            endpoint=host,
            port=(own.port if own is not None else None) or spec.listen_port,
            region=machine.region,
            relay=spec.relays is not None and matches(spec.relays, machine.labels),
        )


def nodes(machines: Iterable[Machine]) -> list[Node]:
    """The machines as selectors see them."""
    return [Node(machine.name, machine.pool, machine.region, machine.labels) for machine in machines]


def topology(declared: Topology, nodes: Sequence[Node]) -> Full | Hubs | Regions | Links | Combine:
    """The topology with names in place of labels and pools."""
    if declared.combine is None:
        return _one(declared, nodes)
    parts = ((part, resolve.select(part.select, nodes)) for part in declared.combine)
    return Combine(tuple(CompiledPart(frozenset(resolve.names(found)), _one(part, found)) for part, found in parts))


def by_region(declared: Topology) -> bool:
    """Whether nodes of one region are met behind a gateway."""
    return declared.regions is not None or any(part.regions is not None for part in declared.combine or ())


def _one(part: Topology | Part, nodes: Sequence[Node]) -> Full | Hubs | Regions | Links:
    if part.hubs is not None:
        return Hubs(frozenset(resolve.names(resolve.select(part.hubs.select, nodes))))
    if part.regions is not None:
        return Regions(frozenset(resolve.names(resolve.select(part.regions.gateways, nodes))))
    if part.links is not None:
        pairs: set[tuple[str, str]] = set()
        for link in part.links:
            one, other = (resolve.names(resolve.end(end, nodes)) for end in link.between)
            pairs |= {(min(a, b), max(a, b)) for a in one for b in other if a != b}
        return Links(frozenset(pairs))
    return Full()
