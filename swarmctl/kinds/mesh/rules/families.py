"""Declared endpoints of a family that others don't have below the mesh: who can't begin a tunnel to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from swarmctl import backends
from swarmctl.declarations.declaration import Unknown
from swarmctl.declarations.words import listing
from swarmctl.diagnostics import Code, Diagnostic, Related, Severity
from swarmctl.kinds.mesh import resolve
from swarmctl.kinds.mesh.resolve import Group, Node, is_address
from swarmctl.kinds.mesh.rules.subject import Subject
from swarmctl.mesh.underlay import ANY_FAMILY, family

NO_FAMILY = Code(
    "SW3137",
    "endpoint of a family that others don't have",
    """An endpoint with an IPv6 address is reached by nodes that have IPv6 below the mesh, one with an IPv4 address by
those that have IPv4. What machines have, their backend says: those of `lab` have IPv4 alone. An address as a node's own
endpoint is your word that this node has its family. An error where nobody can use the endpoint, or where two nodes are
left without a tunnel; else a warning that names who can't.

Wrong: `endpoints: [{node: workers-0, host: "2001:db8::1"}]`, and all machines are of the lab

Right: `endpoints: [{node: workers-0, host: 203.0.113.7}]`
""",
)
_NAMES = {0b01: "IPv4", 0b10: "IPv6"}
_SOME = {0b01: ("192.0.2.1",), 0b10: ("2001:db8::1",), ANY_FAMILY: ()}
"""Addresses for nodes of which no more is known than their families."""
_SHOWN = 3


@cache
def _of_backend(name: str) -> int:
    """The families that machines have by themselves; both where the backend gives out no addresses."""
    found = 0
    for network in backends.underlay(name):
        found |= family(network.partition("/")[0])
    return found or ANY_FAMILY


def underlay(subject: Subject, name: str) -> tuple[str, ...]:
    """Addresses such as the node will have below the mesh."""
    return _SOME[_of_backend(subject.nodes[name].pool.variant)]


def declared(subject: Subject) -> dict[str, str]:
    """Addresses that are declared as endpoints, by node."""
    hosts = ((name, endpoint.host) for name, (_, endpoint) in subject.endpoints.items() if name in subject.nodes)
    return {name: host for name, host in hosts if not isinstance(host, Unknown) and is_address(host)}


def check(subject: Subject, nodes: Sequence[Node], groups: Sequence[Group]) -> Iterator[Diagnostic]:
    """Who can't use which endpoint, of a mesh whose machines are all known."""
    hosts = declared(subject)
    known = {pool: _of_backend(pool) for pool in {node.pool.variant for node in subject.nodes.values()}}
    lacked = {bit for bit in _NAMES if any(not bit & has for has in known.values())}
    asked = {name: family(host) for name, host in hosts.items() if family(host) in lacked}
    if not asked:
        return
    near = _near(groups, asked)
    cut_off = _cut_off(subject, nodes, hosts)
    for name, bit in asked.items():
        others = near.get(name, set()) - {name}
        lacking = sorted(it for it in others if not bit & known[subject.nodes[it].pool.variant])
        said = [it for it in lacking if it in hosts and family(hosts[it]) == bit]
        if lacking:
            without = cut_off.get(name, [])
            yield _told(subject, name, bit, lacking, said, alone=len(lacking) - len(said) == len(others), lost=without)


def _near(groups: Iterable[Group], names: Iterable[str]) -> dict[str, set[str]]:
    """Who should have tunnels to these nodes."""
    found: dict[str, set[str]] = {}
    wanted = set(names)
    for group in groups:
        for ends, others in ((group.one, group.other), (group.other, group.one)):
            for name in wanted.intersection(ends):
                found.setdefault(name, set()).update(others)
    return found


def _cut_off(subject: Subject, nodes: Sequence[Node], hosts: dict[str, str]) -> dict[str, list[str]]:
    """By node those that neither can begin a tunnel to nor be reached from, as the mesh compiler finds it."""
    from swarmctl.kinds.mesh.members import topology
    from swarmctl.mesh.compiler import Member, Mesh
    from swarmctl.mesh.faults import NoCommonFamily

    relays = subject.spec.relays
    relayed = set(resolve.names(resolve.select(relays, nodes))) if relays else set()
    members = (
        Member(
            node.name,
            (),
            underlay(subject, node.name),
            None if node.name in subject.unreachable else hosts.get(node.name, ""),
            1,
            node.region,
            node.name in relayed,
        )
        for node in nodes
    )
    mesh = Mesh(members, cidrs=(), topology=topology(subject.spec.topology, nodes), keepalive=0)
    found: dict[str, list[str]] = {}
    for fault in mesh.faults():
        if isinstance(fault, NoCommonFamily):
            for one, other in (fault.nodes, fault.nodes[::-1]):
                found.setdefault(one, []).append(other)
    return found


def _told(
    subject: Subject, name: str, bit: int, lacking: Sequence[str], said: Sequence[str], *, alone: bool, lost: list[str]
) -> Diagnostic:
    index, endpoint = subject.endpoints[name]
    pool = subject.nodes[lacking[0]].pool
    what, other = _NAMES[bit], _NAMES[ANY_FAMILY - bit]
    refused = alone or bool(lost)
    if lost:
        message = f"`{name}` and `{lost[0]}` can't have a tunnel: the endpoint `{endpoint.host}` is {what}"
    elif alone:
        message = f"nobody can send to the endpoint of `{name}`, `{endpoint.host}`: it is {what}"
    elif len(said) == len(lacking):
        message = f"the endpoint of `{name}` is {what}, which machines of `{pool.variant}` don't have by themselves"
    else:
        rest = [it for it in lacking if it not in said]
        message = f"the endpoint of `{name}` is {what}, and {listing(rest, limit=_SHOWN)} can't send there"
    mend = f"write an {other} address, or leave the endpoint out where the machine's own address is reached"
    if not refused:
        mend = (
            f"see that {listing(said, limit=_SHOWN)} {'has' if len(said) == 1 else 'have'} {what}, or {mend}"
            if len(said) == len(lacking)
            else f"{mend}; else `{name}` begins these tunnels itself"
        )
    return Diagnostic(
        NO_FAMILY,
        message,
        subject.mesh.value("spec", "endpoints", index, "host"),
        label=f"{what}; machines of `{pool.variant}` have {other} alone below the mesh",
        help=mend,
        severity=Severity.ERROR if refused else Severity.WARNING,
        related=(Related(pool.value("metadata", "name"), f"its machines have no {what}"),),
    )
