"""What the rules of flows let in, as ports and sources, and what of it another firewall lets in no more. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from swarmctl.graph.model import Json
from swarmctl.mesh import firewall

Ports = tuple[int, int]
"""First and last port."""
_RULE = re.compile(r"\bip6? saddr (\{ [^}]* \}|\S+) (tcp|udp) dport ([0-9-]+)(?: meta time < ([0-9]+))?")


@dataclass(frozen=True, slots=True)
class Opening:
    """What one rule lets in."""

    protocol: str
    ports: Ports
    sources: Sequence[str]
    """Addresses or networks."""
    until: int | None
    """Unix time in seconds."""

    def lasts(self, other: Opening) -> bool:
        """Whether it ends no sooner than `other` does."""
        return self.until is None or (other.until is not None and self.until >= other.until)


def openings(rules: Mapping[str, Json], sets: Mapping[str, Json]) -> list[Opening]:
    """One for every rule of a flow."""
    found = []
    for name, text in rules.items():
        match = _RULE.search(str(text)) if name.startswith("flow:") else None
        if match:
            until = int(match[4]) if match[4] else None
            found.append(Opening(match[2], firewall.span(match[3]), _sources(match[1], sets), until))
    return found


def uncovered(before: Opening, after: Sequence[Opening]) -> Iterator[tuple[str, str, int | None]]:
    """What `after` leaves of an opening: ports such as `tcp/22`, the source that loses them, and when it does (Unix
    time in seconds; None: at once)."""
    related = [it for it in after if it.protocol == before.protocol and _meet(it.ports, before.ports)]
    if any(it.lasts(before) and _within(before.ports, it.ports) and it.sources == before.sources for it in related):
        return
    networks = [(it, [ip_network(source) for source in it.sources if "/" in source]) for it in related]
    exact = [(it, frozenset(it.sources)) for it in related]
    for source in before.sources:
        mine = [it for it, names in exact if source in names]
        mine += [it for it, wide in networks if wide and it not in mine and any(map(_holds(source), wide))]
        for ports in _left(before.ports, [it.ports for it in mine if it.lasts(before)]):
            later = [it for it in mine if not it.lasts(before) and _meet(it.ports, ports)]
            for it in later:
                shared = (max(it.ports[0], ports[0]), min(it.ports[1], ports[1]))
                yield _port(before.protocol, shared), source, it.until
            for gone in _left(ports, [it.ports for it in later]):
                yield _port(before.protocol, gone), source, None


def _sources(text: str, sets: Mapping[str, Json]) -> Sequence[str]:
    if text.startswith("@"):
        name, _, family = text[1:].rpartition(".")
        families = sets.get(name)
        return families.get(family, ()) if isinstance(families, Mapping) else ()
    return [word.rstrip(",") for word in text.strip("{} ").split()]


def _holds(source: str) -> Callable[[IPv4Network | IPv6Network], bool]:
    """Whether a network has all of `source`."""
    inner = ip_network(source)
    return lambda wide: inner.network_address in wide and inner.broadcast_address in wide


def _port(protocol: str, ports: Ports) -> str:
    return f"{protocol}/{ports[0]}" if ports[0] == ports[1] else f"{protocol}/{ports[0]}-{ports[1]}"


def _meet(one: Ports, other: Ports) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def _within(inner: Ports, outer: Ports) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def _left(ports: Ports, others: Sequence[Ports]) -> list[Ports]:
    """What is left of `ports` without `others`."""
    first, left = ports[0], []
    for other_first, other_last in sorted(others):
        if other_first > first:
            left.append((first, min(other_first - 1, ports[1])))
        first = max(first, other_last + 1)
    return [(low, high) for low, high in [*left, (first, ports[1])] if low <= high]
