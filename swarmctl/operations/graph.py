"""The mesh of a stack as a picture: who is where, which tunnels there are, what may flow. Reads the files only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, unique
from functools import cached_property
from pathlib import Path

from swarmctl.graph.model import Address, Json, MeshMember
from swarmctl.operations.flow_probes import rules
from swarmctl.operations.nodes import Declared, declared, find, natural
from swarmctl.operations.stack import Emit

MOST_DRAWN = 40
"""Nodes up to which every tunnel is drawn as a line of its own."""
MOST_LINES = 450
"""Lines up to which they are drawn one by one; Mermaid itself stops at 500."""
MOST_GROUPS = 24
"""Groups of nodes up to which a crowded mesh is drawn by pools; with more it is drawn by regions alone."""

ROLES = {"hub": "hub", "gateway": "gateway", "relay": "relay", "link": "transit"}
"""Words for who passes traffic on, the one that counts most first; `transit`: others lie behind it along links."""


@unique
class Use(IntEnum):
    """What a tunnel carries; of two ends that see it differently, the greater."""

    DIRECT = 0
    """Traffic between its own two ends."""
    STANDBY = 1
    """The same, until who is preferred to one of its ends has died."""
    THROUGH = 2
    """Also what goes to nodes behind one of its ends."""


@dataclass(frozen=True, slots=True)
class Node:
    """One machine in the picture."""

    name: str
    cluster: str
    region: str
    pool: str
    addresses: tuple[str, ...]
    """On the mesh."""
    role: str = ""
    """One of the words in `ROLES`; empty when it passes nothing on."""
    nat: bool = False
    """Whether nobody can begin a tunnel to it."""
    ways: tuple[tuple[str, ...], ...] = ()
    """The nodes that its traffic to others goes through: each time the first that is alive."""

    @property
    def hub(self) -> bool:
        """Whether it passes traffic on."""
        return bool(self.role)


@dataclass(frozen=True, slots=True)
class Group:
    """Machines of one region that are drawn together."""

    region: str
    pool: str
    """Empty: of all its pools."""
    role: str = ""
    nat: bool = False
    node: str = ""
    """The one node that it consists of."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A WireGuard tunnel between two nodes; `a` comes before `b` in the natural order."""

    a: str
    b: str
    mesh: str
    use: Use = Use.DIRECT


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
    until: int | None = None
    """When it ends, Unix time in seconds."""

    @property
    def mutual(self) -> bool:
        """Whether it runs among nodes, and not from some to others."""
        return self.sources == self.targets


@dataclass(frozen=True)
class Picture:
    """Everything that can be drawn of a stack."""

    stack: str
    nodes: tuple[Node, ...]
    tunnels: tuple[Tunnel, ...]
    flows: tuple[Flow, ...]
    focus: str = ""
    """The node that the picture is about, when it shows only what that one has to do with."""

    @cached_property
    def groups(self) -> dict[Group, list[Node]]:
        """The nodes in natural order: by region and pool, in a crowded mesh also by what they are for others.

        With very many such groups, the pools of a region are one.
        """
        found = self._grouped(pools=True)
        return found if len(found) <= MOST_GROUPS else self._grouped(pools=False)

    @cached_property
    def where(self) -> dict[str, Group]:
        """The group of every node by name."""
        return {node.name: group for group, nodes in self.groups.items() for node in nodes}

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

    def among_many(self, flow: Flow) -> bool:
        """Whether an arrow for every pair of groups says less than one sentence."""
        return flow.mutual and len({self.where[name] for name in flow.sources}) > 2

    def flow_bundles(self, *, few: bool = False) -> list[tuple[Flow, Group, Group]]:
        """For every flow the pairs of groups that it runs between, once each; `few`: without those among many."""
        found: list[tuple[Flow, Group, Group]] = []
        for flow in self.flows:
            if few and self.among_many(flow):
                continue
            sources = Counter(self.where[name] for name in flow.sources)
            targets = Counter(self.where[name] for name in flow.targets)
            both = Counter(self.where[name] for name in set(flow.sources) & set(flow.targets))
            found += [
                (flow, one, other)
                for one in self.groups
                for other in self.groups
                # More than the pairs of a node with itself.
                if sources[one] * targets[other] > (both[one] if one == other else 0)
            ]
        return found

    def _grouped(self, *, pools: bool) -> dict[Group, list[Node]]:
        found: dict[Group, list[Node]] = {}
        for node in sorted(self.nodes, key=lambda node: (natural(node.region), natural(node.pool), natural(node.name))):
            if self.crowded:
                alone = node.name if node.name == self.focus else ""
                group = Group(node.region, node.pool if pools or alone else "", node.role, node.nat, alone)
            else:
                group = Group(node.region, node.pool)
            found.setdefault(group, []).append(node)
        return {group: found[group] for group in sorted(found, key=_place)} if self.crowded else found


def _place(group: Group) -> tuple[object, ...]:
    """In its region first what passes traffic on."""
    return natural(group.region), natural(group.pool), not group.node, not group.role, group.role, group.nat


def graph(folder: Path, *, node: str = "", emit: Emit) -> Picture:
    """The picture of the stack in `folder`, or of one of its nodes.

    Raises NoDocuments, InvalidDeclaration and, where there is no such node, UsageError.
    """
    stack = declared(folder, emit)
    return focused(picture(stack), find(stack.machines, node).name) if node else picture(stack)


def picture(stack: Declared) -> Picture:
    """What is declared, as a picture. Pure."""
    ways = {(member.node, member.mesh): tuple(_ways(stack, member)) for member in stack.members}
    of: dict[str, list[MeshMember]] = {}
    for member in stack.members:
        of.setdefault(member.node, []).append(member)
    nodes = []
    for machine in stack.machines:
        members = of.get(machine.name, [])
        roles = {member.role for member in members}
        nodes.append(
            Node(
                name=machine.name,
                cluster=machine.cluster,
                region=machine.region,
                pool=machine.pool,
                addresses=tuple(address for member in members for address in member.addresses),
                role=next((word for role, word in ROLES.items() if role in roles), ""),
                nat=any(member.behind_nat for member in members),
                ways=tuple(dict.fromkeys(way for member in members for way in ways[member.node, member.mesh])),
            )
        )
    return Picture(stack.name, tuple(nodes), tuple(_tunnels(stack, ways)), tuple(_flows(stack)))


def focused(whole: Picture, node: str) -> Picture:
    """Only the node, those it has tunnels to, and what flows between it and them."""
    tunnels = tuple(tunnel for tunnel in whole.tunnels if node in (tunnel.a, tunnel.b))
    kept = {node, *(end for tunnel in tunnels for end in (tunnel.a, tunnel.b))}
    flows = []
    for flow in whole.flows:
        if node in flow.sources:
            others = tuple(name for name in flow.targets if name in kept and name != node)
            flows.append(replace(flow, sources=(node,), targets=others))
        if node in flow.targets:
            others = tuple(name for name in flow.sources if name in kept and name != node)
            flows.append(replace(flow, sources=others, targets=(node,)))
    shown = tuple(flow for flow in flows if flow.sources and flow.targets)
    return replace(
        whole, nodes=tuple(one for one in whole.nodes if one.name in kept), tunnels=tunnels, flows=shown, focus=node
    )


def _ways(stack: Declared, member: MeshMember) -> Iterator[tuple[str, ...]]:
    """Who leads to nodes that the member has no tunnel to: what stands in its peers' allowed IPs beside their own."""
    made = stack.resources.get(Address("mesh", member.mesh, f"{member.node}/peers"))
    inputs: Mapping[str, Json] = made.inputs if made is not None else {}
    groups = [tuple(group["via"]) for group in inputs.get("failover", ())]
    yield from dict.fromkeys(groups)
    known = {name for group in groups for name in group}
    for name, peer in inputs.get("peers", {}).items():
        # Every member has one address in each network of the mesh, and more leads to others, as does a whole network.
        allowed = peer["allowedIps"]
        if name not in known and (len(allowed) > len(member.cidrs) or allowed == list(member.cidrs)):
            yield (name,)


def _tunnels(stack: Declared, ways: Mapping[tuple[str, str], Sequence[tuple[str, ...]]]) -> Sequence[Tunnel]:
    place = {machine.name: number for number, machine in enumerate(stack.machines)}
    found: dict[tuple[str, str, str], Use] = {}
    for member in stack.members:
        uses: dict[str, Use] = {}
        for first, *others in ways[member.node, member.mesh]:
            uses[first] = Use.THROUGH
            for name in others:
                uses.setdefault(name, Use.STANDBY)
        for peer in member.peers:
            a, b = (member.node, peer) if place[member.node] <= place[peer] else (peer, member.node)
            key = (a, b, member.mesh)
            found[key] = max(found.get(key, Use.DIRECT), uses.get(peer, Use.DIRECT))
    return [Tunnel(*key, use) for key, use in found.items()]


def _flows(stack: Declared) -> Sequence[Flow]:
    return [
        Flow(
            rule.policy,
            rule.flow,
            rule.protocol,
            ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in rule.ports),
            tuple(sorted(rule.sources, key=natural)),
            tuple(sorted(rule.targets, key=natural)),
            rule.until,
        )
        for rule in rules(stack.inventory, stack.machines)
    ]
