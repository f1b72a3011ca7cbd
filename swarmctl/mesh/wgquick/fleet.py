"""All files together → who is who, and what does not fit together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import PurePath

from swarmctl.diagnostics import Diagnostic, Range, Related, Severity
from swarmctl.mesh.wgquick.codes import CONFLICT, INSIDE, NO_COUNTERPART, NO_NAME, NO_NETWORK, OTHER_KEY, SAME_KEY
from swarmctl.mesh.wgquick.nodes import Network, Node, Peer, is_interface, label

_PLACES = ("wireguard", "etc", "configs", "conf")
"""Folders that are called after what is in them, and not after a node."""
_LEAST = {4: 8, 6: 16}
"""Prefix length below which a network is no mesh but a part of the world, such as `0.0.0.0/0`."""
_USUAL = {4: 24, 6: 64}


@dataclass(frozen=True, slots=True)
class Fleet:
    """The nodes of all files that belong together."""

    nodes: tuple[Node, ...]
    networks: tuple[Network, ...]
    """IPv4 first."""

    def of(self, key: str) -> Node | None:
        """The node with this public key."""
        return next((node for node in self.nodes if node.key == key), None)

    def has(self, network: Network) -> bool:
        """Whether the network is a part of the mesh's own, and nothing that lies behind a node."""
        return any(network.version == net.version and network.subnet_of(net) for net in self.networks)  # type: ignore[arg-type]

    @property
    def tunnels(self) -> set[tuple[str, str]]:
        """Both names in order, where at least one end knows the other."""
        keys = {node.key: node.name for node in self.nodes if node.key}
        found = ((node.name, keys[peer.key]) for node in self.nodes for peer in node.peers if peer.key in keys)
        return {(min(pair), max(pair)) for pair in found if pair[0] != pair[1]}

    def endpoints(self, node: Node) -> list[Peer]:
        """The sections of others about this node that say where it is."""
        return [
            peer for other in self.nodes for peer in other.peers if peer.key == node.key and peer.endpoint is not None
        ]


def assemble(nodes: Sequence[Node]) -> tuple[Fleet, list[Diagnostic]]:
    """Name the nodes, find their keys and networks, and everything in which the files contradict each other."""
    problems = list(_name(nodes))
    _infer_keys(nodes)
    networks: list[Network] = []
    for version in (4, 6):
        found = _network(nodes, version)
        if isinstance(found, Diagnostic):
            problems.append(found)
        elif found is not None:
            networks.append(found)
    if nodes and not networks and not any(problem.code is NO_NETWORK for problem in problems):
        problems.append(_no_network(nodes[0].place, "none of the files has an `Address`"))
    fleet = Fleet(tuple(sorted(nodes, key=lambda node: node.name)), tuple(networks))
    return fleet, [*problems, *_keys(fleet), *_addresses(fleet), *_inside(fleet), *_halves(fleet)]


def _name(nodes: Sequence[Node]) -> Iterator[Diagnostic]:
    taken: dict[str, Node] = {}
    for node in nodes:
        node.name, where = _called(node)
        if not node.name:
            yield Diagnostic(
                NO_NAME,
                f"nothing says how the node of {node.file} is called",
                where,
                label="no name",
                help="rename the file to NODE.conf, or write `# Name = NODE` above `[Interface]`",
            )
        elif taken.setdefault(node.name, node) is not node:
            yield Diagnostic(
                NO_NAME,
                f"two files are of one node: `{node.name}`",
                where,
                label=f"called `{node.name}`, too",
                help="rename one of the files, or write `# Name = NODE` above its `[Interface]`",
                related=(Related(_called(taken[node.name])[1], "the other one"),),
            )


def _called(node: Node) -> tuple[str, Range]:
    if node.called and label(node.called[0]):
        return label(node.called[0]), node.called[1]
    path = PurePath(node.file)
    if not is_interface(path.stem):
        return label(path.stem), node.place
    folders = (label(part) for part in reversed(path.parts[:-1]) if part.lower() not in _PLACES)
    return next((name for name in folders if name), ""), node.place


def _infer_keys(nodes: Sequence[Node]) -> None:
    """A file without a private key (it may stand in a file of its own) is who others have at its address."""
    for node in nodes:
        if not node.key:
            keys = {peer.key for other in nodes if other is not node for peer in other.peers if _at(peer, node)}
            node.key = keys.pop() if len(keys) == 1 else ""


def _at(peer: Peer, node: Node) -> bool:
    own = {str(ip_network(address.ip)) for address, _ in node.addresses}
    return any(str(network) in own for network, _ in peer.allowed)


def _network(nodes: Sequence[Node], version: int) -> Network | Diagnostic | None:
    """The network that all addresses of a family are in."""
    own = [next(((a, p) for a, p in node.addresses if a.version == version), None) for node in nodes]
    addresses = [item for item in own if item is not None]
    if not addresses:
        return None
    # Written networks count before those that are only sent into tunnels, small ones before large ones.
    written = {address.network for address, _ in addresses if address.network.num_addresses > 1}
    routed = {network for node in nodes for peer in node.peers for network, _ in peer.allowed}
    for candidates in (written, routed):
        for network in sorted(candidates, key=lambda one: -one.prefixlen):
            if network.version == version and network.prefixlen >= _LEAST[version] and network.num_addresses > 1:
                if all(address.ip in network for address, _ in addresses):
                    return network
    if written:
        usual, _ = Counter(address.network for address, _ in addresses).most_common(1)[0]
        place = next(place for address, place in addresses if address.ip not in usual)
        return _no_network(place, f"not in `{usual}`, where others are")
    network = ip_network((addresses[0][0].ip, _USUAL[version]), strict=False)
    while not all(address.ip in network for address, _ in addresses):
        network = network.supernet()
    if network.prefixlen < _LEAST[version]:
        return _no_network(addresses[0][1], "far from the others")
    return network


def _no_network(where: Range, why: str) -> Diagnostic:
    return Diagnostic(
        NO_NETWORK,
        "the nodes have no network in common",
        where,
        label=why,
        help="give only files of one mesh, each with an `Address` in its network",
    )


def _keys(fleet: Fleet) -> Iterator[Diagnostic]:
    owners: dict[str, Node] = {}
    for node in fleet.nodes:
        if node.key and owners.setdefault(node.key, node) is not node:
            yield Diagnostic(
                SAME_KEY,
                f"`{node.name}` and `{owners[node.key].name}` have the same key",
                node.key_place or node.place,
                label="a key that another node has",
                help="make a key of its own for one of them, and tell its peers",
                related=(Related(owners[node.key].key_place or owners[node.key].place, "the other node"),),
            )
        seen: dict[str, Peer] = {}
        for peer in node.peers:
            if seen.setdefault(peer.key, peer) is not peer:
                yield Diagnostic(
                    SAME_KEY,
                    f"two peers of `{node.name}` have the same public key",
                    peer.place,
                    label="the later section wins",
                    help="take one of them out, or mend its key",
                    related=(Related(seen[peer.key].place, "the first one"),),
                )
            if peer.key == node.key:
                yield Diagnostic(
                    SAME_KEY,
                    f"`{node.name}` is its own peer",
                    peer.place,
                    label="its own public key",
                    help="take the section out, or mend its key",
                )
        yield from _other_key(fleet, node)


def _other_key(fleet: Fleet, node: Node) -> Iterator[Diagnostic]:
    if node.key_place is None or not node.key:
        return
    wrong = [
        (other, peer)
        for other in fleet.nodes
        for peer in other.peers
        if other is not node and peer.key != node.key and _at(peer, node) and fleet.of(peer.key) is None
    ]
    if wrong:
        names = ", ".join(f"`{other.name}`" for other, _ in wrong[:3])
        yield Diagnostic(
            OTHER_KEY,
            f"the private key of `{node.name}` does not fit the public key that {names} has",
            node.key_place,
            label="of another key pair",
            help="take the files anew from the nodes, or mend the public key",
            related=tuple(Related(peer.place, f"what `{other.name}` takes for its key") for other, peer in wrong[:3]),
        )


def _addresses(fleet: Fleet) -> Iterator[Diagnostic]:
    taken: dict[str, tuple[Node, Range]] = {}
    for node in fleet.nodes:
        for address, place in node.addresses:
            first = taken.setdefault(str(address.ip), (node, place))
            if first[0] is not node:
                yield _conflict(f"`{node.name}` and `{first[0].name}` have the same address: `{address.ip}`",
                                place, first[1], "the address of another node")  # fmt: skip
        allowed: dict[str, tuple[Peer, Range]] = {}
        for peer in node.peers:
            for network, place in peer.allowed:
                before = allowed.setdefault(str(network), (peer, place))
                if before[0] is not peer:
                    yield _conflict(f"two peers of `{node.name}` have the same network: `{network}`",
                                    place, before[1], "taken away from the other peer")  # fmt: skip


def _conflict(message: str, place: Range, first: Range, label: str) -> Diagnostic:
    mend = "keep it in one of the two"
    return Diagnostic(CONFLICT, message, place, label=label, help=mend, related=(Related(first, "the other one"),))


def _inside(fleet: Fleet) -> Iterator[Diagnostic]:
    for node in fleet.nodes:
        for peer in node.peers:
            host = peer.endpoint.host if peer.endpoint else ""
            if not host or not (":" in host or host.replace(".", "").isdigit()) or peer.endpoint is None:
                continue
            if network := next((it for it in fleet.networks if ip_address(host) in it), None):
                yield Diagnostic(
                    INSIDE,
                    f"the endpoint `{host}` is in the mesh's own network `{network}`",
                    peer.endpoint.place,
                    label="inside the tunnel that should lead there",
                    help="write the peer's address below the mesh, or a DNS name for it",
                )


def _halves(fleet: Fleet) -> Iterator[Diagnostic]:
    for node in fleet.nodes:
        for peer in node.peers:
            other = fleet.of(peer.key)
            if other is None and not any(_at(peer, it) for it in fleet.nodes):
                name = f" `{peer.name}`" if peer.name else ""
                yield _half(
                    f"the file of the peer{name} is not among those given",
                    peer.place,
                    "nothing is declared of it",
                    f"give its file, too; else apply takes the peer away from `{node.name}`",
                )
            elif other is not None and other is not node and node.key and other.knows(node.key) is None:
                yield _half(
                    f"`{other.name}` does not have `{node.name}` as its peer",
                    peer.place,
                    "half a tunnel",
                    f"take the section out, or expect that apply makes the other half on `{other.name}`",
                )


def _half(message: str, place: Range, label: str, mend: str) -> Diagnostic:
    return Diagnostic(NO_COUNTERPART, message, place, label=label, help=mend, severity=Severity.WARNING)
