"""What must hold for host baselines beyond their schema, by topic; `check` is what the kind names as its rules."""

from __future__ import annotations

from collections.abc import Iterator

from swarmctl.declarations import fleet
from swarmctl.declarations.declaration import Inventory
from swarmctl.diagnostics import Diagnostic
from swarmctl.kinds.host_baseline.rules import kernel, lab, mounts, nodes, owners, packages, time, twins, users


def check(inventory: Inventory) -> Iterator[Diagnostic]:
    """Every mistake in the host baselines of the stack."""
    for baseline in inventory.of("HostBaseline"):
        yield from nodes.sets_nothing(baseline)
        yield from packages.check(baseline)
        yield from kernel.check(baseline)
        yield from twins.check(baseline)
        yield from users.check(baseline)
        yield from mounts.check(baseline)
        yield from time.check(baseline)
        if inventory.knows(fleet.POOL, "Stack"):
            yield from nodes.selects(inventory, baseline)
            yield from users.of_login(inventory, baseline)
            yield from packages.of_drivers(inventory, baseline)
            yield from lab.check(inventory, baseline)
    if inventory.knows(fleet.POOL, "Stack"):
        yield from owners.check(inventory)
        yield from twins.between(inventory)
        yield from mounts.between(inventory)
