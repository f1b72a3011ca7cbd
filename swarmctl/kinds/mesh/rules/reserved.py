"""Reserved addresses of meshes: that they are addresses of the mesh, and leave some."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from swarmctl.declarations.declaration import Unknown
from swarmctl.declarations.words import listing, sentences
from swarmctl.diagnostics import Code, Diagnostic, Range, Related, Severity
from swarmctl.kinds.mesh.rules.subject import Subject, span
from swarmctl.mesh.spans import Span, capacity

NOT_A_RANGE = Code(
    "SW3120",
    "reserved item that is no range of addresses",
    """`reserved` takes networks, ranges with both ends, and single addresses. In `[...]`, IPv6 needs quotes.

Wrong: `reserved: [10.88.0.7/24]`, `reserved: [10.88.9.20-10.88.9.1]`, `reserved: [10.88.9.1-20]`

Right: `reserved: [10.88.0.0/24, 10.88.9.1-10.88.9.20, 10.88.10.1]`
""",
)
OUTSIDE = Code(
    "SW3121",
    "reserved addresses outside of the mesh's networks",
    """Only addresses of the mesh's own networks (`cidrs`) are given to machines, so only those can be kept from them.

Wrong: `cidrs: [10.88.0.0/16]` with `reserved: [10.89.0.0/24]`

Right: `cidrs: [10.88.0.0/16]` with `reserved: [10.88.0.0/24]`
""",
)
EVERYTHING = Code(
    "SW3122",
    "network that is reserved as a whole",
    """All addresses of one of the mesh's networks are reserved, so no machine could get one.

Wrong: `cidrs: [10.88.0.0/24]` with `reserved: [10.88.0.0/25, 10.88.0.128/25]`

Right: `cidrs: [10.88.0.0/24]` with `reserved: [10.88.0.0/25]`
""",
)
TWICE = Code(
    "SW3123",
    "addresses reserved twice",
    """Two items of `reserved` have addresses in common. A warning: nothing is wrong, but whoever takes one of them out
does not get these addresses back.

Wrong: `reserved: [10.88.0.0/24, 10.88.0.1-10.88.0.20]`

Right: `reserved: [10.88.0.0/24]`
""",
)


def check(subject: Subject) -> Iterator[Diagnostic]:
    """Mistakes in `reserved` of one mesh."""
    earlier: list[tuple[int, Span]] = []
    for index, text in enumerate(subject.spec.reserved):
        where = subject.mesh.value("spec", "reserved", index)
        found = span(text)
        if isinstance(found, str):
            if not isinstance(text, Unknown):
                yield _no_range(text, where)
            continue
        yield from _outside(subject, found, where)
        for other, before in earlier:
            if found.overlaps(before):
                yield _twice(subject, found, where, other, before)
                break
        earlier.append((index, found))
    yield from _nothing_left(subject)


def _no_range(text: str, where: Range) -> Diagnostic:
    low, dash, high = (part.strip() for part in text.partition("-"))
    hint = "write for example `10.88.0.0/24`, `10.88.9.1-10.88.9.20` or `10.88.10.1`"
    try:
        if dash:
            first, last = ip_address(low), ip_address(high)
            if first.version == last.version:
                hint = f"did you mean `{last}-{first}`?"
        else:
            hint = f"did you mean `{ip_network(text, strict=False)}`?"
    except ValueError:
        if dash and high.isdigit() and "." in low:
            hint = f"did you mean `{low}-{low.rpartition('.')[0]}.{high}`?"
    return Diagnostic(
        NOT_A_RANGE,
        f"`{text}` is not a range of addresses",
        where,
        label="expected a network, FIRST-LAST, or an address",
        help=hint,
    )


def _outside(subject: Subject, found: Span, where: Range) -> Iterator[Diagnostic]:
    # Items of `cidrs` that are no networks may be what was meant.
    if len(subject.networks) < len(subject.spec.cidrs) or not subject.networks:
        return
    networks = [str(declared.network) for declared in subject.networks]
    if any(found.within(Span(network)) for network in networks):
        return
    part = any(found.overlaps(Span(network)) for network in networks)
    yield Diagnostic(
        OUTSIDE,
        f"`{found.text}` is {'only partly' if part else 'not'} in a network of the Mesh `{subject.mesh.name}`",
        where,
        label="reaches beyond the mesh's networks" if part else "never given to a machine anyway",
        help=sentences("write a part of the mesh's networks, or take it out", f"networks: {listing(networks)}"),
        related=tuple(Related(declared.where, "a network of the mesh") for declared in subject.networks),
    )


def _twice(subject: Subject, found: Span, where: Range, other: int, before: Span) -> Diagnostic:
    return Diagnostic(
        TWICE,
        f"`{found.text}` and `{before.text}` have addresses in common",
        where,
        label="reserved already",
        help="take one of them out, or write ranges that are apart",
        severity=Severity.WARNING,
        related=(Related(subject.mesh.value("spec", "reserved", other), "reserved here"),),
    )


def _nothing_left(subject: Subject) -> Iterator[Diagnostic]:
    for declared in subject.networks if subject.reserved else ():
        if not capacity(str(declared.network), subject.reserved):
            yield Diagnostic(
                EVERYTHING,
                f"all of `{declared.network}` is reserved, and no machine of the Mesh `{subject.mesh.name}` could get "
                "an address",
                declared.where,
                label="nothing is left of it",
                help="reserve less, or widen the network",
                related=(Related(subject.mesh.value("spec", "reserved"), "reserved"),),
            )
