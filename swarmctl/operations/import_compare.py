"""What apply would set otherwise than the imported files have it: told file by file, at the line that says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_network

from swarmctl.diagnostics import Diagnostic, Range, Severity
from swarmctl.graph.model import Address, Graph, Json
from swarmctl.mesh.wgquick.codes import CHANGES
from swarmctl.mesh.wgquick.draft import MTU
from swarmctl.mesh.wgquick.fleet import Fleet
from swarmctl.mesh.wgquick.nodes import Network, Node, Peer

_ONE = "a mesh has one value for all nodes: "
MENDS = {
    "addresses": "write it under `addresses` in the Mesh, or accept the change",
    "listenPort": f"{_ONE}write the port that is to stay as `listenPort`, and set the others in the files and on the "
    "nodes before, or accept the change",
    "mtu": f"{_ONE}write the one that all links carry as `mtu`, or accept the change",
    "peers": "write as `topology: {links: …}` which tunnels there are to be, or accept the change",
    "allowedIps": "the topology says what is sent where: take another one, or accept the change",
    "persistentKeepalive": f"{_ONE}write `persistentKeepalive: 25` to have it at both ends of every tunnel; nodes with "
    "`host: none` as their endpoint have it without that",
    "presharedKey": "with `keys: {presharedKeys: generated}` in the Mesh the nodes make new ones for all tunnels, and "
    "these go on meanwhile; without it there are none. Nothing takes over those of the files",
    "endpoint": "write under `endpoints` in the Mesh where the peer is reached, which is the same for all; `none` "
    "where it has to begin",
}
"""What can be done about a change, by setting."""


def compare(fleet: Fleet, graph: Graph, mesh: str, stand_ins: Mapping[str, str]) -> Iterator[Diagnostic]:
    """Every setting of the files that the compiled mesh has otherwise. `stand_ins`: endpoints in the graph → meant."""
    for node in fleet.nodes:
        interface = graph.resources.get(Address("mesh", mesh, node.name))
        peers = graph.resources.get(Address("mesh", mesh, f"{node.name}/peers"))
        if interface is not None and peers is not None:
            yield from _interface(node, interface.inputs)
            yield from _peers(fleet, node, peers.inputs["peers"], stand_ins)


def _interface(node: Node, inputs: Mapping[str, Json]) -> Iterator[Diagnostic]:
    kept = {str(address) for address, _ in node.addresses}
    for text in inputs["addresses"]:
        if text not in kept:
            version = 6 if ":" in text else 4
            own = next(((str(it), at) for it, at in node.addresses if it.version == version), ("none", node.place))
            yield _changes("addresses", f"the IPv{version} address of `{node.name}`", own[0], text, own[1])
    port = inputs["listenPort"]
    if node.port is None or node.port.value != port:
        before = str(node.port.value) if node.port else "chosen when the interface comes up"
        place = node.port.place if node.port else node.place
        yield _changes("listenPort", f"the port of `{node.name}`", before, port, place)
    mtu = node.mtu.value if node.mtu else MTU
    if mtu != inputs["mtu"]:
        place = node.mtu.place if node.mtu else node.place
        yield _changes("mtu", f"the MTU of `{node.name}`", mtu, inputs["mtu"], place)


def _peers(
    fleet: Fleet, node: Node, peers: Mapping[str, Mapping[str, Json]], stand_ins: Mapping[str, str]
) -> Iterator[Diagnostic]:
    names = {other.key: other.name for other in fleet.nodes if other.key}
    seen = set()
    for peer in node.peers:
        name = names.get(peer.key)
        if name is None or name == node.name:
            continue
        seen.add(name)
        if name in peers:
            yield from _peer(fleet, node.name, name, peer, peers[name], stand_ins)
        else:
            yield _changes("peers", f"the peer `{name}` of `{node.name}`", "there", "gone", peer.place)
    for name in sorted(peers.keys() - seen):
        yield _changes("peers", f"the peer `{name}` of `{node.name}`", "not there", "there", node.place)


def _peer(
    fleet: Fleet, node: str, name: str, peer: Peer, inputs: Mapping[str, Json], stand_ins: Mapping[str, str]
) -> Iterator[Diagnostic]:
    what = f"of the peer `{name}` on `{node}`"
    yield from _allowed(fleet, node, name, peer, {str(ip_network(text)) for text in inputs["allowedIps"]})
    keepalive = peer.keepalive.value if peer.keepalive else 0
    if keepalive != inputs["persistentKeepalive"]:
        place = peer.keepalive.place if peer.keepalive else peer.place
        yield _changes("persistentKeepalive", f"the keepalive {what}",
                       f"{keepalive} s", f"{inputs['persistentKeepalive']} s", place)  # fmt: skip
    made = "made by the nodes" if "presharedKey" in inputs else "none"
    if peer.preshared or made != "none":
        before = "the file's" if peer.preshared else "none"
        yield _changes("presharedKey", f"the preshared key {what}", before, made, peer.preshared or peer.place)
    endpoint = ""
    if peer.endpoint is not None:
        host = f"[{peer.endpoint.host}]" if ":" in peer.endpoint.host else peer.endpoint.host
        endpoint = f"{host}:{peer.endpoint.port}"
    wanted = stand_ins.get(inputs["endpoint"], inputs["endpoint"])
    if endpoint != wanted:
        place = peer.endpoint.place if peer.endpoint else peer.place
        yield _changes("endpoint", f"the endpoint {what}", endpoint or "none", wanted or "none", place)


def _allowed(fleet: Fleet, node: str, name: str, peer: Peer, wanted: set[str]) -> Iterator[Diagnostic]:
    """What changes of it inside the mesh: networks behind peers are told as such, with all that they take along."""
    inside = {str(network) for network, _ in peer.allowed if fleet.has(network)}
    outside = [network for network, _ in peer.allowed if not fleet.has(network)]
    new = [text for text in wanted - inside if not any(_within(text, network) for network in outside)]
    if new or inside - wanted:
        place = peer.allowed[0][1] if peer.allowed else peer.place
        yield _changes("allowedIps", f"what is sent to and taken from the peer `{name}` on `{node}`",
                       ", ".join(sorted(inside)) or "nothing", ", ".join(sorted(wanted)), place)  # fmt: skip


def _within(text: str, network: Network) -> bool:
    one = ip_network(text)
    return one.version == network.version and one.overlaps(network) and one.prefixlen >= network.prefixlen


def _changes(setting: str, what: str, before: object, after: object, place: Range) -> Diagnostic:
    return Diagnostic(
        CHANGES,
        f"{what} changes: {before} → {after}",
        place,
        label=f"becomes {str(after)[:80]}",
        help=MENDS[setting],
        severity=Severity.WARNING,
    )
