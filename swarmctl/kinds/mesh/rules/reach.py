"""Nodes that nobody can contact: what must be contacted can be, and two of them have a relay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from swarmctl.declarations.declaration import is_known
from swarmctl.diagnostics import Code, Diagnostic, Related, Severity
from swarmctl.kinds.mesh import resolve
from swarmctl.kinds.mesh.resolve import Group, Node
from swarmctl.kinds.mesh.rules.subject import Subject
from swarmctl.kinds.mesh.rules.topology import NOBODY

NO_RELAY = Code(
    "SW3125",
    "no relay between two nodes that can't contact each other",
    """The topology asks for a tunnel between two nodes that both stand behind NAT (or have `host: none` as their
endpoint). Neither can contact the other, so a third one must pass their traffic on: a relay, which can be reached.
Hubs and gateways do that for the nodes that they have tunnels to.

Wrong: two nodes behind NAT under `full: {}`, and no `relays`

Right: `relays: {role: relay}`, and a machine with `labels: {role: relay}` that is not behind NAT
""",
)
RELAY_UNREACHABLE = Code(
    "SW3134",
    "relay that nobody can contact",
    """A relay joins nodes that can't contact each other, because both can contact it. One that stands behind NAT
itself, or has `host: none` as its endpoint, can't do that.

Wrong: `relays: {role: relay}` where the NodePool of the relays has `lab: {count: 1, nat: true}`

Right: relays in a pool without `nat`, or with an endpoint that their router passes on
""",
)


def check(subject: Subject, nodes: Sequence[Node], groups: Sequence[Group]) -> Iterator[Diagnostic]:
    """Mistakes in `relays`, and pairs that would need one, of a mesh whose machines are all known."""
    selector = subject.spec.relays
    relays: list[str] = []
    if selector is not None:
        if not is_known(selector):
            return
        path = ("spec", "relays")
        relays = resolve.names(resolve.select(selector, nodes))
        if not relays and nodes:
            message = f"`relays` takes no machine of the Mesh `{subject.mesh.name}`"
            among = subject.nodes.values()
            yield subject.selects_nothing(NOBODY, message, path, selector, among, severity=Severity.WARNING)
        cut_off = [name for name in relays if name in subject.unreachable]
        if cut_off:
            none_left = len(cut_off) == len(relays)
            yield Diagnostic(
                RELAY_UNREACHABLE,
                f"nobody can contact `{cut_off[0]}`, which is to be a relay of the Mesh `{subject.mesh.name}`",
                subject.mesh.value(*path),
                label="takes a node that can't be reached",
                help="take another machine, or declare the endpoint that its router passes on to it",
                severity=Severity.ERROR if none_left else Severity.WARNING,
                related=(Related(subject.unreachable[cut_off[0]], "here it says that nobody can"),),
            )
            if none_left:
                return
    if subject.unreachable:
        yield from _no_relay(subject, nodes, groups, frozenset(relays))


def _no_relay(
    subject: Subject, nodes: Sequence[Node], groups: Sequence[Group], relays: frozenset[str]
) -> Iterator[Diagnostic]:
    """The first pair that can't contact each other and has nobody between them, as the mesh compiler finds it; one is
    enough, since one relay mends all of them."""
    from swarmctl.kinds.mesh.members import topology
    from swarmctl.mesh.compiler import Member, Mesh
    from swarmctl.mesh.faults import NoRelay

    # Addresses below the mesh are known once machines are placed: until then all are taken to have the same family.
    members = (
        Member(
            node.name,
            (),
            _ANYWHERE,
            None if node.name in subject.unreachable else "",
            1,
            node.region,
            node.name in relays,
        )
        for node in nodes
    )
    mesh = Mesh(members, cidrs=(), topology=topology(subject.spec.topology, nodes), keepalive=0)
    fault = next((fault for fault in mesh.faults() if isinstance(fault, NoRelay)), None)
    if fault is None:
        return
    one, other = fault.nodes
    asks = next((group.path for group in groups if _joins(group, one, other)), ("topology",))
    places = dict.fromkeys(subject.unreachable[name] for name in fault.nodes if name in subject.unreachable)
    yield Diagnostic(
        NO_RELAY,
        f"`{one}` and `{other}` of the Mesh `{subject.mesh.name}` should have a tunnel, and neither can contact the "
        "other",
        subject.place(*asks),
        label="asks for a tunnel between them",
        help="name machines that can be reached in `relays`, such as `relays: {role: relay}`, or declare the endpoint "
        "that a router passes on to one of the two",
        related=tuple(Related(place, "here it says that nobody can contact it") for place in places),
    )


def _joins(group: Group, one: str, other: str) -> bool:
    return (one in group.one and other in group.other) or (other in group.one and one in group.other)


_ANYWHERE = ("192.0.2.1",)
