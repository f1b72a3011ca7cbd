"""What is declared of a fleet: the plainest topology that fits, and one value where files have many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TypeVar

from swarmctl.diagnostics import Diagnostic, Range, Severity
from swarmctl.mesh.wgquick.codes import NOT_DECLARED
from swarmctl.mesh.wgquick.fleet import Fleet
from swarmctl.mesh.wgquick.nodes import Node, is_interface

T = TypeVar("T")

PORT = 51820
MTU = 1420
"""What wg-quick(8) sets where nothing is written and the underlay has the usual 1500."""
NOWHERE = "none"

INSTEAD = {
    "DNS": "the resolver of the node stays as it is; set it by other means",
    "Table": "swarmctl sets routes to the mesh in the main table",
    "PreUp": "nothing runs it any more; swarmctl forwards by itself where the topology needs it",
    "PostUp": "nothing runs it any more; swarmctl forwards by itself where the topology needs it, and filters by "
    "the SecurityPolicy",
    "PreDown": "nothing runs it any more",
    "PostDown": "nothing runs it any more",
    "FwMark": "swarmctl takes the mark off",
    "SaveConfig": "nothing writes the file any more; it stays as it is",
}

BEHIND = (
    "only addresses of the mesh go through its tunnels, and apply takes this network away: give the machines behind it "
    "addresses of the mesh, as nodes; or keep a tunnel of your own for it, another interface with another port"
)


@dataclass(slots=True)
class Draft:
    """What will be written down."""

    name: str
    cidrs: list[str]
    addresses: dict[str, list[str]]
    hubs: list[str] = field(default_factory=list)
    """Nodes with a tunnel to every other; with `links` empty, all of them hubs. Both empty: a full mesh."""
    links: list[tuple[str, str]] = field(default_factory=list)
    endpoints: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Host and port by node."""
    port: int = PORT
    mtu: int = MTU
    keepalive: int = 0
    interface: str = "wg0"
    preshared: bool = False
    """Whether tunnels have preshared keys: all of them then, made by the nodes."""

    @property
    def topology(self) -> str:
        """In words."""
        if self.links:
            return f"{len(self.links)} links"
        return f"hub and spoke, hubs: {', '.join(self.hubs)}" if self.hubs else "full mesh"


def draft(fleet: Fleet, name: str, interface: str = "") -> Draft:
    """The declaration that comes closest to the files."""
    found = Draft(
        name=name,
        cidrs=[str(network) for network in fleet.networks],
        addresses={node.name: [it for v in (4, 6) if (it := node.address(v))] for node in fleet.nodes},
        port=_port(fleet),
        mtu=_usual((node.mtu.value if node.mtu else MTU for node in fleet.nodes), MTU),
        interface=interface or _interface(fleet),
        preshared=any(peer.preshared for node in fleet.nodes for peer in node.peers),
    )
    _topology(found, fleet)
    for node in fleet.nodes:
        said = [(peer.endpoint.host, peer.endpoint.port) for peer in fleet.endpoints(node) if peer.endpoint]
        if said:
            found.endpoints[node.name] = _usual(said, said[0])
        elif any(node.name in pair for pair in fleet.tunnels):
            found.endpoints[node.name] = (NOWHERE, 0)
    found.keepalive = _keepalive(fleet, found)
    return found


def undeclared(fleet: Fleet) -> Iterator[Diagnostic]:
    """What declarations have no word for, item by item."""
    for node in fleet.nodes:
        for setting in node.rest:
            yield _warning(f"`{setting.key}` of `{node.name}` is not imported", setting.line, INSTEAD[setting.key])
        for version in (4, 6):
            own = [(address, place) for address, place in node.addresses if address.version == version]
            for address, place in own[1:]:
                yield _warning(
                    f"the second IPv{version} address of `{node.name}`, `{address}`, is not imported",
                    place,
                    "a node has one address in each network of the mesh; apply takes this one away",
                )
        for peer in node.peers:
            for network, place in peer.allowed:
                if not fleet.has(network):
                    yield _warning(
                        f"`{network}` behind a peer of `{node.name}` is not imported",
                        place,
                        BEHIND,
                    )


def _warning(message: str, place: Range, instead: str) -> Diagnostic:
    return Diagnostic(NOT_DECLARED, message, place, label="no field says this", help=instead, severity=Severity.WARNING)


def _usual(values: Iterable[T], otherwise: T) -> T:
    """What most of them are."""
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else otherwise


def _port(fleet: Fleet) -> int:
    written = [node.port.value for node in fleet.nodes if node.port]
    told = [peer.endpoint.port for node in fleet.nodes for peer in node.peers if peer.endpoint]
    return _usual(written or told, PORT)


def _interface(fleet: Fleet) -> str:
    stems = {PurePath(node.file).stem for node in fleet.nodes}
    return stems.pop().lower() if len(stems) == 1 and all(map(is_interface, stems)) else "wg0"


def _topology(found: Draft, fleet: Fleet) -> None:
    names = [node.name for node in fleet.nodes]
    tunnels = fleet.tunnels
    if len(tunnels) == len(names) * (len(names) - 1) // 2:
        return
    ends = Counter(name for pair in tunnels for name in pair)
    hubs = {name for name in names if ends[name] == len(names) - 1}
    if hubs and all(not hubs.isdisjoint(pair) for pair in tunnels):
        found.hubs = sorted(hubs)
    else:
        found.links = sorted(tunnels)


def _keepalive(fleet: Fleet, found: Draft) -> int:
    """The least of all between nodes that can be reached: those behind NAT have one without being told."""
    reached = {name for name, (host, _) in found.endpoints.items() if host != NOWHERE}

    def seconds(nodes: Iterable[Node]) -> list[int]:
        keys = {node.key for node in fleet.nodes if node.name in reached}
        return [
            peer.keepalive.value if peer.keepalive else 0
            for node in nodes
            for peer in node.peers
            if node.name in reached and peer.key in keys
        ]

    return min(seconds(fleet.nodes), default=0)
