"""PCI devices of a host, from what `lspci -nn -D` prints or from sysfs. Pure.

What a host prints is untrusted: a line that neither can have written is left out. Names are not taken at all; a card is
known by its numbers. Who reads a host bounds how much it may tell; nothing is cut here, where half of the cards would
look like all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from swarmctl.gpu.model import Device

LONGEST = 1024
"""Characters of a line; `lspci` prints a hundred or two."""
ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]")
"""Domain, bus, device and function, as the kernel writes them."""
LINE = re.compile(
    rf"(?P<address>{ADDRESS.pattern}) [^\[\]]+ \[(?P<kind>[0-9a-f]{{4}})\]: "
    r".*\[(?P<vendor>[0-9a-f]{4}):(?P<device>[0-9a-f]{4})\](?: \(.*\))?"
)
"""One device as `lspci -nn -D` prints it (pciutils 3.9): address, class, name, ids, then revision and the like."""


def from_lspci(text: str) -> tuple[Device, ...]:
    """Devices of `lspci -nn -D`, by address; of an address that is there twice the first."""
    found: dict[str, Device] = {}
    for line in text.splitlines():
        match = LINE.fullmatch(line) if len(line) <= LONGEST else None
        if match is not None:
            device = Device(match["address"], match["vendor"], match["device"], match["kind"])
            found.setdefault(device.address, device)
    return tuple(sorted(found.values()))


def silent(text: str) -> frozenset[str]:
    """Addresses of those of `lspci -nn -D` that answer nothing: all of their configuration reads as ones."""
    lines = (line for line in text.splitlines() if len(line) <= LONGEST and line.endswith("(rev ff)"))
    return frozenset(match["address"] for line in lines if (match := LINE.fullmatch(line)))


def from_sysfs(entries: Mapping[str, Mapping[str, str]]) -> tuple[Device, ...]:
    """Devices of `/sys/bus/pci/devices`, by address: for each folder its files `vendor`, `device` and `class`."""
    found = []
    for address, files in sorted(entries.items()):
        vendor, device, kind = (_number(files.get(name, ""), digits) for name, digits in SYSFS)
        if ADDRESS.fullmatch(address) and vendor and device and kind:
            found.append(Device(address, vendor, device, kind[:4]))
    return tuple(found)


SYSFS = (("vendor", 4), ("device", 4), ("class", 6))
"""Files of a device in sysfs, and how many digits each has; the last two of the class are the programming interface."""


def _number(text: str, digits: int) -> str:
    match = re.fullmatch(r"0x([0-9a-f]+)", text.removesuffix("\n")) if len(text) <= digits + 3 else None
    return match[1] if match is not None and len(match[1]) == digits else ""
