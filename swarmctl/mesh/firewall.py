"""The firewall compiler: what a node lets in → named rules and sets of one nftables table. Pure.

Default deny for what comes in and for what passes through; what goes out is allowed, and so are answers to it:
a node may fetch packages and reach its management, and every other node defends its own door. Only what is meant for
the mesh never leaves by another interface (`no-plaintext`): whatever happens to routes or to the tunnel, it is dropped
and not sent in clear. A rule is a line of nft's language in one canonical form (`canonical` for lists), so that two
rulesets differ by rule and not as texts. Addresses that many nodes have in common stand in sets, by name and family,
so that rules and sets are the same objects for all nodes they are the same for.

The order matters where rules drop. `too-many` stands before `answers`, because a flow of echoes counts as established
from its first answer on; path-MTU messages stand before `invalid`, because those about a connection that the kernel
has forgotten already count as invalid. Flows stand before `answers` too: so their counters see every packet that the
sender of a connection sends, and so a connection does not outlive the grant that let it in (`ended`). All flows stand
before all ends, because what one flow allows no longer another may allow still.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network

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
DENIED = "denied"
"""The counter of what came in on the mesh and was dropped because nothing allows it, or no longer."""
PEERS = "peers"
"""The set of the underlay addresses of a node's peers."""

_ORDER = (
    "out-loopback",
    "out-management",
    "out-neighbours",
    "out-dhcp",
    "loopback",
    "management",
    "too-many",
    "redirect",
    "path-mtu",
    "invalid",
    "flow",
    "ended",
    "answers",
    "neighbours",
    "dhcp",
    "wireguard",
    "underlay",
    "mesh",
    "denied",
    "through",
    "no-plaintext",
    "no-redirect",
    "reply",
    "reply-ended",
)
_ELSEWHERE = {
    "through": "forward",
    **dict.fromkeys(("no-plaintext", "no-redirect", "reply", "reply-ended"), "output"),
} | dict.fromkeys(("out-loopback", "out-management", "out-neighbours", "out-dhcp"), "output")
"""Chains of the rules that don't stand in `input`."""


@dataclass(frozen=True, eq=False)
class Flow:
    """Traffic to this node that is allowed on the mesh. Told apart by identity: one flow may name all nodes of a mesh,
    and is made once for all that it goes to."""

    name: str
    protocol: str
    ports: tuple[str, ...]
    """`6379` or `10001-10010`."""
    sources: tuple[str, ...]
    """Where it may come from: mesh addresses, or whole networks of the mesh with their prefix length."""
    until: int | None = None
    """When it ends by the node's clock, Unix time in seconds; None when it doesn't."""


@dataclass(frozen=True, slots=True)
class Door:
    """Everything that decides one node's rules."""

    interfaces: tuple[str, ...]
    """The mesh's interface, and the second one that is there while a key is rotated: rules always name both, so that a
    rotation changes none."""
    ports: tuple[int, ...]
    """UDP ports WireGuard listens on, of the same interfaces."""
    endpoints: tuple[str, ...]
    """Underlay addresses of its peers."""
    cidrs: tuple[str, ...]
    """Networks of the mesh."""
    forwards: bool
    flows: tuple[Flow, ...]
    anywhere: bool = False
    """Whether WireGuard's packets may come from other addresses than these."""
    managed_ports: tuple[int, ...] = ()
    """TCP ports that the node is managed through: let in whatever else is not."""
    managed_from: tuple[str, ...] = ()
    """Networks that it is managed from; empty for all."""


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a flow may come from, of one family, as rules name it: `@flow-ray.ip` or a network."""

    family: str
    text: str


@dataclass(frozen=True, slots=True)
class _Grant:
    """A flow without its addresses."""

    name: str
    protocol: str
    ports: tuple[str, ...]
    sources: tuple[_Source, ...]
    until: int | None

    def meets(self, other: _Grant) -> bool:
        """Whether both allow the same port of the same protocol."""
        if self.protocol != other.protocol:
            return False
        return any(
            mine[0] <= theirs[1] and theirs[0] <= mine[1]
            for mine in map(span, self.ports)
            for theirs in map(span, other.ports)
        )


def compile_rules(door: Door) -> Mapping[str, str]:
    """The node's rules: stable name → canonical text. One object for all nodes whose rules are the same."""
    families = tuple(_peers(door.endpoints))
    grants = tuple(map(_grant, door.flows))
    rules = _rules(door.interfaces, door.ports, families, door.anywhere, door.cidrs, door.forwards, grants)
    return _managed(door.interfaces, door.managed_ports, door.managed_from, rules) if door.managed_ports else rules


def _managed(
    interfaces: tuple[str, ...], ports: Sequence[int], sources: Sequence[str], rules: Mapping[str, str]
) -> Mapping[str, str]:
    """The rules with those that keep the node manageable, which never depend on the mesh."""
    outside, into = f"iifname != {_named(interfaces)}", f"tcp dport {canonical(map(str, ports))} accept"
    own = {f"management:{family}": f"{outside} {family} saddr {text} {into}" for family, text in _networks(sources)}
    found = {**rules, **(own or {"management": f"{outside} {into}"})}
    return dict(sorted(found.items(), key=lambda item: order(item[0])))


def compile_sets(door: Door) -> dict[str, dict[str, list[str]]]:
    """The node's sets: name → nft's word for the family → addresses in their order; none is empty.

    What is in the sets of flows is shared between all nodes that they are the same for.
    """
    sets = {flow_set(flow.name): _flow_sources(flow) for flow in door.flows if _listed(flow.sources)}
    peers = _peers(door.endpoints)
    return {PEERS: peers, **sets} if peers else sets


def _listed(sources: Sequence[str]) -> bool:
    return bool(sources) and "/" not in sources[0]


def flow_set(flow: str) -> str:
    """Name of the set, and of the counter, of a flow; no name of ours begins so."""
    return f"flow-{flow}"


@lru_cache(maxsize=4096)
def _grant(flow: Flow) -> _Grant:
    if _listed(flow.sources):
        families = _flow_sources(flow)
        found = tuple(_Source(family, f"@{flow_set(flow.name)}.{family}") for family in families)
    else:
        found = tuple(_Source(family, text) for family, text in _networks(flow.sources))
    return _Grant(flow.name, flow.protocol, tuple(merge_ports(flow.ports)), found, flow.until)


@lru_cache(maxsize=4096)
def _rules(
    interfaces: tuple[str, ...],
    ports: tuple[int, ...],
    peers: tuple[str, ...],
    anywhere: bool,
    cidrs: tuple[str, ...],
    forwards: bool,
    grants: tuple[_Grant, ...],
) -> Mapping[str, str]:
    inside, outside = f"iifname {_named(interfaces)}", f"iifname != {_named(interfaces)}"
    listening = f"udp dport {canonical(map(str, ports))} accept"
    rules = {
        "invalid": "ct state invalid drop",
        "answers": "ct state established,related accept",
        "loopback": 'iifname "lo" accept',
        # RFC 4861, 7.1: neighbour discovery with a hop limit of 255 comes from the same link.
        "neighbours": f"ip6 hoplimit 255 icmpv6 type {canonical(_NEIGHBOURS)} accept",
        "denied": f'{inside} counter name "{DENIED}" drop',
    }
    if anywhere:
        rules["wireguard:anywhere"] = f"{outside} {listening}"
    for family in peers:
        source = f"{outside} {family} saddr @{PEERS}.{family}"
        if not anywhere:
            rules[f"wireguard:{family}"] = f"{source} {listening}"
        rules[f"underlay:echo:{family}"] = f"{source} {_ECHO[family]} accept"
        rules[f"too-many:underlay:echo:{family}"] = f"{outside} {_ECHO[family]} {LIMIT} drop"
    for family, networks in _networks(cidrs):
        rules[f"mesh:echo:{family}"] = f"{inside} {_ECHO[family]} accept"
        rules[f"path-mtu:{family}"] = f"{inside} {PATH_MTU[family]} accept"
        rules[f"too-many:mesh:echo:{family}"] = f"{inside} {_ECHO[family]} {LIMIT} drop"
        rules[f"too-many:path-mtu:{family}"] = f"{inside} {PATH_MTU[family]} {LIMIT} drop"
        rules[f"redirect:{family}"] = f"{inside} {_REDIRECT[family]} drop"
        rules[f"no-plaintext:{family}"] = f"oifname != {_named(('lo', *interfaces))} {family} daddr {networks} drop"
        if forwards:
            both = f"{family} saddr {networks} {family} daddr {networks}"
            rules[f"no-redirect:{family}"] = f"o{inside[1:]} {_REDIRECT[family]} drop"
            rules[f"through:{family}"] = f"{inside} o{inside[1:]} {both} accept"
    for grant in grants:
        rules |= _flow_rules(inside, grant, grants)
    return dict(sorted(rules.items(), key=lambda item: order(item[0])))


def _flow_rules(inside: str, grant: _Grant, grants: Sequence[_Grant]) -> dict[str, str]:
    """A flow's rules. Only packets of whoever began the connection count as the flow: an answer of one of its sources,
    to a port of this node that happens to be one of the flow's, is none.

    Where a flow ends, both directions end: who was answered until then must not be answered any more.
    """
    rules = {}
    before = "" if grant.until is None else f" meta time < {grant.until}"
    after = f"meta time >= {grant.until}"
    ends = any(other.until is not None and other.meets(grant) for other in grants)
    counter = f'counter name "{flow_set(grant.name)}"'
    for source in grant.sources:
        for ports in grant.ports:
            key, protocol = f"{grant.name}:{ports}:{source.family}", grant.protocol
            asked = f"{inside} ct direction original {source.family} saddr {source.text} {protocol} dport {ports}"
            reply = f"o{inside[1:]} ct direction reply {source.family} daddr {source.text} {protocol} sport {ports}"
            rules[f"flow:{key}"] = f"{asked}{before} {counter} accept"
            if ends:
                rules[f"reply:{key}"] = f"{reply}{before} accept"
            if grant.until is not None:
                rules[f"ended:{key}"] = f'{asked} {after} counter name "{DENIED}" drop'
                rules[f"reply-ended:{key}"] = f"{reply} {after} drop"
    return rules


_NEIGHBOURS = ("nd-neighbor-solicit", "nd-neighbor-advert")
"""Not router advertisements: any neighbour could then lead the node's traffic where it likes."""
_ECHO = {"ip": "icmp type echo-request", "ip6": "icmpv6 type echo-request"}
PATH_MTU = {
    "ip": "icmp type destination-unreachable icmp code frag-needed",
    "ip6": "icmpv6 type packet-too-big",
}


_REDIRECT = {"ip": "icmp type redirect", "ip6": "icmpv6 type nd-redirect"}
"""RFC 792, 4861: "send it there yourself". What passes traffic on between two nodes of the mesh would say so, for it
comes in and goes out by one interface; but whoever asks it has no tunnel there, or one that is dead."""


def order(name: str) -> tuple[int, str]:
    """Where the rule called `name` stands in its chain, as a sort key."""
    group = name.partition(":")[0]
    return (_ORDER.index(group) if group in _ORDER else len(_ORDER), name)


def chain(name: str) -> str:
    """The chain that the rule called `name` belongs to."""
    return _ELSEWHERE.get(name.partition(":")[0], "input")


def canonical(elements: Iterable[str]) -> str:
    """A list of values as this module writes them: sorted, without doubles, one alone without braces."""
    texts = sorted(set(elements), key=_sort_key)
    return texts[0] if len(texts) == 1 else "{ " + ", ".join(texts) + " }"


def merge_ports(ports: Iterable[str]) -> list[str]:
    """Ports and ranges, sorted, overlapping and touching ones made one: nft lists them so."""
    spans = sorted(map(span, ports))
    merged: list[tuple[int, int]] = []
    for low, high in spans:
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return [f"{low}" if low == high else f"{low}-{high}" for low, high in merged]


def span(ports: int | str) -> tuple[int, int]:
    """First and last port of `6379` or `10001-10010`."""
    low, _, high = str(ports).partition("-")
    return int(low), int(high or low)


def by_family(addresses: Iterable[str]) -> dict[str, list[str]]:
    """nft's word for the family → the addresses of it as nft lists them, in their order and once each; none empty."""
    known = list(map(_known, dict.fromkeys(addresses)))
    # Sorted family by family: addresses often come in order, but with those of one machine side by side.
    families = (("ip", [one for one in known if one[0] == 4]), ("ip6", [one for one in known if one[0] == 6]))
    return {family: list(dict.fromkeys(text for _, _, text in sorted(found))) for family, found in families if found}


_peers = lru_cache(maxsize=64)(by_family)


@lru_cache(maxsize=1024)
def _flow_sources(flow: Flow) -> dict[str, list[str]]:
    return by_family(flow.sources)


def _networks(cidrs: Sequence[str]) -> list[tuple[str, str]]:
    """nft's word for the family → the networks of it as one text, without empty ones."""
    found: dict[str, list[str]] = {}
    for cidr in cidrs:
        found.setdefault("ip6" if ":" in cidr else "ip", []).append(str(ip_network(cidr)))
    return [(family, canonical(texts)) for family, texts in found.items()]


def _named(interfaces: Iterable[str]) -> str:
    return canonical(f'"{interface}"' for interface in interfaces)


@lru_cache(maxsize=65536)
def _known(address: str) -> tuple[int, int, str]:
    """Version, value, and the text as nft lists it (RFC 5952); sorts as addresses do."""
    known = ip_address(address)
    return known.version, int(known), str(known)


def _sort_key(text: str) -> tuple[int, int, str]:
    """Numbers by value, then addresses by value, then words."""
    if text.isdigit():
        return (0, int(text), "")
    try:
        return (1, _known(text)[1], "")
    except ValueError:
        low = text.partition("-")[0]
        return (0, int(low), text) if low.isdigit() else (2, 0, text)
