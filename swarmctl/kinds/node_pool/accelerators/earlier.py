"""Whether what was decided for a machine earlier shows that what is declared now is no mistake. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from swarmctl.gpu.catalogue import catalogue
from swarmctl.gpu.decide import decide
from swarmctl.gpu.model import Decision, Device, Host
from swarmctl.kinds.node_pool.accelerators import decision
from swarmctl.kinds.node_pool.accelerators.rules import wanted
from swarmctl.kinds.node_pool.accelerators.spec import Accelerator

UNTOLD = "os-unknown"
"""Which system the machine had is not recorded: whether there are packages for it follows from where they came from."""


def bears_out(before: Mapping[str, Any], items: Sequence[Accelerator]) -> bool:
    """Whether what the items of one vendor say fits the cards that a machine had when `before` was decided, and means
    the packages' source of then."""
    known = catalogue(items[0].vendor)
    ids = {card.name: number for number, card in known.cards.items()}
    had = before.get("cards") or {}
    if any(name not in ids for name in had.values()):
        return True  # decided by other tables: nothing is known that contradicts
    devices = tuple(Device(address, known.vendor, ids[name]) for address, name in sorted(had.items()))
    cpus = [known.architecture(known.cards[device.device]).cpu for device in devices]
    host = Host(devices, next((cpu for cpu in cpus if cpu), "x86_64"), os="", release="", secure_boot=False)
    outcome = decide(host, wanted(items))
    fits = isinstance(outcome, Decision) or all(refusal.code == UNTOLD for refusal in outcome)
    return fits and _same_source(before.get("repository") or {}, items[0])


def _same_source(repository: Mapping[str, Any], declared: Accelerator) -> bool:
    if declared.source == "distribution":
        return not repository
    mirror, vendor = declared.mirror, declared.vendor
    base = (mirror.url if mirror else decision.VENDORS[vendor]).rstrip("/")
    keys = {mirror.fingerprint} if mirror else {decision.FINGERPRINTS[vendor], decision.RPM_FINGERPRINT}
    return f"{repository.get('url', '')}/".startswith(f"{base}/") and repository.get("fingerprint") in keys
