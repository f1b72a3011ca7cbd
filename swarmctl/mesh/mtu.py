"""The MTU of a mesh, from the MTU of the links below it. Pure.

WireGuard adds an IP header (20 bytes, or 40 over IPv6), a UDP header (8) and its own of 32 to every packet. The mesh
carries what is left of the smallest link: of an overlay such as VXLAN less, of jumbo frames more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

OVERHEAD = {4: 60, 6: 80}
"""Bytes that WireGuard adds to a packet, by IP version of the underlay."""
LEAST_IPV6 = 1280
"""Bytes that every IPv6 link must carry (RFC 8200, 5)."""
MOST = 65455
"""With 80 bytes on top still an IP packet (RFC 791, RFC 8200: 16 bits of length)."""


@dataclass(frozen=True, slots=True)
class Mtu:
    """Largest packet on the mesh, in bytes, and the calculation as a clause."""

    value: int
    reason: str


def carried(underlay: Mapping[str, int], *, version: int, perhaps: bool = False) -> Mtu:
    """What the underlay carries: `underlay` has the MTU of every node's interface by name, `version` is 6 when a
    tunnel goes over IPv6, or may (`perhaps`) because a DNS name may lead there. Without nodes: what 1500 bytes carry.
    """
    least = min(underlay.values(), default=1500)
    value = min(least - OVERHEAD[version], MOST)
    whose = "of the underlay"
    if any(mtu != least for mtu in underlay.values()):
        whose = f"of the underlay of {min(name for name, mtu in underlay.items() if mtu == least)}, the least,"
    capped = f", at most {MOST}" if value < least - OVERHEAD[version] else ""
    where = f"over IPv{version}{', where a DNS name may lead' if perhaps else ''}"
    return Mtu(value, f"{least} {whose} less {OVERHEAD[version]} for WireGuard {where}{capped}")
