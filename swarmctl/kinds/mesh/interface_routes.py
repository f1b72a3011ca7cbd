"""Routes of a mesh on a node: which lead elsewhere than into the interface, and which are missing. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network

from swarmctl.graph.model import Json
from swarmctl.hosts.facts import Facts, Route
from swarmctl.mesh.names import next_interface


def strays(facts: Facts, inputs: Mapping[str, Json]) -> list[Route]:
    """Routes for addresses of the mesh that lead anywhere but straight into the interface."""
    networks = [ip_interface(address).network for address in inputs["addresses"]]
    found = []
    for route in facts.routes:
        network = ip_network(route.network)
        inside = any(network.version == mesh.version and _within(network, mesh) for mesh in networks)
        # Those over the second interface are a rotation's.
        ours = (inputs["interface"], next_interface(inputs["interface"]))
        straight = route.kind == "unicast" and route.interface in ours and not route.gateway
        if inside and not straight:
            found.append(route)
    return found


def _within(network: IPv4Network | IPv6Network, mesh: IPv4Network | IPv6Network) -> bool:
    return network.prefixlen >= mesh.prefixlen and network.network_address in mesh


def missing(facts: Facts, inputs: Mapping[str, Json]) -> list[str]:
    """Networks of the addresses that are set, without their route into the interface."""
    link = facts.interfaces[inputs["interface"]]
    there = {
        route.network
        for route in facts.routes
        if (route.table, route.kind, route.interface) == ("main", "unicast", link.name) and not route.gateway
    }
    set_ = [ip_interface(address).network for address in inputs["addresses"] if address in link.addresses]
    return [f"none for {network}" for network in map(str, set_) if network not in there]


def in_words(route: Route) -> str:
    """A route as `ip route` takes it."""
    words = [route.kind, route.network, *(["dev", route.interface] if route.interface else []), "table", route.table]
    return " ".join([*words, *(["metric", str(route.metric)] if route.metric is not None else [])])
