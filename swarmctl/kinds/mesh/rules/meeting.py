"""Machines whose own addresses are of different families: who can't begin a tunnel to whom, before any is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from swarmctl.declarations import fleet
from swarmctl.declarations.declaration import Unknown, is_known
from swarmctl.diagnostics import Code, Diagnostic, Range, Related
from swarmctl.hosts.states import ISOLATED, LOST
from swarmctl.kinds.mesh import resolve
from swarmctl.kinds.mesh.resolve import Node, is_address
from swarmctl.kinds.mesh.rules import families
from swarmctl.kinds.mesh.rules.subject import Subject
from swarmctl.mesh.underlay import ANY_FAMILY, family

NO_COMMON = Code(
    "SW3138",
    "machines without a common address family",
    """The topology asks for a tunnel between two machines of which one has an IPv4 address below the mesh and the other
an IPv6 address, so that neither can begin it, and nobody passes it on. A DNS name may have both and is never refused.

Wrong: hosts with `address: 203.0.113.10` and `address: "2001:db8::11"` in one mesh

Right: addresses of one family for all of them, or an endpoint of the others' family under the mesh's `endpoints`
""",
)
_ANY = "name"
_NAMES = {0b01: "IPv4", 0b10: "IPv6"}


def check(subject: Subject, nodes: Sequence[Node]) -> Iterator[Diagnostic]:
    """Of every kind of machines without a way to others one, of a mesh whose machines are all known."""
    hosts = {name: None if name in subject.unreachable else _endpoint(subject, name) for name in subject.nodes}
    own = {name: _own(node) for name, node in subject.nodes.items()}
    certain = {family(address) for address in (*own.values(), *hosts.values()) if address} - {ANY_FAMILY}
    if len(certain) < 2 or not is_known(subject.spec.relays or {}) or any(map(_unsure, subject.nodes.values())):
        return
    from swarmctl.kinds.mesh.members import topology
    from swarmctl.mesh.compiler import Member, Mesh
    from swarmctl.mesh.faults import NoCommonFamily

    there = [node for node in nodes if _state(subject.nodes[node.name]) not in (ISOLATED, LOST)]
    relays = subject.spec.relays
    relayed = set(resolve.names(resolve.select(relays, there))) if relays else set()
    members = (
        Member(
            node.name,
            (),
            (own[node.name],) if own[node.name] else families.underlay(subject, node.name),
            hosts[node.name],
            1,
            node.region,
            node.name in relayed,
        )
        for node in there
    )
    mesh = Mesh(members, cidrs=(), topology=topology(subject.spec.topology, there), keepalive=0)
    usual = Counter(family(own[node.name]) for node in there if own[node.name])
    told: set[str] = set()
    for fault in mesh.faults():
        if isinstance(fault, NoCommonFamily):
            # The one that is otherwise than most is the one to mend.
            one, other = sorted(fault.nodes[:2], key=lambda name: usual[family(own[name])] if own[name] else 0)
            if one not in told:
                told.add(one)
                yield _told(subject, one, other, own)


def _told(subject: Subject, one: str, other: str, own: dict[str, str]) -> Diagnostic:
    what = {name: f"`{name}`{_has(own[name])}" for name in (one, other)}
    wanted = _NAMES.get(family(own[other])) if own[other] else None
    return Diagnostic(
        NO_COMMON,
        f"{what[one]} and {what[other]} share no address family below the Mesh `{subject.mesh.name}`, so neither can "
        "begin their tunnel",
        _where(subject.nodes[one]),
        label=NO_COMMON.title,
        help=f"give `{one}` an {wanted or 'address of the same family'}{' address' if wanted else ''}, here or under "
        f"`endpoints` of the Mesh `{subject.mesh.name}`",
        related=(Related(_where(subject.nodes[other]), f"{what[other]} is here"),),
    )


def _has(address: str) -> str:
    return f" ({_NAMES[family(address)]})" if address else ""


def _host(node: fleet.Node) -> object:
    hosts = getattr(node.pool.variant_spec, "hosts", None) or ()
    return hosts[node.host] if node.host is not None else None


def _own(node: fleet.Node) -> str:
    """The address that is declared for the machine itself; empty where there is none, or a name."""
    address = getattr(_host(node), "address", "")
    return address if isinstance(address, str) and not isinstance(address, Unknown) and is_address(address) else ""


def _endpoint(subject: Subject, name: str) -> str | None:
    """Where others reach it: the endpoint that is declared, else its own address (empty), else its name; None where
    that leads to it from nowhere else. What is not known counts as a name, which may be of both families."""
    if name in subject.endpoints:
        host = subject.endpoints[name][1].host
        return _ANY if isinstance(host, Unknown) else host
    node = subject.nodes[name]
    address = getattr(_host(node), "address", None)
    if address is None or _own(node):
        return ""
    return _ANY if isinstance(address, Unknown) or family(address) == ANY_FAMILY else None


def _state(node: fleet.Node) -> str:
    return getattr(_host(node), "state", None) or node.pool.spec.state or ""


def _unsure(node: fleet.Node) -> bool:
    return isinstance(getattr(_host(node), "state", None), Unknown) or isinstance(node.pool.spec.state, Unknown)


def _where(node: fleet.Node) -> Range:
    if not _own(node):
        return node.where
    return node.pool.value("spec", node.pool.variant, "hosts", node.host or 0, "address")
