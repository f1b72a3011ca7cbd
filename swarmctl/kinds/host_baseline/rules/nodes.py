"""Baselines that set nothing, or select no machine."""

from __future__ import annotations

from collections.abc import Iterator

from swarmctl.declarations import fleet
from swarmctl.declarations.declaration import Declaration, Inventory, Unknown, is_known
from swarmctl.diagnostics import Code, Diagnostic, Severity
from swarmctl.mesh.selectors import matches

NO_NODE = Code(
    "SW3701",
    "host baseline that selects no machine",
    """No machine has the labels, so the baseline sets nothing. Most often a label is misspelt. A warning: the machines
may come later.

Wrong: `nodes: {rol: worker}` where the pools have `labels: {role: worker}`

Right: `nodes: {role: worker}`
""",
)
NOTHING = Code(
    "SW3702",
    "host baseline that sets nothing",
    """An aspect that is left out is left as the machine has it. With all of them left out nothing is set. A warning:
they may come later.

Wrong: `spec: {nodes: {}}`

Right: `spec: {nodes: {}, securityUpgrades: {}}`
""",
)


def sets_nothing(baseline: Declaration) -> Iterator[Diagnostic]:
    """Warn about baselines without an aspect."""
    spec = baseline.spec
    some = spec.packages or spec.sysctl or spec.users or spec.mounts
    if some or any(one is not None for one in (spec.kernel, spec.time_sync, spec.security_upgrades, spec.swap)):
        return
    if not isinstance(baseline.name, Unknown):
        yield Diagnostic(
            NOTHING,
            f"the HostBaseline `{baseline.name}` sets nothing",
            baseline.value("metadata", "name"),
            label="no aspect is declared",
            help="declare one, such as `securityUpgrades: {}`, or remove the HostBaseline",
            severity=Severity.WARNING,
        )


def selects(inventory: Inventory, baseline: Declaration) -> Iterator[Diagnostic]:
    """Warn about selectors that take no machine, nor one of a pool scaled to 0."""
    selector = baseline.spec.nodes
    sets = fleet.label_sets(inventory, {fleet.cluster_of(pool, inventory) for pool in inventory.of(fleet.POOL)})
    if not (selector and sets and is_known(selector)) or any(matches(selector, labels) for labels in sets):
        return
    key, slip = fleet.selector_slip(selector, sets)
    known = any(key in labels for labels in sets)
    at = ("spec", "nodes", key) if key else ("spec", "nodes")
    yield Diagnostic(
        NO_NODE,
        f"`nodes` of the HostBaseline `{baseline.name}` selects no machine, so it sets nothing",
        baseline.value(*at) if known or not key else baseline.key(*at),
        label="no machine has this",
        help=slip,
        severity=Severity.WARNING,
    )


def selected(inventory: Inventory, baseline: Declaration) -> list[fleet.Node]:
    """The declared machines that it takes."""
    if not is_known(baseline.spec.nodes):
        return []
    return [node for node in fleet.nodes(inventory) if matches(baseline.spec.nodes, node.labels)]
