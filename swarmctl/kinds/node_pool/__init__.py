"""NodePool: machines of one backend that play one role in a cluster."""

from swarmctl import backends
from swarmctl.kinds.base import MACHINE, Kind
from swarmctl.kinds.node_pool.spec import NodePoolSpec

KIND = Kind(
    name="NodePool",
    summary="Machines of one backend that play one role in a cluster.",
    spec=NodePoolSpec,
    variants=backends.specs,
    rules="swarmctl.kinds.node_pool.rules:check",
    expand="swarmctl.kinds.node_pool.expand:expand",
    resources={
        MACHINE: "swarmctl.kinds.node_pool.resources:MACHINE",
        "swarm:nodepool:Drain": "swarmctl.kinds.node_pool.draining.resources:DRAIN",
        "swarm:nodepool:Driver": "swarmctl.kinds.node_pool.accelerators.resources:DRIVER",
    },
)
