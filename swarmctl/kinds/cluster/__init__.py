"""Cluster: node pools that share one mesh and one security policy."""

from swarmctl.kinds.base import Kind
from swarmctl.kinds.cluster.spec import ClusterSpec

KIND = Kind(
    name="Cluster",
    summary="Node pools that share one mesh and one security policy.",
    spec=ClusterSpec,
    rules="swarmctl.kinds.cluster.rules:check",
)
