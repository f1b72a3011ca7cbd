"""One rotation per mesh, which the interfaces depend on; and what they say of their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from swarmctl.declarations.declaration import Declaration
from swarmctl.declarations.duration import seconds
from swarmctl.graph.model import Address, Json, Machine, Resource, Timeouts
from swarmctl.kinds.base import Expansion
from swarmctl.kinds.mesh.rotation.due import INSTALLED
from swarmctl.kinds.mesh.spec import NEVER, MeshSpec
from swarmctl.mesh.names import next_interface, next_port

ROTATION = "swarm:mesh:Rotation"
INTERFACE = "swarm:mesh:Interface"
KEY = "rotation"
USUAL = 100
"""Nodes whose keys are rotated within the time that every step may take."""
PER_NODE = 1.0
"""Seconds more for each node above that."""


def declare(context: Expansion, declaration: Declaration, machines: Sequence[Machine]) -> None:
    """Add the rotation of a mesh whose interfaces are in the graph, and have them depend on it."""
    spec: MeshSpec = declaration.spec
    every = 0 if spec.keys.rotate_every == NEVER else seconds(spec.keys.rotate_every)
    address = Address("mesh", declaration.name, KEY)
    nodes: dict[str, Mapping[str, Json]] = {}
    for machine in machines:
        at = Address("mesh", declaration.name, machine.name)
        before = context.previous(at) or context.on_node(INTERFACE, machine.name) or {}
        asked = int(before.get("keyGeneration") or 0) + int(not context.rotate.isdisjoint({machine.name, "*"}))
        nodes[machine.name] = {"host": machine.host, "generation": asked, "key": INSTALLED}
        interface = context.graph.resources[at]
        context.graph.resources[at] = replace(
            interface,
            inputs={**interface.inputs, "keyGeneration": asked, "rotateEvery": every},
            depends_on=(*interface.depends_on, address),
        )
    if not nodes:
        return
    usual = Timeouts()
    more = PER_NODE * max(0, len(nodes) - USUAL)
    context.graph.add(
        Resource(
            address=address,
            type=ROTATION,
            inputs={
                "mesh": declaration.name,
                "interface": spec.interface,
                "nextInterface": next_interface(spec.interface),
                "listenPort": spec.listen_port,
                "nextPort": next_port(spec.listen_port, spec.keys.rotation_port),
                "keyPath": f"/etc/swarmctl/mesh/{declaration.name}/private.key",
                "rotateEvery": every,
                "nodes": nodes,
            },
            timeouts=replace(usual, create=usual.create + more, update=usual.update + more, read=usual.read + more),
            origin=declaration.value("metadata", "name"),
        )
    )
