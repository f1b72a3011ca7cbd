"""The firewall compiler: what a node lets in → named rules of one nftables table, and back from what nft lists. Pure.

Default deny for what comes in and for what passes through; what goes out is allowed, and so are answers to it:
a node may fetch packages and reach its management, and every other node defends its own door. Only what is meant for
the mesh never leaves by another interface (`no-plaintext`): whatever happens to routes or to the tunnel, it is dropped
and not sent in clear. A rule is a line of nft's language in one canonical form (`canonical` for lists), so that two
rulesets differ by rule and not as texts.

The order matters where rules drop. `too-many` stands before `answers`, because a flow of echoes counts as established
from its first answer on; path-MTU messages stand before `invalid`, because those about a connection that the kernel
has forgotten already count as invalid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network
from sys import intern

TABLE = "swarmctl"
FAMILY = "inet"
CHAINS: Mapping[str, str] = {
    "forward": "filter hook forward priority 0 policy drop",
    "input": "filter hook input priority 0 policy drop",
    "output": "filter hook output priority 0 policy accept",
}
"""The base chains, as `Table.chains` has them."""
OWNER = "policy-"
"""A chain without rules, called `policy-NAME`, says whose table it is."""
LIMIT = "limit rate over 100/second burst 200 packets"
"""What is too many of echo or path-MTU messages of one family: three echoes of each of 48 nodes at once are not."""

_ORDER = (
    "loopback",
    "too-many",
    "path-mtu",
    "invalid",
    "answers",
    "neighbours",
    "wireguard",
    "underlay",
    "mesh",
    "flow",
    "through",
    "no-plaintext",
)


@dataclass(frozen=True, slots=True)
class Flow:
    """Traffic to this node that is allowed on the mesh."""

    name: str
    protocol: str
    ports: tuple[str, ...]
    """`6379` or `10001-10010`."""
    sources: tuple[str, ...]
    """Mesh addresses it may come from."""


@dataclass(frozen=True, slots=True)
class Door:
    """Everything that decides one node's rules."""

    interface: str
    port: int
    """UDP port WireGuard listens on."""
    endpoints: tuple[str, ...]
    """Underlay addresses of its peers."""
    cidrs: tuple[str, ...]
    """Networks of the mesh."""
    forwards: bool
    flows: tuple[Flow, ...]


def compile_rules(door: Door) -> dict[str, str]:
    """The node's rules: stable name → canonical text."""
    rules = {
        "invalid": "ct state invalid drop",
        "answers": "ct state established,related accept",
        "loopback": 'iifname "lo" accept',
        # RFC 4861, 7.1: neighbour discovery with a hop limit of 255 comes from the same link.
        "neighbours": f"ip6 hoplimit 255 icmpv6 type {canonical(_NEIGHBOURS)} accept",
    }
    outside, inside = f'iifname != "{door.interface}"', f'iifname "{door.interface}"'
    for family, addresses in _by_family(door.endpoints):
        source = f"{family} saddr {addresses}"
        rules[f"wireguard:{family}"] = f"{outside} {source} udp dport {door.port} accept"
        rules[f"underlay:echo:{family}"] = f"{outside} {source} {_ECHO[family]} accept"
        rules[f"too-many:underlay:echo:{family}"] = f"{outside} {_ECHO[family]} {LIMIT} drop"
    names = ('"lo"', f'"{door.interface}"')
    elsewhere = f"oifname != {canonical(names)}"
    for family in dict.fromkeys("ip6" if ":" in cidr else "ip" for cidr in door.cidrs):
        rules[f"mesh:echo:{family}"] = f"{inside} {_ECHO[family]} accept"
        rules[f"path-mtu:{family}"] = f"{inside} {_PATH_MTU[family]} accept"
        rules[f"too-many:mesh:echo:{family}"] = f"{inside} {_ECHO[family]} {LIMIT} drop"
        rules[f"too-many:path-mtu:{family}"] = f"{inside} {_PATH_MTU[family]} {LIMIT} drop"
        networks = canonical(str(ip_network(cidr)) for cidr in door.cidrs if (":" in cidr) == (family == "ip6"))
        rules[f"no-plaintext:{family}"] = f"{elsewhere} {family} daddr {networks} drop"
    for flow in door.flows:
        for family, addresses in _flow_sources(flow.sources):
            for ports in merge_ports(flow.ports):
                text = f"{inside} {family} saddr {addresses} {flow.protocol} dport {ports} accept"
                # One string for all nodes that the flow goes to: it names every node that it comes from.
                rules[f"flow:{flow.name}:{ports}:{family}"] = intern(text)
    if door.forwards:
        rules["through"] = f'{inside} oifname "{door.interface}" accept'
    return dict(sorted(rules.items(), key=lambda item: order(item[0])))


_NEIGHBOURS = ("nd-neighbor-solicit", "nd-neighbor-advert")
"""Not router advertisements: any neighbour could then lead the node's traffic where it likes."""
_ECHO = {"ip": "icmp type echo-request", "ip6": "icmpv6 type echo-request"}
_PATH_MTU = {
    "ip": "icmp type destination-unreachable icmp code frag-needed",
    "ip6": "icmpv6 type packet-too-big",
}


def order(name: str) -> tuple[int, str]:
    """Where the rule called `name` stands in its chain, as a sort key."""
    group = name.partition(":")[0]
    return (_ORDER.index(group) if group in _ORDER else len(_ORDER), name)


def chain(name: str) -> str:
    """The chain that the rule called `name` belongs to."""
    return {"through": "forward", "no-plaintext": "output"}.get(name.partition(":")[0], "input")


def canonical(elements: Iterable[str]) -> str:
    """A list of values as this module writes them: sorted, without doubles, one alone without braces."""
    return _braced(sorted(set(elements), key=_sort_key))


def merge_ports(ports: Iterable[str]) -> list[str]:
    """Ports and ranges, sorted, overlapping and touching ones made one: nft lists them so."""
    spans = sorted((int(low), int(high or low)) for low, _, high in (port.partition("-") for port in ports))
    merged: list[tuple[int, int]] = []
    for low, high in spans:
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return [f"{low}" if low == high else f"{low}-{high}" for low, high in merged]


def render(owner: str, chains: Mapping[str, str], rules: Mapping[str, str]) -> str:
    """The transaction for `nft -f -` that puts the table there as a whole, in place of the one that may be there."""
    lines = [f"table {FAMILY} {TABLE}", f"delete table {FAMILY} {TABLE}", f"table {FAMILY} {TABLE} {{"]
    lines += [f"  chain {OWNER}{owner} {{", "  }"]
    for name, base in sorted(chains.items()):
        head, _, policy = base.rpartition(" policy ")
        lines += [f"  chain {name} {{", f"    type {head}; policy {policy};"]
        lines += [
            f'    {text} comment "{rule}"'
            for rule, text in sorted(rules.items(), key=lambda item: order(item[0]))
            if chain(rule) == name
        ]
        lines.append("  }")
    return "\n".join([*lines, "}", ""])


def render_removal() -> str:
    """The transaction that takes the table away, also when it is gone already."""
    return f"table {FAMILY} {TABLE}\ndelete table {FAMILY} {TABLE}\n"


def sources(text: str) -> Sequence[str]:
    """The source addresses that the rule `text` names."""
    words = text.split()
    if "saddr" not in words:
        return ()
    rest = words[words.index("saddr") + 1 :]
    return [word.rstrip(",") for word in rest[1 : rest.index("}")]] if rest[0] == "{" else rest[:1]


def _by_family(addresses: tuple[str, ...]) -> list[tuple[str, str]]:
    """nft's word for the family → the addresses of it as one text, without empty ones."""
    found: dict[str, list[str]] = {}
    for version, _, text in sorted(map(_known, dict.fromkeys(addresses))):
        found.setdefault("ip" if version == 4 else "ip6", []).append(text)
    return [(family, _braced(texts)) for family, texts in found.items()]


@lru_cache(maxsize=1024)
def _flow_sources(addresses: tuple[str, ...]) -> list[tuple[str, str]]:
    """The same, remembered: the sources of a flow are the same on every node it goes to."""
    return _by_family(addresses)


@lru_cache(maxsize=65536)
def _known(address: str) -> tuple[int, int, str]:
    """Version, value, and the text as nft lists it (RFC 5952); sorts as addresses do."""
    known = ip_address(address)
    return known.version, int(known), str(known)


def _braced(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else "{ " + ", ".join(texts) + " }"


def _sort_key(text: str) -> tuple[int, int, str]:
    """Numbers by value, then addresses by value, then words."""
    if text.isdigit():
        return (0, int(text), "")
    try:
        return (1, _known(text)[1], "")
    except ValueError:
        low = text.partition("-")[0]
        return (0, int(low), text) if low.isdigit() else (2, 0, text)
