"""The address plan: which node has which address of a network, and keeps it while others come and go. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from swarmctl.errors import SwarmError

Address = IPv4Address | IPv6Address


class Exhausted(SwarmError):
    """A network has fewer addresses than nodes."""


def capacity(network: str) -> int:
    """How many nodes fit into `network`: all addresses but those that the protocol keeps for itself."""
    first, last = _usable(network)
    return last - first + 1


def allocate(network: str, names: Iterable[str], previous: Mapping[str, str]) -> dict[str, str]:
    """One address of `network` for each of `names`, without prefix length.

    A name keeps its address in `previous` as long as that is usable and nobody else's. A new name takes the slot
    that its own hash points at, or the next free one after it: so the plan depends little on the order in which
    nodes came, and even a lost state brings most of them back to where they were.
    Raises Exhausted when there are more names than addresses.
    """
    first, last = _usable(network)
    size = last - first + 1
    wanted = sorted(set(names))
    if len(wanted) > size:
        raise Exhausted(
            f"{network} has {size} usable addresses and {len(wanted)} nodes need one",
            "widen the network or declare fewer nodes",
        )
    version = ip_network(network).version
    taken: set[int] = set()
    chosen: dict[str, int] = {}
    for name in wanted:
        kept = _number(previous.get(name, ""), version)
        if kept is not None and first <= kept <= last and kept not in taken:
            chosen[name] = kept
            taken.add(kept)
    for name in wanted:
        if name not in chosen:
            slot = int.from_bytes(blake2b(name.encode(), digest_size=16).digest(), "big") % size
            while first + slot in taken:
                slot = (slot + 1) % size
            chosen[name] = first + slot
            taken.add(first + slot)
    kind = IPv4Address if version == 4 else IPv6Address
    return {name: str(kind(chosen[name])) for name in wanted}


def _usable(network: str) -> tuple[int, int]:
    """First and last usable address as numbers."""
    net = ip_network(network)
    first, last = int(net.network_address), int(net.broadcast_address)
    if net.version == 4 and net.prefixlen < 31:  # RFC 3021: a /31 has neither network nor broadcast address
        return first + 1, last - 1
    if net.version == 6 and net.prefixlen < 127:  # RFC 4291, 2.6.1: the first is every subnet router's anycast
        return first + 1, last
    return first, last


def _number(text: str, version: int) -> int | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return int(address) if address.version == version else None
