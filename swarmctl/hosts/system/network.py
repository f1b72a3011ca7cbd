"""Network interfaces and what device is behind each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_interface
from typing import Any

from swarmctl.hosts.system.model import Nic
from swarmctl.hosts.system.text import MUCH, TooMany, bounded, items, name, number, pci_address, rows, whole

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5,19}")
_LINK = re.compile(r"[^\s/:\x00-\x1f\x7f]{1,15}")
"""What the kernel takes as the name of an interface; shown only as far as it is printable."""
_INTERFACES = "network interfaces"
_ADDRESSES = 256
"""Of one interface that are taken."""


def nics(parts: Mapping[str, str]) -> tuple[Nic, ...] | None:
    """From `ip -d -j address`, and from sysfs what that does not tell; None where neither told.

    In a network namespace sysfs may show another one's interfaces: only what has the same hardware address counts.
    Raises TooMany.
    """
    behind = {row[0]: row for row in rows(parts["net"], 7)}
    listed = items(parts["link"])
    if listed is None:
        if len(parts["link"].encode()) >= MUCH:
            raise TooMany(f"what `ip address` prints in more than {MUCH >> 20} MiB")
        bounded(parts["net"], _INTERFACES)
        found = [nic for row in behind.values() if (nic := _from_sysfs(row)) is not None]
        return tuple(sorted(found, key=lambda nic: nic.name)) if behind else None
    found = [nic for one in whole(listed, _INTERFACES) if (nic := _listed(one, behind)) is not None]
    return tuple(sorted(found, key=lambda nic: nic.name))


def addresses(parts: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Interface → its addresses but link-local ones; without the loopback."""
    found = {}
    for one in items(parts["link"]) or ():
        link = _link(one.get("ifname"))
        there = one.get("addr_info")
        if link and isinstance(there, list) and (mine := tuple(_addresses(there))) and not _loops(one):
            found[link] = mine
    return found


def _addresses(there: Sequence[Any]) -> Iterator[str]:
    for one in there[:_ADDRESSES]:
        if not isinstance(one, dict) or one.get("scope") in ("link", "host"):
            continue
        length = number(one.get("prefixlen"))
        try:
            yield str(ip_interface(f"{one.get('local')}/{length}"))
        except ValueError:
            continue


def _listed(one: Mapping[str, Any], behind: Mapping[str, Sequence[str]]) -> Nic | None:
    link, mtu = _link(one.get("ifname")), number(one.get("mtu"))
    if not link or mtu is None or _loops(one):
        return None
    mac, flags, info = _mac(one.get("address")), one.get("flags"), one.get("linkinfo")
    kind = name(info.get("info_kind")) if isinstance(info, dict) else ""
    up = isinstance(flags, list) and "UP" in flags
    row = behind.get(link, ())
    if not row or _mac(row[1]) != mac:
        return Nic(link, mac, up, mtu, kind)
    return Nic(link, mac, up, mtu, kind, _speed(row[4]), name(row[5]), pci_address(row[6]))


def _from_sysfs(row: Sequence[str]) -> Nic | None:
    link, mac, state, mtu, speed, driver, device = row
    bytes_ = number(mtu)
    if not _link(link) or bytes_ is None or link == "lo":
        return None
    return Nic(
        link, _mac(mac), state == "up", bytes_, speed=_speed(speed), driver=name(driver), pci=pci_address(device)
    )


def _loops(one: Mapping[str, Any]) -> bool:
    return one.get("link_type") == "loopback"


def _link(value: object) -> str:
    return value if isinstance(value, str) and value.isprintable() and _LINK.fullmatch(value) else ""


def _mac(value: object) -> str:
    return value if isinstance(value, str) and _MAC.fullmatch(value) else ""


def _speed(text: str) -> int | None:
    # Without a link it is -1, or 4294967295 in old kernels.
    speed = number(text)
    return speed if speed and speed < 2**31 else None
