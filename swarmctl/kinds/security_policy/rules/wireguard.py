"""Flows to the ports that WireGuard listens on."""

from __future__ import annotations

from collections.abc import Iterator

from swarmctl.declarations import fleet
from swarmctl.declarations.declaration import Declaration, Inventory
from swarmctl.diagnostics import Code, Diagnostic, Related
from swarmctl.kinds.security_policy.rules.places import FLOWS
from swarmctl.kinds.security_policy.spec import Flow
from swarmctl.mesh.firewall import span
from swarmctl.mesh.names import next_port
from swarmctl.mesh.selectors import matches

WIREGUARD_PORT = Code(
    "SW3307",
    "flow to a port that WireGuard listens on",
    """WireGuard listens on the mesh's `listenPort` over UDP on every machine, at all of its addresses, and on a second
port, most often the one after it, while keys are rotated. No service can have these ports too, so the flow leads to
nobody; and a service that wants one would keep the mesh from starting.

Wrong: a Mesh with `listenPort: 51820`, and `{name: game, protocol: udp, ports: [51820]}` or `ports: [51000-52000]`

Right: `ports: [51822]`, `ports: [51000-51819, 51822-52000]`, or another `listenPort`
""",
)


def check(inventory: Inventory, policy: Declaration, flows: list[Flow]) -> Iterator[Diagnostic]:
    """Flows over UDP to machines that have the port for WireGuard; each item of `ports` is told once."""
    meshes: dict[str, set[str]] = {}
    for cluster in inventory.of("Cluster"):
        if cluster.spec.security_policy == policy.name:
            meshes.setdefault(cluster.spec.mesh, set()).add(cluster.name)
    told: set[tuple[int, int]] = set()
    for name, clusters in meshes.items():
        mesh = inventory.get("Mesh", name)
        if mesh is None:
            continue
        sets = fleet.label_sets(inventory, clusters)
        listening = (mesh.spec.listen_port, _second(mesh))
        for index, flow in enumerate(flows):
            if flow.protocol != "udp" or not any(matches(flow.to, labels) for labels in sets):
                continue
            for item, ports in enumerate(flow.ports):
                first, last = span(ports)
                port = next((port for port in listening if first <= port <= last), None)
                if port is not None and (index, item) not in told:
                    told.add((index, item))
                    yield _taken(policy, mesh, index, item, flow, port)


def _second(mesh: Declaration) -> int:
    """The port of the second interface."""
    return next_port(mesh.spec.listen_port, mesh.spec.keys.rotation_port)


def _taken(policy: Declaration, mesh: Declaration, index: int, item: int, flow: Flow, port: int) -> Diagnostic:
    spans, (low, last) = [], span(flow.ports[item])
    for taken in sorted((mesh.spec.listen_port, _second(mesh))):
        if low <= taken <= last:
            spans.append((low, taken - 1))
            low = taken + 1
    spans.append((low, last))
    free = ", ".join(f"{low}-{high}" if low < high else f"{low}" for low, high in spans if low <= high)
    second = port != mesh.spec.listen_port
    field = ("spec", "keys", "rotationPort") if second else ("spec", "listenPort")
    written = mesh.written(*field)
    return Diagnostic(
        WIREGUARD_PORT,
        f"the flow `{flow.name}` goes to UDP port {port}, and there WireGuard listens for the Mesh `{mesh.name}`"
        + (" while keys are rotated" if second else ""),
        policy.value(*FLOWS, index, "ports", item),
        label=f"port {port} is taken",
        help=f"write `ports: [{free}]`" if free else f"take another port, or another `{field[-1]}` than {port}",
        related=(
            Related(
                mesh.value(*field) if written else mesh.value("metadata", "name"),
                "WireGuard's port" if written else f"the mesh; its `{field[-1]}` is {port} when left out",
            ),
        ),
    )
