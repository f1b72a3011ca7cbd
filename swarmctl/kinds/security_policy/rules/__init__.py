"""What must hold for security policies beyond their schema, by topic; `check` is what the kind names as its rules."""

from __future__ import annotations

from collections.abc import Iterator

from swarmctl.declarations import fleet
from swarmctl.declarations.declaration import Inventory
from swarmctl.diagnostics import Diagnostic
from swarmctl.kinds.security_policy.rules import denials, grants, names, overlaps, ports, selectors, wireguard
from swarmctl.kinds.security_policy.spec import Flow


def check(inventory: Inventory) -> Iterator[Diagnostic]:
    """Every mistake in the security policies of the stack."""
    for policy in inventory.of("SecurityPolicy"):
        flows: list[Flow] = policy.spec.network.flows
        yield from names.check(policy)
        yield from ports.check(policy)
        yield from grants.check(policy)
        yield from overlaps.check(policy, flows)
        yield from wireguard.check(inventory, policy, flows)
        if inventory.knows("Cluster", fleet.POOL, "Stack"):
            yield from selectors.check(inventory, policy)
            yield from denials.check(inventory, policy)
