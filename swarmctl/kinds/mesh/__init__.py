"""Mesh: a WireGuard network across the nodes of the clusters that name it."""

from swarmctl.kinds.base import Kind
from swarmctl.kinds.mesh.spec import MeshSpec

KIND = Kind(
    name="Mesh",
    summary="A WireGuard network across the nodes of the clusters that name it.",
    spec=MeshSpec,
    rules="swarmctl.kinds.mesh.rules:check",
    expand="swarmctl.kinds.mesh.expand:expand",
    expands_after=("NodePool",),
    marked="swarmctl.kinds.mesh.marks:marked",
    resources={
        "swarm:mesh:Rotation": "swarmctl.kinds.mesh.resources:ROTATION",
        "swarm:mesh:Interface": "swarmctl.kinds.mesh.resources:INTERFACE",
        "swarm:mesh:PresharedKeys": "swarmctl.kinds.mesh.resources:PRESHARED",
        "swarm:mesh:Peers": "swarmctl.kinds.mesh.resources:PEERS",
        "swarm:mesh:Failover": "swarmctl.kinds.mesh.resources:FAILOVER",
    },
)
