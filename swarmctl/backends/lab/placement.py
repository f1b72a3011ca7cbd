"""Which machines a pool gets and where they stand: pure, stable when others come and go.

A region has one /22 of the underlay, chosen by its name; a node has one address in it, chosen by its own name. Where
two want the same place the one in the state keeps it, and a new one takes the next that is free.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Interface, IPv4Network
from typing import Any

from swarmctl.backends.base import Placement, PoolRequest
from swarmctl.backends.lab.spec import UNDERLAY, LabSpec
from swarmctl.errors import SwarmError

REGION_PREFIX = 22
"""1,021 machines: a Linux bridge has 1,024 ports."""
MTU = 1500
_UNDERLAY = IPv4Network(UNDERLAY[0])
REGIONS = 1 << (REGION_PREFIX - _UNDERLAY.prefixlen)
MACHINES = (1 << (32 - REGION_PREFIX)) - 3
"""Per region: without the network's address, the gateway's and the broadcast address."""


class LabFull(SwarmError):
    """More regions or machines are declared than the underlay has places for."""


def place(stack: str, pools: Sequence[PoolRequest], previous: Mapping[str, Mapping[str, Any]]) -> list[Placement]:
    """Every machine of every pool. Raises `LabFull`."""
    wanted = [(pool, *member) for pool in pools for member in _members(pool)]
    subnets = _subnets({pool.region for pool in pools}, previous)
    kept: dict[str, int] = {}
    taken: dict[str, set[int]] = {region: set() for region in subnets}
    for pool, _, name, _ in sorted(wanted, key=lambda item: item[2]):
        slot = _slot_before(previous.get(name), pool.region, subnets[pool.region])
        if slot is not None and slot not in taken[pool.region]:
            kept[name] = slot
            taken[pool.region].add(slot)
    for pool, _, name, _ in sorted(wanted, key=lambda item: item[2]):
        if name not in kept:
            kept[name] = _free(name, MACHINES, taken[pool.region], f"machines in region {pool.region!r}")
            taken[pool.region].add(kept[name])
    return [
        _placement(stack, pool, key, name, labels, subnets[pool.region], kept[name])
        for pool, key, name, labels in wanted
    ]


def _members(pool: PoolRequest) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """Key, node name and labels of each machine of a pool."""
    spec: LabSpec = pool.spec
    for ordinal in range(spec.count or 0):
        key = str(ordinal)
        yield key, pool.names.get(key, f"{pool.pool}-{ordinal}"), pool.labels
    for host in spec.hosts or ():
        yield host.name, pool.names.get(host.name, host.name), {**pool.labels, **host.labels}


def _subnets(regions: set[str], previous: Mapping[str, Mapping[str, Any]]) -> dict[str, IPv4Network]:
    """The network of each region. Regions of machines that are in the state come first, gone ones included: until
    they are deleted their addresses are in use."""
    slots: dict[str, int] = {}
    taken: set[int] = set()
    for inputs in sorted(previous.values(), key=lambda inputs: (str(inputs.get("region")), str(inputs.get("address")))):
        region, interface = str(inputs.get("region", "")), _interface(inputs)
        if interface is None or region in slots:
            continue
        slot = (int(interface.network.network_address) - int(_UNDERLAY.network_address)) >> (32 - REGION_PREFIX)
        if slot not in taken:
            slots[region] = slot
            taken.add(slot)
    for region in sorted(regions - slots.keys()):
        slots[region] = _free(region, REGIONS, taken, "regions in the lab")
        taken.add(slots[region])
    base = int(_UNDERLAY.network_address)
    return {
        region: IPv4Network((base + (slot << (32 - REGION_PREFIX)), REGION_PREFIX)) for region, slot in slots.items()
    }


def _interface(inputs: Mapping[str, Any]) -> IPv4Interface | None:
    """The address in the state, None when it isn't one of this underlay."""
    try:
        interface = IPv4Interface(str(inputs.get("address", "")))
    except ValueError:
        return None
    fits = interface.network.prefixlen == REGION_PREFIX and interface.network.subnet_of(_UNDERLAY)
    return interface if fits else None


def _slot_before(inputs: Mapping[str, Any] | None, region: str, subnet: IPv4Network) -> int | None:
    if inputs is None or inputs.get("region") != region:
        return None
    interface = _interface(inputs)
    if interface is None or interface.network != subnet:
        return None
    slot = int(interface.ip) - int(subnet.network_address) - 2
    return slot if 0 <= slot < MACHINES else None


def _free(name: str, size: int, taken: set[int], what: str) -> int:
    """The place that the name prefers, or the next free one."""
    if len(taken) >= size:
        raise LabFull(f"there is no room for more than {size} {what}", "use fewer of them, or a second stack")
    slot = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % size
    while slot in taken:
        slot = (slot + 1) % size
    return slot


def _placement(
    stack: str, pool: PoolRequest, key: str, name: str, labels: Mapping[str, str], subnet: IPv4Network, slot: int
) -> Placement:
    address = subnet.network_address + 2 + slot
    host = {"backend": "lab", "stack": stack, "node": name}
    inputs: dict[str, Any] = {
        "backend": "lab",
        "host": host,
        "node": name,
        "region": pool.region,
        "address": f"{address}/{REGION_PREFIX}",
        "gateway": str(subnet.network_address + 1),
        "mtu": MTU,
    }
    resources = {name: value for name, value in pool.resources.items() if value is not None}
    if resources:
        inputs["resources"] = resources
    return Placement(pool.pool, key, name, labels, inputs, (str(address),), host)
