"""What must hold for security policies beyond their schema: flows that mean something, and ports that add up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from swarmctl.declarations import fleet
from swarmctl.declarations.declaration import Declaration, Inventory, Unknown, is_known
from swarmctl.diagnostics import Code, Diagnostic, Related, Severity
from swarmctl.kinds.security_policy.spec import Flow
from swarmctl.mesh.selectors import matches

LAST_PORT = 65535
_FLOWS = ("spec", "network", "flows")

FLOW_TWICE = Code(
    "SW3301",
    "two flows with one name",
    """Flows have unique names in their policy; plan, status and the firewall's comments speak of them by name.

Wrong: `flows: [{name: ray, ports: [6379]}, {name: ray, ports: [8265]}]`

Right: `flows: [{name: ray, ports: [6379]}, {name: ray-dashboard, ports: [8265]}]`
""",
)
PORT_RANGE = Code(
    "SW3302",
    "port range that is none",
    """A range goes from a smaller port to a greater one, and ports end at 65535.

Wrong: `ports: [10010-10001]`, `ports: [60000-70000]`

Right: `ports: [10001-10010]`, `ports: [60000-65535]`
""",
)
PORT_CLASH = Code(
    "SW3303",
    "port listed twice",
    """Two items of one flow's `ports` have ports in common. One of them is most often a slip for another port.

Wrong: `ports: [6379, 6000-7000]`

Right: `ports: [6000-7000]`
""",
)
NO_NODE = Code(
    "SW3304",
    "flow that selects no machine",
    """No machine of the clusters with this policy has the labels, so the flow allows nothing. Most often a label is
misspelt. A warning: the machines may come later.

Wrong: `from: {rol: worker}` where the pools have `labels: {role: worker}`

Right: `from: {role: worker}`
""",
)
ALREADY_ALLOWED = Code(
    "SW3305",
    "flow that another one allows already",
    """Two flows between the same machines over the same protocol have ports in common. The traffic is allowed once
either of them says so; removing one of them will not close the port. A warning.

Wrong: `{name: a, to: {role: head}, ports: [9100]}` and `{name: b, to: {role: head}, ports: [9000-9200]}`

Right: one of them, or ports apart
""",
)
UNUSED = Code(
    "SW3306",
    "security policy that no cluster uses",
    """No Cluster names the policy, so it protects nothing. A warning: the cluster may come later.

Wrong: a SecurityPolicy `strict`, and every Cluster with `securityPolicy: baseline`

Right: `securityPolicy: strict` in a Cluster, or the policy removed
""",
)
WIREGUARD_PORT = Code(
    "SW3307",
    "flow to the port that WireGuard listens on",
    """WireGuard listens on the mesh's `listenPort` over UDP on every machine, at all of its addresses. No service can
have that port too, so the flow leads to nobody; and a service that wants it would keep the mesh from starting.

Wrong: a Mesh with `listenPort: 51820`, and `{name: game, protocol: udp, ports: [51820]}` or `ports: [51000-52000]`

Right: `ports: [51821]`, `ports: [51000-51819, 51821-52000]`, or another `listenPort`
""",
)


def check(inventory: Inventory) -> Iterator[Diagnostic]:
    """Every mistake in the security policies of the stack."""
    for policy in inventory.of("SecurityPolicy"):
        flows: list[Flow] = policy.spec.network.flows
        yield from _names(policy, flows)
        for index, flow in enumerate(flows):
            yield from _ports(policy, index, flow)
        yield from _overlaps(policy, flows)
        yield from _wireguard(inventory, policy, flows)
        if inventory.knows("Cluster", fleet.POOL, "Stack"):
            yield from _selectors(inventory, policy, flows)


def _names(policy: Declaration, flows: list[Flow]) -> Iterator[Diagnostic]:
    first: dict[str, int] = {}
    for index, flow in enumerate(flows):
        earlier = first.setdefault(flow.name, index)
        if earlier != index:
            yield Diagnostic(
                FLOW_TWICE,
                f"two flows of the SecurityPolicy `{policy.name}` are called `{flow.name}`",
                policy.value(*_FLOWS, index, "name"),
                label="called so again",
                help="give one of them another name",
                related=(Related(policy.value(*_FLOWS, earlier, "name"), "the first flow of this name"),),
            )


def _span(port: int | str) -> tuple[int, int]:
    """First and last port of an item of `ports`."""
    if isinstance(port, int):
        return port, port
    first, _, last = port.partition("-")
    return int(first), int(last)


def _is_range(port: int | str) -> bool:
    first, last = _span(port)
    return first <= last <= LAST_PORT


def _ports(policy: Declaration, index: int, flow: Flow) -> Iterator[Diagnostic]:
    for item, port in enumerate(flow.ports):
        where = policy.value(*_FLOWS, index, "ports", item)
        first, last = _span(port)
        if not _is_range(port):
            reversed_ = last < first and first <= LAST_PORT
            yield Diagnostic(
                PORT_RANGE,
                f"`{port}` ends before it begins" if last < first else f"`{port}` goes beyond port {LAST_PORT}",
                where,
                label="not a range of ports",
                help=f"did you mean `{last}-{first}`?" if reversed_ else f"ports are 1 to {LAST_PORT}",
            )
            continue
        for other, earlier in enumerate(flow.ports[:item]):
            if _is_range(earlier) and _common(port, earlier):
                yield Diagnostic(
                    PORT_CLASH,
                    f"`{port}` and `{earlier}` of the flow `{flow.name}` have {_common(port, earlier)} in common",
                    where,
                    label=f"{_common(port, earlier)} again",
                    help="remove one of them, or write ports that are apart",
                    related=(Related(policy.value(*_FLOWS, index, "ports", other), "listed here"),),
                )
                break


def _common(one: int | str, other: int | str) -> str:
    """The ports that two items share, in words; empty when there is none."""
    first, last = max(_span(one)[0], _span(other)[0]), min(_span(one)[1], _span(other)[1])
    if first > last:
        return ""
    return f"port {first}" if first == last else f"ports {first} to {last}"


def _overlaps(policy: Declaration, flows: list[Flow]) -> Iterator[Diagnostic]:
    """Flows with the same ends and protocol that share ports; found by grouping, not by comparing all with all."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, flow in enumerate(flows):
        ends = (flow.protocol, tuple(sorted(flow.from_.items())), tuple(sorted(flow.to.items())))
        groups.setdefault(ends, []).append(index)
    for indexes in groups.values():
        for position, index in enumerate(indexes):
            found = next((pair for earlier in indexes[:position] for pair in _shared(flows, earlier, index)), None)
            if found is None:
                continue
            earlier, item, ports = found
            yield Diagnostic(
                ALREADY_ALLOWED,
                f"the flow `{flows[earlier].name}` already allows {ports} between the same machines",
                policy.value(*_FLOWS, index, "ports", item),
                label="allowed already",
                help=f"remove it here or from `{flows[earlier].name}`: while one of them allows it, it stays open",
                severity=Severity.WARNING,
                related=(Related(policy.value(*_FLOWS, earlier, "name"), "the flow that allows it"),),
            )


def _shared(flows: list[Flow], earlier: int, index: int) -> Iterator[tuple[int, int, str]]:
    for item, port in enumerate(flows[index].ports):
        for other in flows[earlier].ports:
            if _is_range(port) and _is_range(other) and _common(port, other):
                yield earlier, item, _common(port, other)


def _wireguard(inventory: Inventory, policy: Declaration, flows: list[Flow]) -> Iterator[Diagnostic]:
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
        port = mesh.spec.listen_port
        for index, flow in enumerate(flows):
            if flow.protocol != "udp" or not any(matches(flow.to, labels) for labels in sets):
                continue
            for item, ports in enumerate(flow.ports):
                first, last = _span(ports)
                if first <= port <= last and (index, item) not in told:
                    told.add((index, item))
                    yield _taken(policy, mesh, index, item, flow)


def _taken(policy: Declaration, mesh: Declaration, index: int, item: int, flow: Flow) -> Diagnostic:
    port = mesh.spec.listen_port
    first, last = _span(flow.ports[item])
    sides = [(first, port - 1), (port + 1, last)]
    around = ", ".join(f"{low}-{high}" if low < high else f"{low}" for low, high in sides if low <= high)
    written = mesh.written("spec", "listenPort")
    return Diagnostic(
        WIREGUARD_PORT,
        f"the flow `{flow.name}` goes to UDP port {port}, and there WireGuard listens for the Mesh `{mesh.name}`",
        policy.value(*_FLOWS, index, "ports", item),
        label=f"port {port} is taken",
        help=f"write `ports: [{around}]`" if around else f"take another port, or another `listenPort` than {port}",
        related=(
            Related(
                mesh.value("spec", "listenPort") if written else mesh.value("metadata", "name"),
                "WireGuard's port" if written else f"the mesh; its `listenPort` is {port} when left out",
            ),
        ),
    )


def _selectors(inventory: Inventory, policy: Declaration, flows: list[Flow]) -> Iterator[Diagnostic]:
    """Flows go to machines under this policy, from machines on the meshes that those are on."""
    own = [cluster for cluster in inventory.of("Cluster") if cluster.spec.security_policy == policy.name]
    if not own:
        if isinstance(policy.name, Unknown):
            return
        yield Diagnostic(
            UNUSED,
            f"no Cluster uses the SecurityPolicy `{policy.name}`",
            policy.value("metadata", "name"),
            label="protects nothing",
            help=f"add `securityPolicy: {policy.name}` to a Cluster, or remove the policy",
            severity=Severity.WARNING,
        )
        return
    meshes = {cluster.spec.mesh for cluster in own}
    around = {cluster.name for cluster in inventory.of("Cluster") if cluster.spec.mesh in meshes}
    targets = fleet.label_sets(inventory, {cluster.name for cluster in own})
    sources = fleet.label_sets(inventory, around)
    for index, flow in enumerate(flows):
        for field, selector, sets in (("from", flow.from_, sources), ("to", flow.to, targets)):
            if selector and is_known(selector) and sets and not any(matches(selector, labels) for labels in sets):
                yield _selects_nothing(policy, flow, (*_FLOWS, index, field), selector, sets)


def _selects_nothing(
    policy: Declaration,
    flow: Flow,
    path: tuple[str | int, ...],
    selector: Mapping[str, str],
    sets: list[Mapping[str, str]],
) -> Diagnostic:
    key, slip = fleet.selector_slip(selector, sets)
    known = any(key in labels for labels in sets)
    where = policy.value(*path) if not key else policy.value(*path, key) if known else policy.key(*path, key)
    return Diagnostic(
        NO_NODE,
        f"`{path[-1]}` of the flow `{flow.name}` selects no machine, so the flow allows nothing",
        where,
        label="no machine has this",
        help=slip,
        severity=Severity.WARNING,
    )
