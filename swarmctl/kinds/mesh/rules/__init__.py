"""What must hold for meshes beyond their schema, by topic; `check` is what the kind names as its rules."""

from __future__ import annotations

from collections.abc import Iterator

from swarmctl.declarations import fleet
from swarmctl.declarations.declaration import Declaration, Inventory, Unknown
from swarmctl.diagnostics import Code, Diagnostic, Severity
from swarmctl.kinds.mesh import resolve
from swarmctl.kinds.mesh.resolve import Node
from swarmctl.kinds.mesh.rules import (
    addresses,
    device,
    endpoints,
    families,
    meeting,
    networks,
    reach,
    reserved,
    topology,
)
from swarmctl.kinds.mesh.rules.subject import Declared, Subject

UNUSED = Code(
    "SW3110",
    "mesh that no cluster uses",
    """No Cluster names the mesh, so it has no machines and nothing is made for it. A warning: the cluster may come
later.

Wrong: a Mesh `spare`, and every Cluster with `mesh: backbone`

Right: `mesh: spare` in a Cluster, or the Mesh removed
""",
)


def check(inventory: Inventory) -> Iterator[Diagnostic]:
    """Every mistake in the meshes of the stack."""
    known: list[Declared] = []
    taken: endpoints.Taken = {}
    for mesh in inventory.of("Mesh"):
        own: list[Declared] = []
        for index, text in enumerate(mesh.spec.cidrs):
            parsed = networks.parse(mesh, index, text)
            if isinstance(parsed, Diagnostic):
                yield parsed
            else:
                own.append(parsed)
        subject = Subject(inventory, mesh, own)
        yield from networks.check(subject)
        yield from reserved.check(subject)
        yield from addresses.check(subject)
        yield from device.check(subject)
        yield from endpoints.check(subject, taken)
        yield from _unused(subject)
        if subject.certain and topology.settled(subject):
            nodes = _nodes(subject)
            groups = list(resolve.groups(mesh.spec.topology, nodes))
            yield from topology.check(subject, nodes, groups)
            yield from reach.check(subject, nodes, groups)
            found = list(families.check(subject, nodes, groups))
            yield from found or meeting.check(subject, nodes)
        known += own
    yield from networks.apart(known)


def _unused(subject: Subject) -> Iterator[Diagnostic]:
    mesh = subject.mesh
    if subject.inventory.knows("Cluster") and not subject.clusters and not isinstance(mesh.name, Unknown):
        yield Diagnostic(
            UNUSED,
            f"no Cluster uses the Mesh `{mesh.name}`",
            mesh.value("metadata", "name"),
            label="has no machines",
            help=f"add `mesh: {mesh.name}` to a Cluster, or remove the Mesh",
            severity=Severity.WARNING,
        )


def _nodes(subject: Subject) -> list[Node]:
    regions: dict[str, str] = {}

    def region(pool: Declaration) -> str:
        if pool.name not in regions:
            regions[pool.name] = fleet.region_of(pool, subject.inventory)
        return regions[pool.name]

    return [Node(name, node.pool.name, region(node.pool), node.labels) for name, node in sorted(subject.nodes.items())]
