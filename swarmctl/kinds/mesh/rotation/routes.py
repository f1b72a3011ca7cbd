"""Which routes lead over the second interface, and how one set of them becomes another. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network

from swarmctl.kinds.mesh.rotation.survey import Survey

Network = IPv4Network | IPv6Network
PROTOCOL = 186
"""Of the routes made here, by which they are told from others."""


def wanted(survey: Survey, node: str, moved: Collection[str]) -> Mapping[str, str]:
    """Interface by network, when the links of `node` to `moved` are on the second interface.

    The route of the first interface to a network stays and is covered: a network that it has a route to is taken in
    halves. What then would go the wrong way, as it lies inside, gets its own way back.
    """
    there = {
        route.network
        for route in survey.facts[node].routes
        if route.interface == survey.interface and route.table == "main" and route.kind == "unicast"
    }
    found: dict[str, str] = {}
    covering: list[Network] = []
    for across in sorted(moved):
        for network in map(ip_network, survey.way(node, across).allowed):
            covering.append(network)
            halves = network.subnets() if str(network) in there and network.num_addresses > 1 else (network,)
            found |= dict.fromkeys(map(str, halves), survey.second)
    for across in survey.peers(node):
        if across not in moved:
            for network in map(ip_network, survey.way(node, across).allowed):
                if str(network) not in found and any(_within(network, wide) for wide in covering):
                    found[str(network)] = survey.interface
    return found


def now(survey: Survey, node: str) -> Mapping[str, str]:
    """Routes over the second interface that the node has already, and those that keep out of its way."""
    return {
        route.network: route.interface
        for route in survey.facts[node].routes
        if route.table == "main" and route.interface == survey.second
    }


def moved(survey: Survey, node: str) -> set[str]:
    """The peers that the node sends to over its second interface."""
    there = now(survey, node)
    return {
        across
        for across in survey.peers(node)
        if any(network in there for network, via in wanted(survey, node, [across]).items() if via == survey.second)
    }


def change(survey: Survey, node: str, before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """The script that makes `after` of `before`. What is new is there before what is old goes."""
    added = [
        " ".join(["route replace", network, "dev", interface, *_source(survey, node, network), f"proto {PROTOCOL}"])
        for network, interface in _narrow_first(after)
        if before.get(network) != interface
    ]
    removed = [
        f"route del {network} dev {interface}"
        for network, interface in before.items()
        # One that was replaced went with that; where it stays beside it, it is another route.
        if network not in after
    ]
    script = f"ip -batch - <<'END'\n{chr(10).join(added)}\nEND\n" if added else ""
    if removed:
        # One that is gone already is as it should be.
        script += f"ip -force -batch - 2>/dev/null <<'END' || :\n{chr(10).join(removed)}\nEND\n"
    return script


def _narrow_first(routes: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted(routes.items(), key=lambda item: -ip_network(item[0]).prefixlen)


def _source(survey: Survey, node: str, network: str) -> list[str]:
    source = survey.source(node, network)
    return ["src", source] if source else []


def _within(network: Network, wide: Network) -> bool:
    return network.version == wide.version and network.prefixlen > wide.prefixlen and network.network_address in wide
