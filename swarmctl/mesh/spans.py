"""Ranges of addresses: as they are declared, and what of a network machines can have. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network


class Span:
    """Addresses of one family from the first to the last, both included; `text` is how it was written."""

    __slots__ = ("first", "last", "text", "version")

    def __init__(self, text: str) -> None:
        """`10.88.0.0/24`, `10.88.9.1-10.88.9.20` or a single address.

        Raises ValueError for what is none of these, has bits set beyond its prefix, mixes families, or ends before it
        begins.
        """
        self.text = text
        low, dash, high = text.partition("-")
        if dash:
            first, last = ip_address(low.strip()), ip_address(high.strip())
            if first.version != last.version:
                raise ValueError("both ends must be of one family")
            if int(last) < int(first):
                raise ValueError("it ends before it begins")
            self.version, self.first, self.last = first.version, int(first), int(last)
        else:
            network = ip_network(text)
            self.version = network.version
            self.first, self.last = int(network.network_address), int(network.broadcast_address)

    def overlaps(self, other: Span) -> bool:
        """Whether they have an address in common."""
        return self.version == other.version and self.first <= other.last and other.first <= self.last

    def within(self, other: Span) -> bool:
        """Whether all of it is in `other`."""
        return self.version == other.version and other.first <= self.first and self.last <= other.last

    def __contains__(self, address: str) -> bool:
        found = ip_address(address)
        return found.version == self.version and self.first <= int(found) <= self.last


def capacity(network: str, reserved: Iterable[str] = ()) -> int:
    """How many nodes fit into `network`: all addresses but those that are reserved or kept by the protocol itself."""
    return sum(last - first + 1 for first, last in free(network, reserved))


def free(network: str, reserved: Iterable[str]) -> list[tuple[int, int]]:
    """The usable addresses as runs of numbers, first and last, in order."""
    first, last = usable(network)
    version = ip_network(network).version
    spans = sorted((span.first, span.last) for span in map(Span, reserved) if span.version == version)
    free = []
    for low, high in spans:
        if first <= min(low - 1, last):
            free.append((first, min(low - 1, last)))
        first = max(first, high + 1)
    if first <= last:
        free.append((first, last))
    return free


def usable(network: str) -> tuple[int, int]:
    """First and last usable address as numbers."""
    net = ip_network(network)
    first, last = int(net.network_address), int(net.broadcast_address)
    if net.version == 4 and net.prefixlen < 31:  # RFC 3021: a /31 has neither network nor broadcast address
        return first + 1, last - 1
    if net.version == 6 and net.prefixlen < 127:  # RFC 4291, 2.6.1: the first is every subnet router's anycast
        return first + 1, last
    return first, last
