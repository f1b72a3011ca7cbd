"""The firewall of a node that is isolated: its management gets in, answers to that get out, and nothing else. Pure.

Beside management only what the node needs to stay where it is reached: neighbour discovery (ARP is none of nftables'
`inet`), the lease of its address, and messages on path MTUs. No rule asks for the state of a connection: the one that
swarmctl shuts the node over was there before anything kept track of it. A packet with ACK begins no connection
(RFC 9293, 3.5), so nothing but answers leaves from the ports of management.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network

from swarmctl.mesh import firewall

CHAINS: Mapping[str, str] = {**firewall.CHAINS, "output": "filter hook output priority 0 policy drop"}
"""The base chains; see `firewall.CHAINS`."""
_NEIGHBOURS = "ip6 hoplimit 255 icmpv6 type { nd-neighbor-advert, nd-neighbor-solicit } accept"
_DHCP = {"ip": (67, 68), "ip6": (547, 546)}
"""UDP ports of server and client: RFC 2131, 4.1, and RFC 8415, 7.2."""


def rules(ports: Sequence[int], sources: Sequence[str]) -> dict[str, str]:
    """Stable name → canonical text, of a node that is managed through these TCP ports from these networks (none: all).

    Without ports it is managed by no network at all, and only its own processes reach each other.
    """
    found = {"loopback": 'iifname "lo" accept', "out-loopback": 'oifname "lo" accept'}
    if ports:
        found |= dict(_managed(firewall.canonical(map(str, ports)), sources))
        found |= dict(_staying())
    return dict(sorted(found.items(), key=lambda item: firewall.order(item[0])))


def is_shut(chains: Mapping[str, object]) -> bool:
    """Whether these are the base chains of an isolated node: no other's drop what goes out."""
    return str(chains.get("output", "")).endswith(" policy drop")


def _managed(ports: str, sources: Sequence[str]) -> Iterator[tuple[str, str]]:
    into, out = f"tcp dport {ports} accept", f"tcp sport {ports} tcp flags ack accept"
    if not sources:
        yield from (("management", into), ("out-management", out))
    for family in ("ip", "ip6"):
        networks = [str(ip_network(one)) for one in sources if (":" in one) == (family == "ip6")]
        if networks:
            text = firewall.canonical(networks)
            yield f"management:{family}", f"{family} saddr {text} {into}"
            yield f"out-management:{family}", f"{family} daddr {text} {out}"


def _staying() -> Iterator[tuple[str, str]]:
    yield "neighbours", _NEIGHBOURS
    yield "out-neighbours", _NEIGHBOURS
    for family, message in firewall.PATH_MTU.items():
        yield f"path-mtu:{family}", f"{message} accept"
    for family, (server, client) in _DHCP.items():
        yield f"dhcp:{family}", f"udp sport {server} udp dport {client} accept"
        yield f"out-dhcp:{family}", f"udp sport {client} udp dport {server} accept"
