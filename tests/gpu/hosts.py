"""PCI facts of hosts. All of them are composed from published PCI ids; none was recorded on a machine."""

from __future__ import annotations

from swarmctl.gpu.catalogue import Card, Vendor, catalogue
from swarmctl.gpu.decide import decide
from swarmctl.gpu.model import Decision, Device, Host, Refusals, Wanted

IDS = {
    "V100": "1db5",
    "T4": "1eb8",
    "A100": "20b2",
    "A100 PCIe": "20b5",
    "A100 40GB": "20b0",
    "A30": "20b7",
    "L40S": "26b9",
    "H100": "2330",
    "H100 PCIe": "2331",
    "H200": "2335",
    "H200 NVL": "233b",
    "GH200": "2342",
    "B200": "2901",
    "B300": "3182",
    "GB200": "2941",
    "RTX PRO 6000": "2bb5",
    "A100 NVSwitch": "1af1",
    "H100 NVSwitch": "22a3",
}
"""NVIDIA's PCI device ids, as in pci.ids 2026.10.24."""
ALL: list[tuple[Vendor, str, Card]] = [
    (vendor, number, card) for vendor in ("nvidia", "amd") for number, card in catalogue(vendor).cards.items()
]
"""Every PCI id that the product knows."""


def devices(*names: str, vendor: str = "10de") -> tuple[Device, ...]:
    """Devices by name or PCI id, in this order on the bus."""
    found = []
    for number, name in enumerate(names):
        kind = "0680" if "NVSwitch" in name else "0302"
        found.append(Device(f"0000:{number + 0x10:02x}:00.0", vendor, IDS.get(name, name), kind))
    return tuple(found)


def host(
    *names: str,
    vendor: str = "10de",
    cpu: str = "x86_64",
    system: str = "ubuntu 24.04",
    secure_boot: bool | None = False,
    switch_management: bool | None = None,
    held: dict[str, str] | None = None,
) -> Host:
    """A host with these devices."""
    name, _, release = system.partition(" ")
    return Host(devices(*names, vendor=vendor), cpu, name, release, secure_boot, switch_management, held or {})


HGX_A100 = (*["A100"] * 8, *["A100 NVSwitch"] * 6)
HGX_H100 = (*["H100"] * 8, *["H100 NVSwitch"] * 4)
HGX_H200 = (*["H200"] * 8, *["H100 NVSwitch"] * 4)
HGX_B200 = ("B200",) * 8


def alone(vendor: Vendor, number: str, card: Card) -> Host:
    """A host with nothing but that one card, with the CPU that it comes with."""
    facts = catalogue(vendor)
    return host(number, vendor=facts.vendor, cpu=facts.architecture(card).cpu or "x86_64")


def decided(there: Host, wanted: Wanted) -> Decision:
    outcome = decide(there, wanted)
    assert isinstance(outcome, Decision), outcome
    return outcome


def refused(there: Host, wanted: Wanted) -> Refusals:
    outcome = decide(there, wanted)
    assert isinstance(outcome, tuple), outcome
    assert outcome
    return outcome
