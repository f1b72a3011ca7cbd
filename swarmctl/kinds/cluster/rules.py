"""What must hold for clusters beyond their schema."""

from __future__ import annotations

from collections.abc import Iterator

from swarmctl.declarations import fleet
from swarmctl.declarations.declaration import Inventory, Unknown
from swarmctl.diagnostics import Code, Diagnostic, Severity

UNUSED = Code(
    "SW3501",
    "cluster without node pools",
    """No NodePool belongs to the cluster, so it has no machines and nothing is made for it. A warning: pools may
come later.

Wrong: a Cluster `edge`, and every NodePool with `cluster: core`

Right: a NodePool with `cluster: edge`, or `defaults: {cluster: edge}` in the Stack
""",
)


def check(inventory: Inventory) -> Iterator[Diagnostic]:
    """Warn about clusters that nothing belongs to."""
    if not inventory.knows(fleet.POOL, "Stack"):
        return
    used = {fleet.cluster_of(pool, inventory) for pool in inventory.of(fleet.POOL)}
    for cluster in inventory.of("Cluster"):
        if cluster.name not in used and not isinstance(cluster.name, Unknown):
            yield Diagnostic(
                UNUSED,
                f"no NodePool belongs to the Cluster `{cluster.name}`",
                cluster.value("metadata", "name"),
                label="has no machines",
                help=f"add `cluster: {cluster.name}` to a NodePool, or remove the Cluster",
                severity=Severity.WARNING,
            )
