"""PCI devices, the IOMMU groups they are in, and the modules that drive them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from swarmctl.gpu import pci
from swarmctl.gpu.model import Device
from swarmctl.hosts.system.model import Iommu
from swarmctl.hosts.system.text import MUCH, TooMany, bounded, name, number, pci_address, rows, words

MELLANOX = "15b3"
_MODULE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VERSION = re.compile(rf"/sys/module/({_MODULE.pattern})/version:(.*)")
DEVICES = "PCI devices"
_CUT_OFF = re.compile(r"(?m)^ended (?:124|137)$")
"""After `lspci`, when it did not end in time: some cards may be missing."""
NETWORK = "02"
"""Class of what is part of a network."""
_FOUND, _NOT_FOUND = "0", ("1", "none")
"""What grep ended with, or why nobody looked."""


def devices(parts: Mapping[str, str]) -> tuple[Device, ...] | None:
    """From `lspci -nn -D` where it told of any and came to its end, or else from sysfs; None where neither told.

    Raises TooMany.
    """
    said = parts["lspci"]
    if len(said.encode()) >= MUCH:
        raise TooMany(f"what `lspci` prints in more than {MUCH >> 20} MiB")
    bounded(said, DEVICES)
    if not _CUT_OFF.search(said) and (listed := pci.from_lspci(said)):
        return listed
    if not parts["pci"].strip():
        return None
    bounded(parts["pci"], DEVICES, heading=1)
    return pci.from_sysfs(
        {row[0]: dict(zip(("vendor", "device", "class"), row[1:], strict=True)) for row in rows(parts["pci"], 4)}
    )


def answering(
    parts: Mapping[str, str], found: tuple[Device, ...] | None
) -> tuple[tuple[Device, ...] | None, tuple[Device, ...]]:
    """Those that are there, and those that are only listed still: they have left the bus, and answer nothing.

    By their configuration space, or by lspci, whose older versions read the revision from it.
    """
    if found is None:
        return None, ()
    silent = {*parts.get("gone", "").splitlines(), *pci.silent(parts["lspci"])}
    gone = tuple(device for device in found if device.address in silent)
    return (tuple(device for device in found if device.address not in silent) if gone else found), gone


def switch_management(parts: Mapping[str, str], found: tuple[Device, ...] | None) -> bool | None:
    """Whether a Mellanox card leads to NVLink's switches; None where the VPD of one was not read and none says so."""
    if found is None:
        return None
    said = dict(rows(parts["switches"], 2))
    cards = [device for device in found if device.vendor == MELLANOX and device.kind.startswith(NETWORK)]
    there = [said.get(card.address) for card in cards]
    if _FOUND in there:
        return True
    return False if all(one in _NOT_FOUND for one in there) else None


def modules(parts: Mapping[str, str]) -> dict[str, str] | None:
    """Loaded modules → their versions; of what can be built into the kernel also that. None where it was not told.
    Raises TooMany."""
    lines = parts["modules"].splitlines()
    builtin = [one for one in parts["builtin"].splitlines() if _MODULE.fullmatch(one)]
    versions = {match[1]: words(match[2]) for match in map(_VERSION.fullmatch, parts["versions"].splitlines()) if match}
    if lines[:1] != ["there"]:
        return None
    bounded(parts["modules"], "kernel modules", heading=1)
    loaded = [one for one in lines[1:] if _MODULE.fullmatch(one)]
    return {one: versions.get(one, "") for one in sorted({*loaded, *builtin})}


def nvidia_module(parts: Mapping[str, str]) -> str | None:
    """`open` or `proprietary`, from the first line of /proc/driver/nvidia/version; None without it."""
    first = parts["nvidia"].partition("\n")[0]
    if not first.startswith("NVRM version: "):
        return None
    return "open" if "Open Kernel Module" in first else "proprietary"


def iommu(parts: Mapping[str, str]) -> Iommu | None:
    """From sysfs; None where it could not be looked at. Raises TooMany."""
    lines = parts["iommu"].splitlines()
    if lines[:1] != ["there"]:
        return None
    groups: dict[str, int] = {}
    bounded(parts["groups"], "devices in IOMMU groups")
    for line in parts["groups"].splitlines():
        group, _, address = line.partition("/devices/")
        if pci_address(address) and (which := number(group)) is not None:
            groups.setdefault(address, which)
    modes = tuple(one for one in parts["modes"].splitlines() if name(one))
    return Iommu(tuple(one for one in lines[1:] if name(one)), groups, modes[:8])
