"""Flows and denials that select no machine, and policies that no cluster uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from swarmctl.declarations import fleet
from swarmctl.declarations.declaration import Declaration, Inventory, Unknown, is_known
from swarmctl.diagnostics import Code, Diagnostic, Severity
from swarmctl.kinds.security_policy.rules.places import DENIALS, FLOWS
from swarmctl.kinds.security_policy.spec import Denial, Flow
from swarmctl.mesh.selectors import matches

NO_NODE = Code(
    "SW3304",
    "flow that selects no machine",
    """No machine of the clusters with this policy has the labels, so the flow allows nothing, or the denial under
`never` rules nothing out. Most often a label is misspelt. A warning: the machines may come later.

Wrong: `from: {rol: worker}` where the pools have `labels: {role: worker}`

Right: `from: {role: worker}`
""",
)
UNUSED = Code(
    "SW3306",
    "security policy that no cluster uses",
    """No Cluster names the policy, so it protects nothing. A warning: the cluster may come later.

Wrong: a SecurityPolicy `strict`, and every Cluster with `securityPolicy: baseline`

Right: `securityPolicy: strict` in a Cluster, or the policy removed
""",
)


def check(inventory: Inventory, policy: Declaration) -> Iterator[Diagnostic]:
    """Flows go to machines under this policy, from machines on the meshes that those are on; denials too."""
    own = [cluster for cluster in inventory.of("Cluster") if cluster.spec.security_policy == policy.name]
    if not own:
        if isinstance(policy.name, Unknown):
            return
        yield Diagnostic(
            UNUSED,
            f"no Cluster uses the SecurityPolicy `{policy.name}`",
            policy.value("metadata", "name"),
            label="protects nothing",
            help=f"add `securityPolicy: {policy.name}` to a Cluster, or remove the policy",
            severity=Severity.WARNING,
        )
        return
    meshes = {cluster.spec.mesh for cluster in own}
    around = {cluster.name for cluster in inventory.of("Cluster") if cluster.spec.mesh in meshes}
    targets = fleet.label_sets(inventory, {cluster.name for cluster in own})
    sources = fleet.label_sets(inventory, around)
    flows: list[Flow] = policy.spec.network.flows
    denials: list[Denial] = policy.spec.network.never
    items: list[tuple[tuple[str, ...], int, Flow | Denial]] = [(FLOWS, *pair) for pair in enumerate(flows)]
    items += [(DENIALS, *pair) for pair in enumerate(denials)]
    for path, index, item in items:
        for field, selector, sets in (("from", item.from_, sources), ("to", item.to, targets)):
            if selector and is_known(selector) and sets and not any(matches(selector, labels) for labels in sets):
                yield _selects_nothing(policy, item, (*path, index, field), selector, sets)


def _selects_nothing(
    policy: Declaration,
    item: Flow | Denial,
    path: tuple[str | int, ...],
    selector: Mapping[str, str],
    sets: list[Mapping[str, str]],
) -> Diagnostic:
    key, slip = fleet.selector_slip(selector, sets)
    known = any(key in labels for labels in sets)
    where = policy.value(*path) if not key else policy.value(*path, key) if known else policy.key(*path, key)
    return Diagnostic(
        NO_NODE,
        f"`{path[-1]}` of the flow `{item.name}` selects no machine, so the flow allows nothing"
        if isinstance(item, Flow)
        else f"`{path[-1]}` of `{item.name}` under `never` selects no machine, so it rules nothing out",
        where,
        label="no machine has this",
        help=slip,
        severity=Severity.WARNING,
    )
