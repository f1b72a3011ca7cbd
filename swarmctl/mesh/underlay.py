"""Who can reach whom below the mesh, and by which endpoint. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import NamedTuple

ANY_FAMILY = 0b11
"""A host name may have addresses of both families."""


class Reach(NamedTuple):
    """How a node meets others on the underlay; families are bits: 1 for IPv4, 2 for IPv6."""

    dials: int
    """The families that it can reach others by."""
    answers: int
    """The families that others can reach it by; 0: it can't be reached from outside."""


def reach(underlay: Iterable[str], endpoint: str | None) -> Reach:
    """What the underlay addresses of a node and its endpoint (as `Member.endpoint` has it) come to.

    Of a node without known addresses nothing is excluded. An address as its endpoint is the user's word that the node
    has that family, whatever its backend says; a name, which may have both, is none.
    """
    known = 0
    for address in underlay:
        known |= family(address)
    dials = known or ANY_FAMILY
    if endpoint is None:
        return Reach(dials, 0)
    if not endpoint:
        return Reach(dials, known)
    answers = family(endpoint)
    return Reach(dials if answers == ANY_FAMILY else dials | answers, answers)


def family(host: str) -> int:
    """The bit of an address's family; both for a host name."""
    if ":" in host:
        return 0b10
    return 0b01 if host.replace(".", "").isdigit() else ANY_FAMILY


def can_dial(one: Reach, other: Reach) -> bool:
    """Whether `one` can begin a tunnel to `other`."""
    return bool(one.dials & other.answers)


def can_meet(one: Reach, other: Reach) -> bool:
    """Whether a tunnel between them is possible: one of them can begin it."""
    return can_dial(one, other) or can_dial(other, one)


def preferred(underlay: Iterable[str], families: int) -> str:
    """The first of the addresses that is of one of the families, in its canonical form; empty when there is none."""
    return next((str(ip_address(address)) for address in underlay if family(address) & families), "")


def endpoint(host: str, port: int) -> str:
    """`host:port` as WireGuard writes it, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def single(addresses: Iterable[str]) -> tuple[str, ...]:
    """Addresses as networks of one."""
    return tuple(f"{address}/128" if ":" in address else f"{address}/32" for address in addresses)
