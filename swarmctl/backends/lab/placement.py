"""Which machines a pool gets and where they stand: pure, stable when others come and go.

A region has one /22 of the underlay, chosen by its name; a node has one address in it, chosen by its own name. A pool
behind a router has a /22 of its own, and its router an address in the region's. Where two want the same place the one
in the state keeps it, and a new one takes the next that is free.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from swarmctl.backends.base import Placement, PoolRequest
from swarmctl.backends.lab.spec import UNDERLAY, LabSpec
from swarmctl.errors import SwarmError

REGION_PREFIX = 22
"""1,021 machines: a Linux bridge has 1,024 ports."""
_UNDERLAY = IPv4Network(UNDERLAY[0])
REGIONS = 1 << (REGION_PREFIX - _UNDERLAY.prefixlen)
MACHINES = (1 << (32 - REGION_PREFIX)) - 3
"""Per region: without the network's address, the gateway's and the broadcast address."""


@dataclass(frozen=True, slots=True)
class _Seat:
    """Something that needs an address: a machine, or the outer side of a pool's router."""

    name: str
    """Of the machine; `POOL/router` of a router."""
    network: tuple[str, str]
    """See `_network`."""
    before: str = ""
    """The address it had, with its prefix."""


class LabFull(SwarmError):
    """More regions or machines are declared than the underlay has places for."""


def place(stack: str, pools: Sequence[PoolRequest], previous: Mapping[str, Mapping[str, Any]]) -> list[Placement]:
    """Every machine of every pool. Raises `LabFull`."""
    wanted = [(pool, *member) for pool in pools for member in _members(pool)]
    subnets = _subnets(pools, {name: pool for pool, _, name, _ in wanted}, previous)
    seats = {
        name: _Seat(name, _network(pool), _before(previous.get(name), pool.region, "address"))
        for pool, _, name, _ in wanted
    }
    for pool in pools:
        if pool.spec.nat:
            names = sorted(name for _, name, _ in _members(pool))
            had = [_before(previous.get(name), pool.region, "router") for name in names]
            router = f"{pool.pool}/router"
            seats[router] = _Seat(router, (pool.region, ""), next(filter(None, had), ""))
    given = _seated(seats, subnets)
    return [_placement(stack, pool, key, name, labels, given) for pool, key, name, labels in wanted]


def _seated(
    seats: Mapping[str, _Seat], subnets: Mapping[tuple[str, str], IPv4Network]
) -> dict[str, tuple[IPv4Network, int]]:
    """Network and place of each. Raises `LabFull`."""
    kept: dict[str, int] = {}
    taken: dict[tuple[str, str], set[int]] = {network: set() for network in subnets}
    for name, seat in sorted(seats.items()):
        slot = _slot_before(seat.before, subnets[seat.network])
        if slot is not None and slot not in taken[seat.network]:
            kept[name] = slot
            taken[seat.network].add(slot)
    for name, seat in sorted(seats.items()):
        if name not in kept:
            region, pool = seat.network
            what = f"machines behind the router of {pool!r}" if pool else f"machines in region {region!r}"
            kept[name] = _free(name, MACHINES, taken[seat.network], what)
            taken[seat.network].add(kept[name])
    return {name: (subnets[seat.network], kept[name]) for name, seat in seats.items()}


def _network(pool: PoolRequest) -> tuple[str, str]:
    """The network its machines stand in: its region's, or its own behind its router."""
    return pool.region, pool.pool if pool.spec.nat else ""


def _before(inputs: Mapping[str, Any] | None, region: str, key: str) -> str:
    """An address that the state has, empty when it has none in this region."""
    return str(inputs.get(key) or "") if inputs is not None and inputs.get("region") == region else ""


def _members(pool: PoolRequest) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """Key, node name and labels of each machine of a pool."""
    spec: LabSpec = pool.spec
    for ordinal in range(spec.count or 0):
        key = str(ordinal)
        yield key, pool.names.get(key, f"{pool.pool}-{ordinal}"), pool.labels
    for host in spec.hosts or ():
        yield host.name, pool.names.get(host.name, host.name), {**pool.labels, **host.labels}


def _subnets(
    pools: Sequence[PoolRequest], by_name: Mapping[str, PoolRequest], previous: Mapping[str, Mapping[str, Any]]
) -> dict[tuple[str, str], IPv4Network]:
    """The network of each region and of each pool behind a router. Those of machines that are in the state come first,
    gone ones included: until they are deleted their addresses are in use."""
    slots: dict[tuple[str, str], int] = {}
    taken: set[int] = set()
    for name, inputs in sorted(previous.items(), key=lambda item: (str(item[1].get("region")), _at(item[1]), item[0])):
        for network, address in _networks_before(by_name.get(name), inputs):
            interface = _interface(address)
            if interface is None or network in slots:
                continue
            slot = (int(interface.network.network_address) - int(_UNDERLAY.network_address)) >> (32 - REGION_PREFIX)
            if slot not in taken:
                slots[network] = slot
                taken.add(slot)
    wanted = {_network(pool) for pool in pools} | {(pool.region, "") for pool in pools}
    for network in sorted(wanted - slots.keys()):
        slots[network] = _free("/".join(filter(None, network)), REGIONS, taken, "regions and routers in the lab")
        taken.add(slots[network])
    base = int(_UNDERLAY.network_address)
    return {
        network: IPv4Network((base + (slot << (32 - REGION_PREFIX)), REGION_PREFIX)) for network, slot in slots.items()
    }


def _networks_before(pool: PoolRequest | None, inputs: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], str]]:
    """The networks that a machine of the state has addresses in: of its region, and behind its router."""
    region = str(inputs.get("region", ""))
    if not inputs.get("router"):
        yield (region, ""), _at(inputs)
        return
    yield (region, ""), str(inputs["router"])
    # What is behind no router any more keeps others off its network as long as it stands there.
    same = pool is not None and pool.spec.nat and pool.region == region
    yield (region, pool.pool if same and pool is not None else _at(inputs)), _at(inputs)


def _at(inputs: Mapping[str, Any]) -> str:
    return str(inputs.get("address", ""))


def _interface(address: str) -> IPv4Interface | None:
    """An address of the state, None when it isn't one of this underlay."""
    try:
        interface = IPv4Interface(address)
    except ValueError:
        return None
    fits = interface.network.prefixlen == REGION_PREFIX and interface.network.subnet_of(_UNDERLAY)
    return interface if fits else None


def _slot_before(address: str, subnet: IPv4Network) -> int | None:
    interface = _interface(address)
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
    stack: str,
    pool: PoolRequest,
    key: str,
    name: str,
    labels: Mapping[str, str],
    given: Mapping[str, tuple[IPv4Network, int]],
) -> Placement:
    subnet, address = _address(given[name])
    host = {"backend": "lab", "stack": stack, "node": name}
    spec: LabSpec = pool.spec
    inputs: dict[str, Any] = {
        "backend": "lab",
        "host": host,
        "node": name,
        "region": pool.region,
        "address": f"{address}/{REGION_PREFIX}",
        "gateway": str(subnet.network_address + 1),
        "mtu": spec.mtu,
    }
    if spec.nat:
        inputs["router"] = f"{_address(given[f'{pool.pool}/router'])[1]}/{REGION_PREFIX}"
    resources = {name: value for name, value in pool.resources.items() if value is not None}
    if resources:
        inputs["resources"] = resources
    endpoint = None if spec.nat else ""
    own = next((entry.state for entry in spec.hosts or () if entry.name == key), None)
    state = own or pool.state
    return Placement(pool.pool, key, name, labels, inputs, (str(address),), host, endpoint, spec.mtu, state=state)


def _address(seat: tuple[IPv4Network, int]) -> tuple[IPv4Network, IPv4Address]:
    subnet, slot = seat
    return subnet, subnet.network_address + 2 + slot
