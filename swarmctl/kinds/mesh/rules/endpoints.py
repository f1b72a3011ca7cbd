"""Declared endpoints: of nodes that there are, at places that exist, each for one node."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from swarmctl.declarations import fleet
from swarmctl.declarations.declaration import Unknown
from swarmctl.declarations.words import did_you_mean, sentences
from swarmctl.diagnostics import Code, Diagnostic, Range, Related
from swarmctl.kinds.mesh.resolve import NOWHERE, is_address, is_name, normal
from swarmctl.kinds.mesh.rules.subject import Subject

UNKNOWN_NODE = Code(
    "SW3126",
    "node that the mesh does not have",
    """`node` is the name of one machine of the clusters that name the mesh: `POOL-0`, `POOL-1` and so on for a NodePool
with `count`, and the names under `hosts` for one with `hosts`.

Wrong: `endpoints: [{node: worker-0, host: vpn.example.net}]` where the pool is called `workers`

Right: `endpoints: [{node: workers-0, host: vpn.example.net}]`
""",
)
NO_HOST = Code(
    "SW3130",
    "endpoint that is neither an address nor a DNS name",
    """`host` is where others send their packets: an IPv4 or IPv6 address that leads to the node, a DNS name, or `none`
when nothing leads there. The port has a field of its own.

Wrong: `host: 203.0.113.300`, `host: vpn.example.net:51820`, `host: 127.0.0.1`

Right: `host: 203.0.113.30`, `host: vpn.example.net` with `port: 51820`
""",
)
INSIDE = Code(
    "SW3131",
    "endpoint inside the mesh's own network",
    """The endpoint is where tunnels end below the mesh. An address of the mesh itself is reached through the tunnel
only, so the tunnel's own packets would be sent into the tunnel, and nothing would ever arrive.

Wrong: `cidrs: [10.88.0.0/16]` with `endpoints: [{node: workers-0, host: 10.88.3.4}]`

Right: `endpoints: [{node: workers-0, host: 203.0.113.7}]`

The `address` of a machine over SSH is its endpoint, too, where `endpoints` has none for it.
""",
)
CONFLICT = Code(
    "SW3132",
    "two nodes at one endpoint",
    """Two nodes have the same host and port as their endpoint. Packets for one of them would arrive at the other, which
doesn't have the key: the two peers are in conflict.

Wrong: `endpoints: [{node: a-0, host: vpn.example.net}, {node: a-1, host: vpn.example.net}]`

Right: `endpoints: [{node: a-0, host: vpn.example.net, port: 51820}, {node: a-1, host: vpn.example.net, port: 51821}]`
""",
)
TWICE = Code(
    "SW3133",
    "two endpoints for one node",
    """A node has one endpoint; WireGuard sends to one place at a time.

Wrong: `endpoints: [{node: a-0, host: one.example.net}, {node: a-0, host: two.example.net}]`

Right: `endpoints: [{node: a-0, host: one.example.net}]`
""",
)

Taken = dict[tuple[str, int], tuple[str, Range]]
"""Host and port → the node that has it as its endpoint, and the place that says so."""


def check(subject: Subject, taken: Taken) -> Iterator[Diagnostic]:
    """Mistakes in `endpoints` of one mesh, and in what stands for them; `taken` collects those of all meshes."""
    mesh, spec = subject.mesh, subject.spec
    yield from _addresses_inside(subject)
    for index, endpoint in enumerate(spec.endpoints):
        where = mesh.value("spec", "endpoints", index, "host")
        if not isinstance(endpoint.node, Unknown):
            named = mesh.value("spec", "endpoints", index, "node")
            yield from unknown_node(subject, endpoint.node, named)
            first = subject.endpoints[endpoint.node][0]
            if first != index:
                yield _twice(subject, endpoint.node, first, named)
                continue
            if subject.certain and endpoint.node not in subject.nodes:
                continue
        if isinstance(endpoint.host, Unknown) or endpoint.host == NOWHERE:
            continue
        if not (is_address(endpoint.host) or is_name(endpoint.host)):
            yield _no_host(endpoint.host, where)
            continue
        yield from _inside(subject, endpoint.host, where)
        port = spec.listen_port if endpoint.port is None else endpoint.port
        item = mesh.value("spec", "endpoints", index)
        if endpoint.port is None and mesh.value("spec", "endpoints", index, "port") != item:
            continue  # there is a port, and it is mistaken
        node, earlier = taken.setdefault((normal(endpoint.host), port), (endpoint.node, where))
        if earlier is not where:
            yield Diagnostic(
                CONFLICT,
                f"`{endpoint.node}` and `{node}` have the same endpoint: `{endpoint.host}`, port {port}",
                where,
                label=f"leads to `{node}` already",
                help="give one of them another `host` or `port`",
                related=(Related(earlier, f"the endpoint of `{node}`"),),
            )


def unknown_node(subject: Subject, name: str, where: Range) -> Iterator[Diagnostic]:
    """Nothing when the mesh has the node."""
    if name in subject.nodes or not subject.certain:
        return
    elsewhere = next((node for node in subject.every_node if node.name == name), None)
    if elsewhere is not None:
        message = f"the node `{name}` is not on the Mesh `{subject.mesh.name}`"
        mend = f"it belongs to the Cluster `{elsewhere.cluster}`, which names another mesh; take it out here"
    else:
        message = f"the Mesh `{subject.mesh.name}` has no node `{name}`"
        mend = sentences(did_you_mean(name, subject.nodes), _named(subject))
    yield Diagnostic(UNKNOWN_NODE, message, where, label="no such node", help=mend)


def _named(subject: Subject) -> str:
    """How its nodes are called, by example."""
    names = sorted(subject.nodes)
    if not names:
        return "it has none yet"
    return f"its nodes: `{names[0]}`" + (f" to `{names[-1]}`, {len(names)} of them" if len(names) > 1 else "")


def _twice(subject: Subject, node: str, first: int, where: Range) -> Diagnostic:
    return Diagnostic(
        TWICE,
        f"the node `{node}` has two endpoints",
        where,
        label="has one already",
        help="keep one of them",
        related=(Related(subject.mesh.value("spec", "endpoints", first, "node"), "the first one"),),
    )


def _no_host(host: str, where: Range) -> Diagnostic:
    name, colon, port = host.rpartition(":")
    hint = "write an address, a DNS name such as `vpn.example.net`, or `none` when nothing leads to the node"
    inner = name.removeprefix("[").removesuffix("]")
    if colon and port.isdigit() and (is_address(inner) or is_name(inner)):
        hint = f"write `host: {inner}` and `port: {port}`"
    return Diagnostic(
        NO_HOST,
        f"`{host}` is neither an address that leads to a machine nor a DNS name",
        where,
        label="nobody can send there",
        help=hint,
    )


def _addresses_inside(subject: Subject) -> Iterator[Diagnostic]:
    """Machines' own addresses, which others' tunnels lead to where no endpoint is declared."""
    for node in subject.nodes.values() if subject.networks else ():
        if node.host is None or node.name in subject.endpoints or fleet.behind_nat(node.pool):
            continue
        address = getattr(node.pool.variant_spec.hosts[node.host], "address", None)
        if isinstance(address, str):
            where = node.pool.value("spec", node.pool.variant, "hosts", node.host, "address")
            yield from _inside(subject, address, where)


def _inside(subject: Subject, host: str, where: Range) -> Iterator[Diagnostic]:
    if not is_address(host):
        return
    address = ip_address(host)
    for declared in subject.networks:
        if address.version == declared.network.version and address in declared.network:
            yield Diagnostic(
                INSIDE,
                f"the endpoint `{host}` is an address of the Mesh `{subject.mesh.name}` itself",
                where,
                label="inside the tunnel that should lead there",
                help="write the node's address below the mesh, or a DNS name for it",
                related=(Related(declared.where, "the mesh's network"),),
            )
