"""MIG: cards are divided while nothing has them open, and put together again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swarmctl.backends.reboot import CannotReboot, reboot
from swarmctl.kinds.node_pool.accelerators import at_start, scripts
from swarmctl.kinds.node_pool.accelerators.errors import DriverUnverified, DriverWaits
from swarmctl.kinds.node_pool.accelerators.machine import RESTART, Machine
from swarmctl.kinds.node_pool.accelerators.services import CLIENTS


def is_otherwise(machine: Machine, inputs: Mapping[str, Any]) -> bool:
    """Whether the cards have other instances than declared."""
    seen = machine.seen()
    return bool(seen.cards) and {card: dict(profiles) for card, profiles in seen.instances.items()} != inputs["mig"]


def divide(machine: Machine, inputs: Mapping[str, Any], mig: Mapping[str, Mapping[str, int]]) -> None:
    """Divide the cards while no daemon has one open: a card in use is not reset, and without that MIG is not set. Cards
    that `mig` does not name become whole.

    Where cards take their mode only by a restart, the machine restarts, once for all of them. Raises DriverUnverified,
    DriverWaits, CommandFailed and what `reboot` raises.
    """
    if _set(machine, inputs, mig):
        try:
            reboot(machine.host, timeout=RESTART)
        except CannotReboot as error:
            raise DriverWaits(
                f"{machine.name}: MIG is not set before a restart, and {error.message.removeprefix('and ')}",
                "restart it, then apply again: it goes on from there",
            ) from None
        machine.changed()
        if waiting := _set(machine, inputs, mig):
            raise DriverUnverified(
                f"{machine.name}: MIG is not set on {', '.join(waiting)}, after a restart neither",
                "see what `nvidia-smi -q -d MIG` says there",
            )
    if inputs["cdi"]:
        machine.script(machine.vendor.cdi())


def _set(machine: Machine, inputs: Mapping[str, Any], mig: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Returns the cards whose mode waits for a restart; then none is divided."""
    machine.script(at_start.END)
    seen, units = machine.seen(), inputs["services"]
    if seen.startup and at_start.wrong(seen.startup, inputs["mig"]):
        # A mode may wait for a restart, by us or by somebody else. The old layout would be set then, and the new mode
        # would wait again, for ever. The unit comes back with the new layout when the cards have it.
        machine.script(at_start.remove())
    cards = sorted({*(card.pci for card in seen.cards if card.mig), *seen.instances, *mig})
    machine.start([unit for unit in units if unit not in CLIENTS])  # and stop the others
    try:
        said = machine.script(scripts.divide(mig, cards), timeout=300).text.split()
        return [card for card in cards if card in said]
    finally:
        machine.start(units)
