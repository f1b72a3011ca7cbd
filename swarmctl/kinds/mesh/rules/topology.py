"""Topologies: selectors and ends that take somebody, a hub, a gateway in every region, and no node left alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from swarmctl.declarations import fleet
from swarmctl.declarations.declaration import Unknown, is_known
from swarmctl.declarations.words import listing, shown_path
from swarmctl.diagnostics import Code, Diagnostic, Related, Severity
from swarmctl.kinds.mesh import resolve
from swarmctl.kinds.mesh.resolve import Group, Node, Path
from swarmctl.kinds.mesh.rules.endpoints import unknown_node
from swarmctl.kinds.mesh.rules.subject import Subject
from swarmctl.kinds.mesh.topologies import End, Part, Selector, Topology

NO_HUB = Code(
    "SW3107",
    "hub and spoke without a hub",
    """No machine of the mesh has the labels that `hubs.select` asks for, so the spokes would have nobody to talk to. In
a part of `combine`, the machines that this part selects are meant.

Wrong: `hubs: {select: {role: gatway}}` where the pools have `labels: {role: gateway}`

Right: `hubs: {select: {role: gateway}}`
""",
)
NO_GATEWAY = Code(
    "SW3124",
    "region without a gateway",
    """Traffic between regions goes through their gateways. A region in which no machine has the labels that
`regions.gateways` asks for would be cut off from the others.

Wrong: `regions: {gateways: {role: gateway}}` with a NodePool in `region: us` that has `labels: {role: worker}`, and no
other there

Right: a second NodePool in `region: us` with `labels: {role: gateway}`
""",
)
NOBODY = Code(
    "SW3127",
    "selector that takes no machine of the mesh",
    """An end of a link, a part of a combined topology or `relays` takes no machine, so it has no effect. A warning: the
machines may come later.

Wrong: `between: [{pool: workers}, {select: {role: databse}}]` where the pools have `labels: {role: database}`

Right: `between: [{pool: workers}, {select: {role: database}}]`
""",
)
TO_ITSELF = Code(
    "SW3128",
    "link from a node to itself",
    """Both ends of the link are one and the same node, so there is no tunnel to make.

Wrong: `between: [{node: a-0}, {node: a-0}]`

Right: `between: [{node: a-0}, {node: a-1}]`
""",
)
APART = Code(
    "SW3129",
    "mesh that falls into parts",
    """The topology leaves nodes that no tunnel joins to the others, directly or through others. A warning: that may be
meant, but flows between the parts can't work.

Wrong: `links: [{between: [{node: a-0}, {node: a-1}]}]` in a mesh with a third node `a-2`

Right: `links: [{between: [{node: a-0}, {pool: a}]}]`
""",
)


def check(subject: Subject, nodes: Sequence[Node], groups: Sequence[Group]) -> Iterator[Diagnostic]:
    """Mistakes in the topology of one mesh whose machines are all known."""
    before = 0
    for path, part, members in resolve.parts(subject.spec.topology, nodes):
        found = list(_part(subject, ("spec", *path), part, members))
        before += len(found)
        yield from found
    if not before:
        yield from _apart(subject, nodes, groups)


def settled(subject: Subject) -> bool:
    """Whether the topology is what was meant: its shape has no mistake, and no selector in it is unknown."""
    topology = subject.spec.topology
    written = subject.mesh.document.data
    for step in ("spec", "topology"):
        written = written.get(step) if isinstance(written, Mapping) else None
    return _chosen(topology, written) and all(
        _chosen(part, _item(written, "combine", index)) for index, part in enumerate(topology.combine or ())
    )


def _item(written: Any, key: str, index: int) -> Any:
    items = written.get(key) if isinstance(written, Mapping) else None
    return items[index] if isinstance(items, list) and index < len(items) else None


def _chosen(part: Topology | Part, written: Any) -> bool:
    """Whether exactly one topology is there, as a whole."""
    if isinstance(written, Mapping) and sum(name in written for name in part.ONE_OF) != 1:
        return False
    if sum(getattr(part, name) is not None for name in part.ONE_OF) != 1 or getattr(part, "combine", None) == []:
        return False
    selectors = [part.hubs.select] if part.hubs else [part.regions.gateways] if part.regions else []
    ends = [end for link in part.links or () for end in link.between]
    return (
        all(selector and is_known(selector) for selector in selectors)
        and is_known(getattr(part, "select", {}))
        and part.links != []
        and all(len(link.between) == 2 for link in part.links or ())
        and all(_end_chosen(end) for end in ends)
    )


def _end_chosen(end: End) -> bool:
    given = [value for value in (end.node, end.pool, end.select) if value is not None]
    return len(given) == 1 and (is_known(given[0]) if isinstance(given[0], dict) else not isinstance(given[0], Unknown))


def _part(subject: Subject, path: Path, part: Topology | Part, members: Sequence[Node]) -> Iterator[Diagnostic]:
    if isinstance(part, Part) and not members:
        if part.select and is_known(part.select) and subject.nodes:
            yield _nobody(subject, "this part of the topology", (*path, "select"), part.select)
        return
    if part.hubs is not None:
        yield from _hubs(subject, (*path, "hubs", "select"), part.hubs.select, members)
    elif part.regions is not None:
        yield from _gateways(subject, (*path, "regions", "gateways"), part.regions.gateways, members)
    for index, link in enumerate(part.links or ()):
        ends = []
        for side, declared in enumerate(link.between):
            found = resolve.end(declared, members)
            ends.append(resolve.names(found))
            if not found:
                yield from _end(subject, (*path, "links", index, "between", side), declared, members)
        if len(ends) == 2 and ends[0] == ends[1] and len(ends[0]) == 1:
            yield Diagnostic(
                TO_ITSELF,
                f"both ends of the link are the node `{ends[0][0]}`",
                subject.mesh.value(*path, "links", index, "between", 1),
                label="the same node again",
                help="write another node, or take the link out",
                related=(Related(subject.mesh.value(*path, "links", index, "between", 0), "the first end"),),
            )


def _hubs(subject: Subject, path: Path, selector: Selector, members: Sequence[Node]) -> Iterator[Diagnostic]:
    whole = f"{'this part of ' if 'combine' in path else ''}the Mesh `{subject.mesh.name}`"
    if members and is_known(selector) and not resolve.select(selector, members):
        yield subject.selects_nothing(NO_HUB, f"no machine of {whole} is a hub", path, selector, members)


def _gateways(subject: Subject, path: Path, selector: Selector, members: Sequence[Node]) -> Iterator[Diagnostic]:
    regions = resolve.by_region(members)
    if len(regions) < 2 or not is_known(selector) or any(isinstance(region, Unknown) for region in regions):
        return
    if not resolve.select(selector, members):
        message = f"no machine of the Mesh `{subject.mesh.name}` is a gateway, and it has {len(regions)} regions"
        yield subject.selects_nothing(NO_GATEWAY, message, path, selector, members)
        return
    for region, inside in sorted(regions.items()):
        if not resolve.select(selector, inside):
            pool = subject.nodes[inside[0].name].pool
            labels = ", ".join(f"{key}: {value}" for key, value in selector.items())
            yield Diagnostic(
                NO_GATEWAY,
                f"the region `{region}` of the Mesh `{subject.mesh.name}` has no gateway",
                subject.mesh.value(*path),
                label=f"no machine in `{region}` has {'this' if len(selector) == 1 else 'all of these'}",
                help=f"give a NodePool in `{region}` `labels: {{{labels}}}`",
                related=(Related(pool.value("metadata", "name"), f"a NodePool in `{region}`"),),
            )


def _end(subject: Subject, path: Path, declared: End, members: Sequence[Node]) -> Iterator[Diagnostic]:
    """Why an end of a link takes nobody."""
    if declared.node is not None:
        where = subject.mesh.value(*path, "node")
        if isinstance(declared.node, Unknown):
            return
        if declared.node in subject.nodes:
            yield Diagnostic(
                NOBODY,
                f"the node `{declared.node}` is not in this part of the topology",
                where,
                label="not one of the part's nodes",
                help=f"let the part's `select` take it too, or take the link out of `{shown_path(path[1:4])}`",
                severity=Severity.WARNING,
            )
        yield from unknown_node(subject, declared.node, where)
    elif declared.pool is not None:
        pool = None if isinstance(declared.pool, Unknown) else subject.inventory.get(fleet.POOL, declared.pool)
        if pool is not None:
            on_mesh = fleet.cluster_of(pool, subject.inventory) in subject.clusters
            yield Diagnostic(
                NOBODY,
                f"no machine of the NodePool `{declared.pool}` is "
                + ("in this part of the topology" if on_mesh else f"on the Mesh `{subject.mesh.name}`"),
                subject.mesh.value(*path, "pool"),
                label="the link has no effect",
                help="declare machines there, or take the link out"
                if on_mesh
                else f"its Cluster `{fleet.cluster_of(pool, subject.inventory)}` names another mesh; take it out here",
                severity=Severity.WARNING,
            )
    elif declared.select and is_known(declared.select) and members:
        yield _nobody(subject, "this end of the link", (*path, "select"), declared.select)


def _nobody(subject: Subject, what: str, path: Path, selector: Selector) -> Diagnostic:
    return subject.selects_nothing(
        NOBODY,
        f"{what} takes no machine of the Mesh `{subject.mesh.name}`",
        path,
        selector,
        subject.nodes.values(),
        severity=Severity.WARNING,
    )


def _apart(subject: Subject, nodes: Sequence[Node], groups: Sequence[Group]) -> Iterator[Diagnostic]:
    components = joined(resolve.names(nodes), groups)
    if len(components) < 2:
        return
    components.sort(key=lambda part: (-len(part), part[0]))
    alone = [name for part in components[1:] for name in part]
    more = "" if len(components) == 2 else f" and {len(components) - 2} more"
    yield Diagnostic(
        APART,
        f"the Mesh `{subject.mesh.name}` falls into {len(components)} parts that no tunnel joins",
        subject.place("topology"),
        label=f"nothing leads from `{components[0][0]}` to `{components[1][0]}`{more}",
        help=f"join them by a link or a hub, or take machines off the mesh: {listing(alone)} "
        f"{'is' if len(alone) == 1 else 'are'} apart from `{components[0][0]}`",
        severity=Severity.WARNING,
    )


def joined(names: Sequence[str], groups: Sequence[Group]) -> list[list[str]]:
    """The parts that a mesh falls into: nodes of one reach each other, directly or through others."""
    leader = {name: name for name in names}

    def find(name: str) -> str:
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    for group in groups:
        both = [*group.one, *group.other] if group.one and group.other else []
        for name in both[1:]:
            leader[find(name)] = find(both[0])
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(find(name), []).append(name)
    return list(found.values())
