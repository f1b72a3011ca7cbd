"""How far a rotation has come, told by the facts of the nodes alone. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address, ip_interface, ip_network

from swarmctl.graph.model import Json
from swarmctl.hosts.facts import Facts, Peer, WireGuard

_KEY = re.compile(r"[A-Za-z0-9+/]{43}=")


@dataclass(frozen=True, slots=True)
class Way:
    """A peer as one end has it."""

    node: str
    entry: str
    """The public key that the first interface knows it by; empty when it has no such peer."""
    endpoint: str
    allowed: tuple[str, ...]
    keepalive: int
    preshared: bool


@dataclass(frozen=True, slots=True)
class Link:
    """A tunnel between two nodes; `one` sorts first."""

    one: str
    other: str

    def ends(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """Each end with the one across."""
        return ((self.one, self.other), (self.other, self.one))

    def across(self, node: str) -> str:
        """The other end."""
        return self.other if node == self.one else self.one


class Survey:
    """Every node of a mesh that could be read, and the links that a rotation is about."""

    def __init__(self, inputs: Mapping[str, Json], facts: Mapping[str, Facts]) -> None:
        """`inputs` of the rotation; `facts` by node, without nodes that can't be read or have no key yet."""
        self.inputs = inputs
        self.interface: str = inputs["interface"]
        self.second: str = inputs["nextInterface"]
        self.facts = {name: it for name, it in facts.items() if inputs["keyPath"] in it.public_keys}

    @cached_property
    def owners(self) -> Mapping[str, str]:
        """Nodes by every public key that stands for them somewhere."""
        found: dict[str, str] = {}
        for name in self.facts:
            trail = self.facts[name].key_trails.get(self.inputs["keyPath"])
            previous = trail.previous_key if trail else ""
            installed = first.public_key if (first := self.first(name)) else ""
            for key in (previous, installed, self.current(name), self.following(name)):
                if _KEY.fullmatch(key):
                    found[key] = name
        return found

    def first(self, node: str) -> WireGuard | None:
        """The interface that the mesh always has."""
        return self.facts[node].wireguard.get(self.interface) if node in self.facts else None

    def next(self, node: str) -> WireGuard | None:
        """The second interface, while there is one."""
        return self.facts[node].wireguard.get(self.second) if node in self.facts else None

    def current(self, node: str) -> str:
        """Public half of the key file."""
        return self.facts[node].public_keys[self.inputs["keyPath"]]

    def following(self, node: str) -> str:
        """Public half of the key that is to take its place; empty when there is none."""
        trail = self.facts[node].key_trails.get(self.inputs["keyPath"])
        return trail.next_key if trail else ""

    def goal(self, node: str) -> str:
        """The public key that the node shall have in the end. It stays the same until all is done."""
        return self.following(node) or self.current(node)

    def rotating(self) -> set[str]:
        """Nodes with a key that is to take the place of theirs."""
        return {name for name in self.facts if self.following(name)}

    def in_flight(self) -> set[str]:
        """Nodes on which a rotation has left something to do."""
        return {name for name in self.facts if self.following(name) or self.second in self.facts[name].interfaces}

    @cached_property
    def _ways(self) -> dict[str, dict[str, Way]]:
        return {name: {way.node: way for way in self._of(name)} for name in self.facts}

    def way(self, node: str, across: str) -> Way:
        """The peer `across` as `node` has it. Raises KeyError."""
        return self._ways[node][across]

    def peers(self, node: str) -> list[str]:
        """Names of the nodes that it has as peers."""
        return sorted(self._ways[node])

    def _of(self, node: str) -> Iterator[Way]:
        first, second = self.first(node), self.next(node)
        known: set[str] = set()
        for key, peer in first.peers.items() if first else ():
            owner = self.owners.get(key, "")
            # Known by two keys at once when a change was cut off: the one that it shall have is the one that counts.
            if owner and owner != node and (owner not in known or key == self.goal(owner)):
                known.add(owner)
                yield _way(owner, key, peer, peer.endpoint)
        for key, peer in second.peers.items() if second else ():
            owner = self.owners.get(key, "")
            if owner and owner not in known and owner != node:
                yield _way(owner, "", peer, self._elsewhere(peer.endpoint, owner))

    def _elsewhere(self, endpoint: str, node: str) -> str:
        """Where the first interface of a node is, when its second one is at `endpoint`."""
        host, _, port = endpoint.rpartition(":")
        moved = host and port == str(self.inputs["nextPort"])
        return f"{host}:{self.inputs['listenPort']}" if moved else endpoint

    def links(self, rotating: Collection[str]) -> list[Link]:
        """Those that end at a node of `rotating`, and those that are on a second interface, in order; both ends read
        and both know of each other."""
        found = set()
        for node, ways in self._ways.items():
            for across in ways:
                both = across in self._ways and node in self._ways[across]
                if both and ({node, across} & set(rotating) or self.on_second(node, across)):
                    found.add(Link(*sorted((node, across))))
        return sorted(found, key=lambda link: (link.one, link.other))

    def on_second(self, node: str, across: str) -> bool:
        """Whether the second interface of `node` has the peer `across`."""
        second = self.next(node)
        return second is not None and any(self.owners.get(key) == across for key in second.peers)

    def absent(self, link: Link) -> bool:
        """Whether an end has no interface, or one that is down since it was restarted: there is nothing to keep alive
        then, and what it needs is made after the rotation."""
        return any(self.first(end) is None or self._down(end) for end in (link.one, link.other))

    def _down(self, node: str) -> bool:
        link = self.facts[node].interfaces.get(self.interface)
        return link is not None and not link.up

    def turned(self, link: Link) -> bool:
        """Whether both ends have their keys of the end on the first interface, and know each other's."""
        return all(
            (first := self.first(node)) is not None
            and first.public_key == self.goal(node)
            and self.way(node, across).entry == self.goal(across)
            for node, across in link.ends()
        )

    def second_endpoint(self, node: str, across: str) -> str:
        """Where `node` finds the second interface of `across`; empty where that is behind a translated port."""
        endpoint = self.way(node, across).endpoint
        host, _, port = endpoint.rpartition(":")
        first = self.first(across)
        if not host or first is None or port != str(first.listen_port):
            return ""
        return f"{host}:{self.inputs['nextPort']}"

    def initiator(self, link: Link) -> str:
        """The one end that begins the handshake. Were both to begin, their messages would cross, and WireGuard would
        wait five seconds before it tries again.

        Who is not where the other one sees him is behind address translation: only he can begin.
        """
        able = [node for node, across in link.ends() if self.second_endpoint(node, across)] or [link.one, link.other]
        hidden = [node for node in able if not self._seen(link.across(node), node)]
        return min(hidden or able)

    def _seen(self, node: str, across: str) -> bool:
        """Whether the address at which `node` finds `across` is one of its own."""
        host = self.way(node, across).endpoint.rpartition(":")[0].strip("[]")
        own = {text.partition("/")[0] for link in self.facts[across].interfaces.values() for text in link.addresses}
        return host in own

    def source(self, node: str, network: str) -> str:
        """The node's own address for what goes to `network`; empty when it has none of that family."""
        link, wanted = self.facts[node].interfaces.get(self.interface), ip_network(network)
        own = [ip_interface(text) for text in (link.addresses if link else ())]
        own = [one for one in own if one.version == wanted.version]
        near = [one for one in own if wanted.network_address in one.network]
        return str((near or own)[0].ip) if own else ""


def _way(node: str, entry: str, peer: Peer, endpoint: str) -> Way:
    """Raises ValueError for what WireGuard would never print."""
    allowed = tuple(str(ip_network(network)) for network in peer.allowed_ips)
    host, _, port = endpoint.rpartition(":")
    if endpoint:
        ip_address(host.strip("[]").partition("%")[0])
        int(port)
    return Way(node, entry, endpoint, allowed, peer.keepalive, peer.preshared)
