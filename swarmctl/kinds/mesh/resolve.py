"""What a mesh declares by labels, pools and names → the nodes that are meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import NamedTuple

from swarmctl.kinds.mesh.topologies import End, Part, Topology
from swarmctl.mesh.selectors import select as select

Path = tuple[str | int, ...]
NOWHERE = "none"
"""As `host` of an endpoint: nothing leads to the node."""

_NAME = re.compile(
    r"(?=.{1,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE
)
"""RFC 1123, 2.1: labels of letters, digits and hyphens, the last not a number."""


class Node(NamedTuple):
    """What selectors and topologies see of a machine."""

    name: str
    pool: str
    region: str
    labels: Mapping[str, str]


class Group(NamedTuple):
    """Tunnels: every node of `one` has one to every node of `other`, but none to itself."""

    path: Path
    """What declares it, from `spec`."""
    one: Sequence[str]
    other: Sequence[str]


def end(declared: End, nodes: Iterable[Node]) -> list[Node]:
    """The nodes at one end of a link."""
    if declared.node is not None:
        return [node for node in nodes if node.name == declared.node]
    if declared.pool is not None:
        return [node for node in nodes if node.pool == declared.pool]
    return select(declared.select or {}, nodes) if declared.select is not None else []


def by_region(nodes: Iterable[Node]) -> dict[str, list[Node]]:
    """The nodes of each region."""
    found: dict[str, list[Node]] = {}
    for node in nodes:
        found.setdefault(node.region, []).append(node)
    return found


def parts(topology: Topology, nodes: Sequence[Node]) -> Iterator[tuple[Path, Topology | Part, Sequence[Node]]]:
    """The topologies that make up this one, each with the nodes that it is about."""
    if topology.combine is None:
        yield ("topology",), topology, nodes
        return
    for index, part in enumerate(topology.combine):
        yield ("topology", "combine", index), part, select(part.select, nodes)


def groups(topology: Topology, nodes: Sequence[Node]) -> Iterator[Group]:
    """All tunnels that a topology asks for, in a form that costs no more than its nodes."""
    for path, part, members in parts(topology, nodes):
        if part.full is not None:
            yield Group((*path, "full"), names(members), names(members))
        elif part.hubs is not None:
            yield Group((*path, "hubs"), names(select(part.hubs.select, members)), names(members))
        elif part.regions is not None:
            gateways = names(select(part.regions.gateways, members))
            for inside in by_region(members).values():
                yield Group((*path, "regions"), names(inside), names(inside))
            yield Group((*path, "regions"), gateways, gateways)
        for index, link in enumerate(part.links or ()):
            if len(link.between) == 2:
                one, other = (names(end(declared, members)) for declared in link.between)
                yield Group((*path, "links", index), one, other)


def names(nodes: Iterable[Node]) -> list[str]:
    """Their names."""
    return [node.name for node in nodes]


def is_address(text: str) -> bool:
    """Whether it is an IP address that can lead to a machine from another one."""
    try:
        found = ip_address(text)
    except ValueError:
        return False
    meant_otherwise = found.is_loopback or found.is_unspecified or found.is_multicast or found.is_link_local
    return not meant_otherwise and "%" not in text and getattr(found, "ipv4_mapped", None) is None


def is_name(text: str) -> bool:
    """Whether it is a DNS name."""
    return _NAME.fullmatch(text) is not None


def normal(host: str) -> str:
    """An address or DNS name as two of them compare: addresses as WireGuard prints them, names in lower case."""
    return str(ip_address(host)) if is_address(host) else host.lower()


def ip_version(hosts: Iterable[str], *, sure: bool) -> int:
    """6 when a tunnel to one of these endpoints goes over IPv6, else 4; of a DNS name that is not certain (`sure`)."""
    for host in hosts:
        if is_address(host):
            if ip_address(host).version == 6:
                return 6
        elif not sure and is_name(host) and host != NOWHERE:
            return 6
    return 4
