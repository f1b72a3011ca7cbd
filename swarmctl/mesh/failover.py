"""Networks that went to another peer because the first one of their group died, and what was declared. Pure.

A group is a mapping `{"networks": [...], "via": [names]}`: networks that stand in the allowed IPs of the first peer of
`via` and may go to the next ones (see `kinds.mesh.failover`). Peers are mappings from their names to allowed IPs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

Allowed = Mapping[str, Sequence[str]]
Group = Mapping[str, Any]


def as_declared(found: Allowed, declared: Allowed, groups: Iterable[Group]) -> dict[str, list[str]]:
    """What was found, with every network that was moved at the peer it is declared for; peers without change left out.

    What is with no peer of its group stays missing, and what is with a stranger stays there.
    """
    seen: dict[str, list[str]] = {}
    for network, (first, holder) in _moved(found, groups).items():
        for name in (first, holder):
            seen.setdefault(name, list(found[name]))
        seen[holder].remove(network)
        seen[first].append(network)
    for name in seen:
        kept = _kept(found[name], declared.get(name, ()), seen[name])
        seen[name] = [network for network in seen[name] if network not in kept]
    return seen


def in_place(found: Allowed, declared: Allowed, groups: Iterable[Group]) -> dict[str, list[str]]:
    """What is declared, with every network that was moved left where it is; peers without change left out."""
    wanted: dict[str, list[str]] = {}
    for network, (first, holder) in _moved(found, groups).items():
        if first in declared and holder in declared and network in declared[first]:
            for name in (first, holder):
                wanted.setdefault(name, list(declared[name]))
            wanted[first].remove(network)
            wanted[holder].append(network)
    for name in wanted:
        wanted[name] += sorted(_kept(found[name], declared[name], declared[name]))
    return wanted


def away(found: Allowed, groups: Iterable[Group]) -> dict[str, list[str]]:
    """The networks that were moved, by the peer that they are declared for."""
    lost: dict[str, list[str]] = {}
    for network, (first, _) in _moved(found, groups).items():
        lost.setdefault(first, []).append(network)
    return lost


def _moved(found: Allowed, groups: Iterable[Group]) -> dict[str, tuple[str, str]]:
    """Network → the peer it is declared for, and the one of its group that has it."""
    moved: dict[str, tuple[str, str]] = {}
    sets: dict[str, frozenset[str]] = {}
    for group in groups:
        via = [name for name in group["via"] if name in found]
        if not via or via[0] != group["via"][0]:
            continue
        for name in via:
            sets.setdefault(name, frozenset(found[name]))
        for network in group["networks"]:
            holder = next((name for name in via if network in sets[name]), via[0])
            if holder != via[0]:
                moved[network] = (via[0], holder)
    return moved


def _kept(found: Sequence[str], declared: Sequence[str], covered: Sequence[str]) -> set[str]:
    """Single addresses that nobody declared and that lie in what is `covered`: a peer without its networks keeps its
    own, so that it is heard when it lives again."""
    extra = [ip_network(network) for network in found if network not in declared]
    whole = [ip_network(network) for network in covered]
    return {
        str(one)
        for one in extra
        if one.prefixlen == one.max_prefixlen
        and any(one.version == net.version and one.network_address in net and one != net for net in whole)
    }
