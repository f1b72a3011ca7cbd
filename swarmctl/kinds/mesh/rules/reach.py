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
        found = resolve.names(resolve.select(selector, nodes))
        if not found and nodes:
            message = f"`relays` takes no machine of the Mesh `{subject.mesh.name}`"
            among = subject.nodes.values()
            yield subject.selects_nothing(NOBODY, message, path, selector, among, severity=Severity.WARNING)
        relays = [name for name in found if name not in subject.unreachable]
        cut_off = [name for name in found if name in subject.unreachable]
        if cut_off:
            yield Diagnostic(
                RELAY_UNREACHABLE,
                f"nobody can contact `{cut_off[0]}`, which is to be a relay of the Mesh `{subject.mesh.name}`",
                subject.mesh.value(*path),
                label="takes a node that can't be reached",
                help="take another machine, or declare the endpoint that its router passes on to it",
                related=(Related(subject.unreachable[cut_off[0]], "here it says that nobody can"),),
            )
            return
    if not relays and subject.unreachable:
        yield from _no_relay(subject, groups)


def _no_relay(subject: Subject, groups: Sequence[Group]) -> Iterator[Diagnostic]:
    """The first pair that can't contact each other; one is enough, since one relay mends all of them."""
    for group in groups:
        one = [name for name in group.one if name in subject.unreachable]
        other = [name for name in group.other if name in subject.unreachable]
        pair = next(((a, b) for a in one[:2] for b in other[:2] if a != b), None)
        if pair is None:
            continue
        places = dict.fromkeys(subject.unreachable[name] for name in pair)
        yield Diagnostic(
            NO_RELAY,
            f"`{pair[0]}` and `{pair[1]}` of the Mesh `{subject.mesh.name}` should have a tunnel, and neither can "
            "contact the other",
            subject.place(*group.path),
            label="asks for a tunnel between them",
            help="name machines that can be reached in `relays`, such as `relays: {role: relay}`, or declare the "
            "endpoint that a router passes on to one of the two",
            related=tuple(Related(place, "here it says that nobody can contact it") for place in places),
        )
        return
