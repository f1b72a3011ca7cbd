"""Facts of one machine in few words; what is not known is said to be `unknown`, never left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from swarmctl.gpu.catalogue import Card
from swarmctl.hosts.system import Clock, Disk, SystemFacts, Virtualisation
from swarmctl.operations.facts import NodeFacts, accelerators
from swarmctl.reports.console import amount

UNKNOWN = "unknown"
NONE = "none"
RELEVANT = (
    *("nvidia", "nvidia_uvm", "nvidia_drm", "nvidia_modeset", "nvidia_peermem", "nouveau", "amdgpu"),
    *("mlx5_core", "ib_core", "ib_umad", "gdrdrv", "vfio_pci", "wireguard", "nf_tables"),
)
"""Modules that matter to accelerators and to a mesh; a table of them has room for no others."""


def size(bytes_: int | None) -> str:
    """`2.0 TiB`, `960 GiB`."""
    if bytes_ is None:
        return UNKNOWN
    value, units = float(bytes_), ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.0f} {units[0]}" if value >= 100 or units[0] == "B" else f"{value:.1f} {units[0]}"


def speed(mbits: int | None) -> str:
    """`400 Gb/s`, `100 Mb/s`; empty without a link."""
    if mbits is None:
        return ""
    return f"{mbits / 1000:g} Gb/s" if mbits >= 1000 else f"{mbits} Mb/s"


def yes(value: bool | None, on: str = "on", off: str = "off") -> str:
    """One of three words."""
    return UNKNOWN if value is None else on if value else off


def system(found: SystemFacts) -> str:
    """`ubuntu 24.04`."""
    return " ".join(part for part in (found.os.id, found.os.version_id or found.os.codename) if part) or UNKNOWN


def processors(found: SystemFacts) -> str:
    """`112 cores`, or threads where cores are not known."""
    cpu = found.cpu
    if cpu.cores is not None:
        return amount(cpu.cores, "core")
    return UNKNOWN if cpu.threads is None else amount(cpu.threads, "thread")


def counted(items: Iterable[str]) -> str:
    """`8 × 3.5 TiB, 2 × 447 GiB`, in the order in which they come."""
    return ", ".join(f"{number} × {item}" if number > 1 else item for item, number in Counter(items).items())


def disks(found: tuple[Disk, ...] | None) -> str:
    """All of them by size."""
    if found is None:
        return UNKNOWN
    return counted(size(disk.size) for disk in sorted(found, key=lambda disk: -disk.size)) or NONE


def network(found: SystemFacts) -> str:
    """Interfaces with a device behind them by speed; where there is none, as in a container, the virtual ones that
    have a speed."""
    if found.nics is None:
        return UNKNOWN
    there = sorted(found.nics, key=lambda nic: -(nic.speed or 0))
    real = counted(speed(nic.speed) or ("link" if nic.up else "no link") for nic in there if nic.driver or nic.pci)
    virtual = counted(speed(nic.speed) for nic in there if nic.speed)
    return real or (f"{virtual} (virtual)" if virtual else NONE)


def cards(found: SystemFacts) -> str:
    """`8 × H100 SXM5 80GB`."""
    if found.pci is None:
        return UNKNOWN
    there = accelerators(found)
    cards = counted(model(one.card) if one.card else f"{one.device.vendor}:{one.device.device}" for one in there)
    return (
        ", ".join(part for part in (cards, f"{len(found.gone)} gone from the bus" if found.gone else "") if part)
        or NONE
    )


def model(card: Card) -> str:
    """What all models that a PCI id can stand for have in common, such as `GH200`, or else all of them."""
    same = []
    for words in zip(*(one.split() for one in card.models), strict=False):
        if len(set(words)) > 1:
            break
        same.append(words[0])
    return " ".join(same) or card.name


def driver(found: SystemFacts) -> str:
    """What drives the cards now."""
    modules = found.modules
    if modules is None:
        return UNKNOWN
    if "nvidia" in modules:
        flavour = f", {found.nvidia_module} module" if found.nvidia_module else ""
        return f"nvidia {modules['nvidia'] or UNKNOWN}{flavour}"
    return next((f"{one} {modules[one]}".strip() for one in ("amdgpu", "nouveau") if one in modules), NONE)


def machine(found: Virtualisation) -> str:
    """What it is made of, and whether that is real."""
    what = " ".join(part for part in (found.vendor, found.product) if part)
    where = {None: "whether virtual is unknown", "none": "real hardware", "vm-other": "virtual"}.get(
        found.machine, f"virtual ({found.machine})"
    )
    inside = f"in a container ({found.container})" if found.container not in (None, NONE) else ""
    return ", ".join(part for part in (what, where, inside) if part)


def clock(found: Clock) -> str:
    """Whether it is kept, and by what."""
    state = yes(found.synchronised, "synchronised", "not synchronised")
    state = "synchronised or not is unknown" if found.synchronised is None else state
    return f"{state} ({', '.join(found.services)})" if found.services else state


def wrong_clock(node: NodeFacts) -> str:
    """`its clock is 3 days ahead of this computer's`; empty when it is right."""
    offset = node.offset
    if offset is None or not node.wrong_clock:
        return ""
    return f"its clock is {_span(abs(offset))} {'ahead of' if offset > 0 else 'behind'} this computer's"


def _span(seconds: int) -> str:
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return amount(seconds // length, unit)
    return amount(seconds, "second")


def tees(found: SystemFacts) -> str:
    """What confidential computing there is: of the processor, of the cards, and whether this is such a guest."""
    parts = []
    for name, one in found.tee.items():
        if one.enabled and name != "sgx":
            room = f" for {one.capacity} guests" if one.capacity else ""
            parts.append(f"{name.upper()} ready{room}")
        elif one.cpu:
            off = "" if one.enabled is None else ", off in this kernel"
            parts.append(f"{name.upper()} in the processor{off}")
    confidential = {model(one.card) for one in accelerators(found) if one.card and one.card.confidential}
    parts += [f"supported by {name}" for name in sorted(confidential)]
    if found.tee_guest:
        parts.append(f"this is a guest of {found.tee_guest.upper()}")
    unknown = all(one.cpu is None for one in found.tee.values())
    return ", ".join(parts) or (UNKNOWN if unknown else NONE)
