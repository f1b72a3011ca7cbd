"""What the rules of meshes look at: one mesh with its machines, and its networks as far as they are networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

from swarmctl.declarations import fleet
from swarmctl.declarations.declaration import Declaration, Inventory, Unknown
from swarmctl.diagnostics import Code, Diagnostic, Range, Severity
from swarmctl.kinds.mesh.resolve import NOWHERE, Node
from swarmctl.kinds.mesh.spec import Endpoint, MeshSpec
from swarmctl.kinds.mesh.topologies import Selector
from swarmctl.mesh.spans import Span

Network = IPv4Network | IPv6Network
Path = tuple[str | int, ...]


class Declared(NamedTuple):
    """One item of a mesh's `cidrs` that is a network."""

    mesh: Declaration
    item: int
    network: Network

    @property
    def where(self) -> Range:
        """Its place in the files."""
        return self.mesh.value("spec", "cidrs", self.item)


class Subject:
    """One mesh, and the machines that the pools of its clusters declare."""

    def __init__(self, inventory: Inventory, mesh: Declaration, networks: list[Declared]) -> None:
        self.inventory = inventory
        self.mesh = mesh
        self.spec: MeshSpec = mesh.spec
        self.networks = networks
        self.clusters = {cluster.name for cluster in inventory.of("Cluster") if cluster.spec.mesh == mesh.name}

    @cached_property
    def nodes(self) -> dict[str, fleet.Node]:
        """Its machines by name."""
        return {node.name: node for node in self.every_node if node.cluster in self.clusters}

    @cached_property
    def every_node(self) -> list[fleet.Node]:
        """The machines of all meshes."""
        return list(fleet.nodes(self.inventory))

    @cached_property
    def reserved(self) -> list[str]:
        """The items of `reserved` that say which addresses they mean."""
        return [text for text in self.spec.reserved if not isinstance(span(text), str)]

    @property
    def certain(self) -> bool:
        """Whether all machines are known: only then may anything be concluded from one that is not there."""
        return self.inventory.knows("Cluster", fleet.POOL, "Stack")

    @cached_property
    def endpoints(self) -> dict[str, tuple[int, Endpoint]]:
        """Declared endpoints by node, with their place in the list; of two for one node the first."""
        found: dict[str, tuple[int, Endpoint]] = {}
        for index, endpoint in enumerate(self.spec.endpoints):
            found.setdefault(endpoint.node, (index, endpoint))
        return found

    @cached_property
    def unreachable(self) -> dict[str, Range]:
        """Nodes that nobody can contact, each with the place that says so."""
        found: dict[str, Range] = {}
        for name, (index, endpoint) in self.endpoints.items():
            if endpoint.host == NOWHERE and name in self.nodes:
                found[name] = self.mesh.value("spec", "endpoints", index, "host")
        behind = {pool.name for pool in self.inventory.of(fleet.POOL) if fleet.behind_nat(pool)}
        for name, node in self.nodes.items() if behind else ():
            if node.pool.name in behind and name not in self.endpoints:
                found[name] = node.pool.value("spec", node.pool.variant, "nat")
        return found

    def place(self, *path: str | int) -> Range:
        """Where the value at `path` under `spec` stands; the mesh's name when its first step is left out."""
        written = self.mesh.written("spec", str(path[0]))
        return self.mesh.value("spec", *path) if written else self.mesh.value("metadata", "name")

    def selects_nothing(
        self,
        code: Code,
        message: str,
        path: Path,
        selector: Selector,
        among: Iterable[fleet.Node | Node],
        *,
        severity: Severity = Severity.ERROR,
    ) -> Diagnostic:
        """The diagnostic for a selector at `path` (from the document's root) that takes none of `among`."""
        sets: list[Mapping[str, str]] = [node.labels for node in among]
        key, slip = fleet.selector_slip(selector, sets)
        known = any(key in labels for labels in sets)
        mesh = self.mesh
        where = mesh.value(*path) if not key else mesh.value(*path, key) if known else mesh.key(*path, key)
        return Diagnostic(code, message, where, label="no machine has this", help=slip, severity=severity)


def span(text: str) -> Span | str:
    """The addresses that an item of `reserved` means, or why it means none."""
    if isinstance(text, Unknown):
        return ""
    try:
        return Span(text)
    except ValueError as error:
        return str(error)
