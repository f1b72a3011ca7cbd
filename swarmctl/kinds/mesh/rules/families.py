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
    without = {bit: {name for name, it in subject.nodes.items() if not bit & known[it.pool.variant]} for bit in lacked}
    alike: dict[tuple[int, tuple[str, ...]], list[str]] = {}
    for name, bit in asked.items():
        others = set().union(*near.get(name, ())) - {name}
        lacking = others & without[bit]
        silent = tuple(sorted(it for it in lacking if asked.get(it) != bit))
        if name in cut_off or (others and len(silent) == len(others)):
            yield _error(subject, name, bit, sorted(lacking), cut_off.get(name, ""))
        elif lacking:
            alike.setdefault((bit, silent), []).append(name)
    for (bit, silent), names in alike.items():
        yield _warning(subject, names, bit, silent)


def _near(groups: Iterable[Group], names: Iterable[str]) -> dict[str, list[Sequence[str]]]:
    """Who should have tunnels to these nodes. What is shared stays shared: in a full mesh all is near to all."""
    found: dict[str, list[Sequence[str]]] = {}
    wanted = set(names)
    for group in groups:
        for ends, others in ((group.one, group.other), (group.other, group.one)):
            for name in wanted.intersection(ends):
                found.setdefault(name, []).append(others)
    return found


def _cut_off(subject: Subject, nodes: Sequence[Node], hosts: dict[str, str]) -> dict[str, str]:
    """By node one with which neither can begin a tunnel, as the mesh compiler finds it."""
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
    found: dict[str, str] = {}
    for fault in mesh.faults():
        if isinstance(fault, NoCommonFamily):
            for one, other in (fault.nodes, fault.nodes[::-1]):
                found.setdefault(one, other)
    return found


def _error(subject: Subject, name: str, bit: int, lacking: Sequence[str], lost: str) -> Diagnostic:
    host, what = subject.endpoints[name][1].host, _NAMES[bit]
    message = f"nobody can send to the endpoint of `{name}`, `{host}`: it is {what}"
    if lost:
        message = f"`{name}` and `{lost}` can't have a tunnel: the endpoint `{host}` is {what}"
    return _told(subject, name, bit, message, _mend(bit), lacking[0] if lacking else name, Severity.ERROR)


def _warning(subject: Subject, names: Sequence[str], bit: int, silent: Sequence[str]) -> Diagnostic:
    """`silent`: those that can't send there; where there are none, all have an endpoint of the family themselves."""
    what = _NAMES[bit]
    without = next((it for it in (*silent, *names) if not bit & _of_backend(subject.nodes[it].pool.variant)), names[0])
    whose = f"the endpoint{'' if len(names) == 1 else 's'} of {listing(names, limit=_SHOWN)}"
    whose = f"{whose} {'is' if len(names) == 1 else 'are'} {what}"
    if silent:
        message = f"{whose}, and {listing(silent, limit=_SHOWN)} can't send there"
        mend = f"{_mend(bit)}; else these tunnels are begun from the other end"
    else:
        message = f"{whose}, which machines of `{subject.nodes[without].pool.variant}` don't have by themselves"
        mend = f"see that these machines have {what}, or {_mend(bit)}"
    return _told(subject, names[0], bit, message, mend, without, Severity.WARNING)


def _mend(bit: int) -> str:
    other = _NAMES[ANY_FAMILY - bit]
    return f"write an {other} address, or leave the endpoint out where the machine's own address is reached"


def _told(
    subject: Subject, name: str, bit: int, message: str, mend: str, lacking: str, severity: Severity
) -> Diagnostic:
    pool, what = subject.nodes[lacking].pool, _NAMES[bit]
    return Diagnostic(
        NO_FAMILY,
        message,
        subject.mesh.value("spec", "endpoints", subject.endpoints[name][0], "host"),
        label=f"{what}; machines of `{pool.variant}` have {_NAMES[ANY_FAMILY - bit]} alone below the mesh",
        help=mend,
        severity=severity,
        related=(Related(pool.value("metadata", "name"), f"its machines have no {what}"),),
    )
