"""Blocks of a mesh's networks that nodes of one region have their addresses from. Pure.

A gateway is told where the nodes of another region are. Where these have whole blocks to themselves it is told the
blocks, and a node that comes or goes changes nothing for it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from swarmctl.mesh import spans

BITS = 8
"""A network has 256 blocks, so that many regions fit and few nodes need more than one; a /16 has blocks of 256."""
LEAST_BITS = 2
"""A block has at least four addresses."""
_MIXED = "\0"
"""In place of the region of a block that nodes of several have addresses of; no region is called so."""


def length(network: str) -> int:
    """The prefix length of a network's blocks."""
    net = ip_network(network)
    return max(net.prefixlen, min(net.prefixlen + BITS, net.max_prefixlen - LEAST_BITS))


def suggest(
    network: str, regions: Mapping[str, str], previous: Mapping[str, str], reserved: Iterable[str] = ()
) -> dict[str, str]:
    """`previous` with an address for every new node (`regions`: the region of each, by name) for which its region has
    a block, or finds one that is empty.

    Goes into `addresses.allocate` in place of `previous`, which finds a place for all others. A node's place in a
    block and a region's first block are what the hashes of their names point at, or the next that is free.
    """
    plan = _Plan(network, reserved)
    before = ((name, address) for name, address in sorted(previous.items()) if name in regions)
    found = {name: address for name, address in before if plan.keep(regions[name], address)}
    for name in sorted(regions.keys() - found.keys()):
        address = plan.place(name, regions[name])
        if address:
            found[name] = address
    return found


class _Plan:
    """Which addresses are taken, and whose the blocks are."""

    def __init__(self, network: str, reserved: Iterable[str]) -> None:
        net = ip_network(network)
        self.kind = type(net.network_address)
        self.version = net.version
        self.first = int(net.network_address)
        self.size = 1 << (net.max_prefixlen - length(network))
        self.count = net.num_addresses // self.size
        self.free = spans.free(network, reserved)
        self.starts = [first for first, _ in self.free]
        self.taken: set[int] = set()
        self.owner: dict[int, str] = {}
        self.blocks: dict[str, list[int]] = {}
        self.full: set[int] = set()

    def keep(self, region: str, address: str) -> bool:
        """Whether a node of the region can go on having this address."""
        known = ip_address(address)
        number, block = int(known), (int(known) - self.first) // self.size
        if known.version != self.version or number in self.taken or not self._usable(number):
            return False
        self.taken.add(number)
        owner = self.owner.setdefault(block, region)
        if owner == region:
            if block not in self.blocks.setdefault(region, []):
                self.blocks[region].append(block)
        elif owner != _MIXED:
            self.owner[block] = _MIXED
            self.blocks[owner].remove(block)
        return True

    def place(self, name: str, region: str) -> str:
        """An address for a new node; empty when neither a block of its region nor an empty one has one left."""
        for block in self.blocks.setdefault(region, []):
            if block not in self.full and (found := self._within(block, name)):
                return found
        start = _hash(region) % self.count
        for step in range(self.count):
            block = (start + step) % self.count
            if block not in self.owner and block not in self.full and (found := self._within(block, name)):
                self.owner[block] = region
                self.blocks[region].append(block)
                return found
        return ""

    def _within(self, block: int, name: str) -> str:
        first, start = self.first + block * self.size, _hash(name) % self.size
        for step in range(self.size):
            number = first + (start + step) % self.size
            if number not in self.taken and self._usable(number):
                self.taken.add(number)
                return str(self.kind(number))
        self.full.add(block)
        return ""

    def _usable(self, number: int) -> bool:
        place = bisect_right(self.starts, number) - 1
        return place >= 0 and number <= self.free[place][1]


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=16).digest(), "big")


class Homes:
    """Which blocks nodes of one region alone have addresses of; `members`: region and addresses of each node."""

    def __init__(self, cidrs: Iterable[str], members: Iterable[tuple[str, tuple[str, ...]]]) -> None:
        networks = [ip_network(cidr) for cidr in cidrs]
        self._known: dict[int, tuple[int, int]] = {
            net.version: (int(net.network_address), net.max_prefixlen - length(str(net))) for net in networks
        }
        self._lengths: dict[int, int] = {net.version: length(str(net)) for net in networks}
        self._kinds: dict[int, type[IPv4Address] | type[IPv6Address]] = {
            net.version: type(net.network_address) for net in networks
        }
        self._blocks: dict[str, tuple[int, int]] = {}
        self._owner: dict[tuple[int, int], str] = {}
        for region, addresses in members:
            for address in addresses:
                block = self._block(address)
                if self._owner.setdefault(block, region) != region:
                    self._owner[block] = _MIXED

    def network(self, region: str, address: str) -> str:
        """The block that the address of a node of the region is in; empty when others have addresses of it, too."""
        block = self._block(address)
        if self._owner.get(block) != region:
            return ""
        version, number = block
        first, bits = self._known[version]
        return f"{self._kinds[version](first + (number << bits))}/{self._lengths[version]}"

    def _block(self, address: str) -> tuple[int, int]:
        found = self._blocks.get(address)
        if found is None:
            known = ip_address(address)
            first, bits = self._known[known.version]
            found = self._blocks[address] = known.version, (int(known) - first) >> bits
        return found
