"""The mesh of a stack as a picture: who is where, which tunnels there are, what may flow. Reads the files only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swarmctl.operations.flow_probes import rules
from swarmctl.operations.nodes import Declared, declared, natural
from swarmctl.operations.stack import Emit

MOST_DRAWN = 40
"""Nodes up to which every tunnel is drawn as a line of its own."""
MOST_LINES = 450
"""Lines up to which they are drawn one by one; Mermaid itself stops at 500."""


@dataclass(frozen=True, slots=True)
class Node:
    """One machine in the picture."""

    name: str
    cluster: str
    region: str
    pool: str
    addresses: tuple[str, ...]
    """On the mesh."""
    hub: bool

    @property
    def group(self) -> Group:
        """Where it stands."""
        return Group(self.region, self.pool)


@dataclass(frozen=True, slots=True)
class Group:
    """The machines of one pool in one region."""

    region: str
    pool: str


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A WireGuard tunnel between two nodes; `a` comes before `b` in the natural order."""

    a: str
    b: str
    mesh: str


@dataclass(frozen=True, slots=True)
class Flow:
    """What a policy allows on the mesh, from some nodes to others."""

    policy: str
    name: str
    protocol: str
    ports: str
    """As declared, such as `6379, 10001-10010`."""
    sources: tuple[str, ...]
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that can be drawn of a stack."""

    stack: str
    nodes: tuple[Node, ...]
    tunnels: tuple[Tunnel, ...]
    flows: tuple[Flow, ...]

    @property
    def groups(self) -> dict[Group, list[Node]]:
        """The nodes by region and pool, in natural order."""
        found: dict[Group, list[Node]] = {}
        for node in sorted(self.nodes, key=lambda node: (natural(node.region), natural(node.pool), natural(node.name))):
            found.setdefault(node.group, []).append(node)
        return found

    @property
    def regions(self) -> dict[str, list[Group]]:
        """The groups of every region."""
        found: dict[str, list[Group]] = {}
        for group in self.groups:
            found.setdefault(group.region, []).append(group)
        return found

    @property
    def crowded(self) -> bool:
        """Whether tunnels have to be drawn in bundles to be legible."""
        return len(self.nodes) > MOST_DRAWN or len(self.tunnels) > MOST_LINES

    def bundles(self) -> dict[tuple[Group, Group], int]:
        """How many tunnels run between two groups (or inside of one), in the order of the groups."""
        where = {node.name: node.group for node in self.nodes}
        order = {group: place for place, group in enumerate(self.groups)}
        counts: Counter[tuple[Group, Group]] = Counter()
        for (a, b), count in Counter((where[tunnel.a], where[tunnel.b]) for tunnel in self.tunnels).items():
            counts[(a, b) if order[a] <= order[b] else (b, a)] += count
        return dict(sorted(counts.items(), key=lambda item: (order[item[0][0]], order[item[0][1]])))

    def flow_bundles(self) -> list[tuple[Flow, Group, Group]]:
        """For every flow the pairs of groups that it runs between, once each."""
        groups = self.groups
        where = {node.name: node.group for node in self.nodes}
        found: list[tuple[Flow, Group, Group]] = []
        for flow in self.flows:
            sources = Counter(where[name] for name in flow.sources)
            targets = Counter(where[name] for name in flow.targets)
            both = Counter(where[name] for name in set(flow.sources) & set(flow.targets))
            found += [
                (flow, one, other)
                for one in groups
                for other in groups
                # More than the pairs of a node with itself.
                if sources[one] * targets[other] > (both[one] if one == other else 0)
            ]
        return found


def graph(folder: Path, *, emit: Emit) -> Picture:
    """The picture of the stack in `folder`. Raises NoDocuments and InvalidDeclaration."""
    return picture(declared(folder, emit))


def picture(stack: Declared) -> Picture:
    """What is declared, as a picture. Pure."""
    hubs = {member.node for member in stack.members if member.forwards}
    addresses: dict[str, tuple[str, ...]] = {}
    for member in stack.members:
        addresses[member.node] = (*addresses.get(member.node, ()), *member.addresses)
    nodes = (
        Node(
            name=machine.name,
            cluster=machine.cluster,
            region=machine.region,
            pool=machine.pool,
            addresses=addresses.get(machine.name, ()),
            hub=machine.name in hubs,
        )
        for machine in stack.machines
    )
    return Picture(stack.name, tuple(nodes), tuple(_tunnels(stack)), tuple(_flows(stack)))


def _tunnels(stack: Declared) -> Sequence[Tunnel]:
    place = {machine.name: number for number, machine in enumerate(stack.machines)}
    found: dict[Tunnel, None] = {}
    for member in stack.members:
        for peer in member.peers:
            a, b = sorted((member.node, peer), key=place.__getitem__)
            found[Tunnel(a, b, member.mesh)] = None
    return list(found)


def _flows(stack: Declared) -> Sequence[Flow]:
    return [
        Flow(
            rule.policy,
            rule.flow,
            rule.protocol,
            ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in rule.ports),
            tuple(sorted(rule.sources, key=natural)),
            tuple(sorted(rule.targets, key=natural)),
        )
        for rule in rules(stack.inventory, stack.machines)
    ]
