"""What apply would set otherwise than the imported files have it: told file by file, at the line that says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_network

from swarmctl.diagnostics import Diagnostic, Range, Severity
from swarmctl.graph.model import Address, Graph, Json
from swarmctl.mesh.wgquick.codes import CHANGES
from swarmctl.mesh.wgquick.draft import MTU
from swarmctl.mesh.wgquick.fleet import Fleet
from swarmctl.mesh.wgquick.nodes import Node, Peer


def compare(fleet: Fleet, graph: Graph, mesh: str) -> Iterator[Diagnostic]:
    """Every setting of the files that the compiled mesh has otherwise."""
    for node in fleet.nodes:
        interface = graph.resources.get(Address("mesh", mesh, node.name))
        peers = graph.resources.get(Address("mesh", mesh, f"{node.name}/peers"))
        if interface is not None and peers is not None:
            yield from _interface(node, interface.inputs)
            yield from _peers(fleet, node, peers.inputs["peers"])


def _interface(node: Node, inputs: Mapping[str, Json]) -> Iterator[Diagnostic]:
    kept = {str(address) for address, _ in node.addresses}
    for text in inputs["addresses"]:
        if text not in kept:
            version = 6 if ":" in text else 4
            own = next(((str(it), at) for it, at in node.addresses if it.version == version), ("none", node.place))
            yield _changes(f"the IPv{version} address of `{node.name}`", own[0], text, own[1])
    port = inputs["listenPort"]
    if node.port is None or node.port.value != port:
        before = str(node.port.value) if node.port else "chosen when the interface comes up"
        yield _changes(f"the port of `{node.name}`", before, port, node.port.place if node.port else node.place)
    mtu = node.mtu.value if node.mtu else MTU
    if mtu != inputs["mtu"]:
        yield _changes(f"the MTU of `{node.name}`", mtu, inputs["mtu"], node.mtu.place if node.mtu else node.place)


def _peers(fleet: Fleet, node: Node, peers: Mapping[str, Mapping[str, Json]]) -> Iterator[Diagnostic]:
    names = {other.key: other.name for other in fleet.nodes if other.key}
    seen = set()
    for peer in node.peers:
        name = names.get(peer.key)
        if name is None or name == node.name:
            continue
        seen.add(name)
        if name in peers:
            yield from _peer(node.name, name, peer, peers[name])
        else:
            yield _changes(f"the peer `{name}` of `{node.name}`", "there", "gone", peer.place)
    for name in sorted(peers.keys() - seen):
        yield _changes(f"the peer `{name}` of `{node.name}`", "not there", "there", node.place)


def _peer(node: str, name: str, peer: Peer, inputs: Mapping[str, Json]) -> Iterator[Diagnostic]:
    what = f"of the peer `{name}` on `{node}`"
    allowed = {str(network) for network, _ in peer.allowed}
    wanted = {str(ip_network(text)) for text in inputs["allowedIps"]}
    if allowed != wanted:
        place = peer.allowed[0][1] if peer.allowed else peer.place
        yield _changes(f"what is sent to and taken from the peer `{name}` on `{node}`",
                       ", ".join(sorted(allowed)) or "nothing", ", ".join(sorted(wanted)), place)  # fmt: skip
    keepalive = peer.keepalive.value if peer.keepalive else 0
    if keepalive != inputs["persistentKeepalive"]:
        place = peer.keepalive.place if peer.keepalive else peer.place
        yield _changes(f"the keepalive {what}", f"{keepalive} s", f"{inputs['persistentKeepalive']} s", place)
    made = "made by the nodes" if "presharedKey" in inputs else "none"
    if peer.preshared or made != "none":
        before = "the file's" if peer.preshared else "none"
        yield _changes(f"the preshared key {what}", before, made, peer.preshared or peer.place)
    endpoint = ""
    if peer.endpoint is not None:
        host = f"[{peer.endpoint.host}]" if ":" in peer.endpoint.host else peer.endpoint.host
        endpoint = f"{host}:{peer.endpoint.port}"
    if endpoint != inputs["endpoint"]:
        place = peer.endpoint.place if peer.endpoint else peer.place
        yield _changes(f"the endpoint {what}", endpoint or "none", inputs["endpoint"] or "none", place)


def _changes(what: str, before: object, after: object, place: Range) -> Diagnostic:
    return Diagnostic(
        CHANGES,
        f"{what} changes: {before} → {after}",
        place,
        label=f"becomes {str(after)[:80]}",
        help="mend the declarations if that is not wanted; `swarmctl plan` shows it before anything is done",
        severity=Severity.WARNING,
    )
