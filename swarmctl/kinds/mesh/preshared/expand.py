"""One set of preshared keys per mesh, which the peers of all its nodes take theirs from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from swarmctl.declarations.declaration import Declaration
from swarmctl.graph.model import Address, Json, Machine, Ref, Resource, Timeouts
from swarmctl.kinds.base import Expansion
from swarmctl.kinds.mesh.preshared.files import folder
from swarmctl.kinds.mesh.spec import GENERATED

PRESHARED = "swarm:mesh:PresharedKeys"
KEY = "preshared"
USUAL = 100
"""Nodes whose keys are brought together within the time that every step may take."""
PER_NODE = 1.0
"""Seconds more for each node above that."""


def declare(
    context: Expansion, declaration: Declaration, machines: Sequence[Machine], peers: Mapping[str, Iterable[str]]
) -> None:
    """Add the preshared keys of a mesh that is in the graph, and have its peers take theirs from them.

    `peers`: names of the peers by node.
    """
    if declaration.spec.keys.preshared_keys != GENERATED or not machines:
        return
    address = Address("mesh", declaration.name, KEY)
    where = folder(declaration.name)
    nodes: dict[str, Mapping[str, Json]] = {}
    for machine in machines:
        public = Ref(Address("mesh", declaration.name, machine.name), "publicKey")
        makes = sorted(name for name in peers[machine.name] if name > machine.name)
        nodes[machine.name] = {"host": machine.host, "publicKey": public, "makesFor": makes}
        at = Address("mesh", declaration.name, f"{machine.name}/peers")
        found = context.graph.resources[at]
        context.graph.resources[at] = replace(
            found,
            # Its own key among them: with another one all of its preshared keys are others.
            inputs={**found.inputs, "presharedKeys": {"folder": where, "publicKey": public}},
            depends_on=(*found.depends_on, address),
        )
    usual = Timeouts()
    more = PER_NODE * max(0, len(nodes) - USUAL)
    context.graph.add(
        Resource(
            address=address,
            type=PRESHARED,
            inputs={
                "mesh": declaration.name,
                "interface": declaration.spec.interface,
                "folder": where,
                "nodes": nodes,
            },
            timeouts=replace(usual, create=usual.create + more, update=usual.update + more, read=usual.read + more),
            origin=declaration.value("metadata", "name"),
        )
    )
