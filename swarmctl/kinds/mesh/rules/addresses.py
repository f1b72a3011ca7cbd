"""Fixed addresses: of nodes that there are, out of the mesh's networks, and each of one node."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

from swarmctl.declarations.declaration import Unknown
from swarmctl.declarations.words import listing, sentences
from swarmctl.diagnostics import Code, Diagnostic, Range, Related
from swarmctl.kinds.mesh.rules.endpoints import unknown_node
from swarmctl.kinds.mesh.rules.subject import Subject
from swarmctl.mesh import spans

NO_ADDRESS = Code(
    "SW3140",
    "fixed address that no machine can have",
    """A fixed address is one of the mesh's own: in one of `cidrs`, without prefix length, not reserved, and not one
that the protocol keeps for itself (network and broadcast address, IPv6 subnet-router anycast). A node has one in each
network.

Wrong: `cidrs: [10.88.0.0/16]` with `addresses: [{node: a-0, addresses: [10.89.0.7]}]` or `[10.88.0.7/16]`

Right: `addresses: [{node: a-0, addresses: [10.88.0.7]}]`
""",
)
TWO_NODES = Code(
    "SW3141",
    "two nodes with one fixed address",
    """An address of the mesh says which machine is meant. With two of them, each peer would send to one or the other,
whichever is set last.

Wrong: `addresses: [{node: a-0, addresses: [10.88.0.7]}, {node: a-1, addresses: [10.88.0.7]}]`

Right: `addresses: [{node: a-0, addresses: [10.88.0.7]}, {node: a-1, addresses: [10.88.0.8]}]`
""",
)
TWICE = Code(
    "SW3142",
    "fixed addresses of one node in two places",
    """All fixed addresses of a node stand in one item, so that one sees them together.

Wrong: `addresses: [{node: a-0, addresses: [10.88.0.7]}, {node: a-0, addresses: ["fd88::7"]}]`

Right: `addresses: [{node: a-0, addresses: [10.88.0.7, "fd88::7"]}]`
""",
)

Address = IPv4Address | IPv6Address


def check(subject: Subject) -> Iterator[Diagnostic]:
    """Mistakes in `addresses` of one mesh."""
    mesh = subject.mesh
    nodes: dict[str, Range] = {}
    taken: dict[Address, tuple[str, Range]] = {}
    for index, item in enumerate(subject.spec.addresses):
        named = mesh.value("spec", "addresses", index, "node")
        if not isinstance(item.node, Unknown):
            yield from unknown_node(subject, item.node, named)
            if nodes.setdefault(item.node, named) is not named:
                yield _twice(item.node, named, nodes[item.node])
        families: dict[int, Range] = {}
        for place, text in enumerate(item.addresses):
            where = mesh.value("spec", "addresses", index, "addresses", place)
            if isinstance(text, Unknown):
                continue
            address = _address(text)
            if address is None or (why := _unusable(subject, address)):
                yield _no_address(subject, text, where, why if address is not None else "")
                continue
            if families.setdefault(address.version, where) is not where:
                yield _second(item.node, address, where, families[address.version])
                continue
            node, first = taken.setdefault(address, (item.node, where))
            if first is not where and node != item.node:
                yield _two_nodes(item.node, text, where, node, first)


def _address(text: str) -> Address | None:
    try:
        return ip_address(text) if "%" not in text else None
    except ValueError:
        return None


def _unusable(subject: Subject, address: Address) -> str:
    """Why no machine of the mesh can have it; empty when one can, or nobody can tell."""
    if len(subject.networks) < len(subject.spec.cidrs):
        return ""  # one that is mistaken may be what was meant
    network = next((it.network for it in subject.networks if address in it.network), None)
    if network is None:
        return "it is in none of the mesh's networks"
    if any(str(address) in spans.Span(text) for text in subject.reserved):
        return "it is reserved"
    first, last = spans.usable(str(network))
    return "" if first <= int(address) <= last else f"`{network}` keeps it for itself"


def _no_address(subject: Subject, text: str, where: Range, why: str) -> Diagnostic:
    bare = text.partition("/")[0]
    networks = [str(declared.network) for declared in subject.networks]
    return Diagnostic(
        NO_ADDRESS,
        f"no machine of the Mesh `{subject.mesh.name}` can have the address `{text}`",
        where,
        label=why or "not an address",
        help=sentences(
            f"did you mean `{bare}`?" if bare != text and _address(bare) else "write a free address of the mesh",
            f"networks: {listing(networks)}" if networks else "",
        ),
    )


def _second(node: str, address: Address, where: Range, first: Range) -> Diagnostic:
    return Diagnostic(
        NO_ADDRESS,
        f"`{node}` has two fixed IPv{address.version} addresses",
        where,
        label="a node has one in each network",
        help="keep one of them",
        related=(Related(first, "the first one"),),
    )


def _twice(node: str, where: Range, first: Range) -> Diagnostic:
    return Diagnostic(
        TWICE,
        f"the node `{node}` has fixed addresses in two places",
        where,
        label="has some already",
        help="write all of them in one item",
        related=(Related(first, "the first place"),),
    )


def _two_nodes(node: str, text: str, where: Range, other: str, first: Range) -> Diagnostic:
    return Diagnostic(
        TWO_NODES,
        f"`{node}` and `{other}` have the same address: `{text}`",
        where,
        label=f"the address of `{other}` already",
        help="give one of them another address",
        related=(Related(first, f"the address of `{other}`"),),
    )
