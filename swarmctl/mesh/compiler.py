"""The mesh compiler: members and a topology → who has which peer. Pure.

What a peer looks like depends on the member behind it and on the address family of the node that looks, never on
the node itself. So every `Peer` is made once and shared, a node's peers are a slice of one tuple, and a mesh of a
thousand nodes costs a thousand objects and not a million.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import cast

from swarmctl.errors import SwarmError


class NoCommonFamily(SwarmError):
    """Two nodes that should have a tunnel share no address family on the underlay."""


@dataclass(frozen=True, slots=True)
class Member:
    """One node of a mesh."""

    name: str
    addresses: tuple[str, ...]
    """On the mesh, without prefix length."""
    underlay: tuple[str, ...]
    """Where it can be reached from outside the mesh, the preferred address first."""
    hub: bool = False


@dataclass(frozen=True, slots=True)
class Peer:
    """One end of a tunnel, as the node at the other end sees it. Shared between nodes."""

    name: str
    address: str
    """Its underlay address, without brackets or port."""
    endpoint: str
    """`address:port`, IPv6 in brackets."""
    allowed_ips: tuple[str, ...]
    """What may come from it and is sent to it, in the order of the mesh's networks."""


class Mesh:
    """A compiled mesh. Made in time and memory proportional to its members; peers are put together when asked for."""

    def __init__(self, members: Iterable[Member], *, cidrs: Sequence[str], port: int, hubs: bool) -> None:
        self.members = tuple(sorted(members, key=lambda member: member.name))
        self._cidrs = tuple(cidrs)
        self._port = port
        self._hubs = hubs
        self._place = {member.name: place for place, member in enumerate(self.members)}
        self._hub_places = [place for place, member in enumerate(self.members) if member.hub and hubs]
        self._views: dict[tuple[frozenset[int], bool], tuple[Peer | None, ...]] = {}

    def peers(self, name: str) -> tuple[Peer, ...]:
        """The peers of the node `name`, by name. Raises KeyError, and NoCommonFamily where no tunnel is possible."""
        place = self._place[name]
        member = self.members[place]
        if self._hubs and not member.hub:
            view = self._view(_families(member.underlay), spoke=True)
            chosen = tuple(view[hub] for hub in self._hub_places)
        else:
            view = self._view(_families(member.underlay), spoke=False)
            chosen = view[:place] + view[place + 1 :]
        if None in chosen:
            others = self._hub_places if self._hubs and not member.hub else range(len(self.members))
            other = next(self.members[at].name for at in others if view[at] is None and at != place)
            raise NoCommonFamily(
                f"{name} and {other} share no address family on the underlay",
                "give both an IPv4 address or both an IPv6 address",
            )
        return cast("tuple[Peer, ...]", chosen)

    def forwards(self, name: str) -> bool:
        """Whether the node passes traffic on between others."""
        return self._place[name] in self._hub_places

    def _view(self, families: frozenset[int], *, spoke: bool) -> tuple[Peer | None, ...]:
        """Every member as a node with these underlay families sees it; None where it has no way to it."""
        key = (families, spoke)
        if key not in self._views:
            through = self._hub_places[0] if spoke and self._hub_places else None
            self._views[key] = tuple(
                self._peer(member, families, routes=self._cidrs if place == through else ())
                for place, member in enumerate(self.members)
            )
        return self._views[key]

    def _peer(self, member: Member, families: frozenset[int], *, routes: tuple[str, ...]) -> Peer | None:
        known = map(ip_address, member.underlay)
        address = next((str(address) for address in known if address.version in families), None)
        if address is None:
            return None
        return Peer(member.name, address, endpoint(address, self._port), routes or single(member.addresses))


def endpoint(address: str, port: int) -> str:
    """`address:port` as WireGuard writes it."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def single(addresses: Iterable[str]) -> tuple[str, ...]:
    """Addresses as networks of one."""
    return tuple(f"{address}/128" if ":" in address else f"{address}/32" for address in addresses)


def _families(addresses: Iterable[str]) -> frozenset[int]:
    return frozenset(ip_address(address).version for address in addresses)
