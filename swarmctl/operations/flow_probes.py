"""Which ports `status` tries, and what it expects: declared flows open, everything else closed. Pure.

Not every pair and port can be tried in a few seconds, so the choice is bounded and deterministic: every node is a
sender and a target, every flow is tried, ranges at both ends, and each pair gets ports that must stay closed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique

from swarmctl.declarations.declaration import Inventory
from swarmctl.graph.model import Machine, MeshMember
from swarmctl.hosts.probes import Answer, Port
from swarmctl.kinds.security_policy.spec import instant, moment
from swarmctl.mesh.firewall import span
from swarmctl.mesh.selectors import select
from swarmctl.operations.nodes import natural

MAX_TARGETS = 8
"""Targets per sender for a flow, and again for what must stay closed; with up to 9 nodes that is every pair."""
MAX_PORTS = 6
"""Ports tried per flow, ends of ranges counted one by one."""
MAX_PER_NODE = 160
"""Probes that one node sends."""
MARGIN = 60
"""Seconds around the end of a flow in which its ports are not tried."""
CONTROL_PORTS = (9, 13, 17, 19, 37, 79)
"""Old small services (RFC 863 to 868, 1288): nobody declares all of them, so one must be closed everywhere."""


@unique
class Over(StrEnum):
    """The network a probe goes through."""

    MESH = "mesh"
    UNDERLAY = "underlay"


@dataclass(frozen=True, slots=True)
class Rule:
    """One declared flow with the nodes that its selectors take."""

    policy: str
    flow: str
    protocol: str
    ports: tuple[tuple[int, int], ...]
    """First and last port of each range."""
    sources: frozenset[str]
    targets: frozenset[str]
    until: int | None = None
    """When it ends, Unix time in seconds; None when it doesn't."""

    def holds(self, now: float) -> bool | None:
        """Whether it lets anything through at `now`; None when it is about to end or just has: clocks differ."""
        if self.until is None:
            return True
        return None if abs(self.until - now) < MARGIN else self.until > now

    def allows(self, sender: str, target: str, protocol: str, port: int) -> bool:
        """Whether this flow lets the packet through."""
        return protocol == self.protocol and sender in self.sources and target in self.targets and self.covers(port)

    def covers(self, port: int) -> bool:
        """Whether the port is declared, for whatever protocol and pair."""
        return any(first <= port <= last for first, last in self.ports)

    def samples(self) -> list[int]:
        """The ports that stand for all: the ends of its ranges, at most `MAX_PORTS`."""
        return list(dict.fromkeys(end for ends in self.ports for end in ends))[:MAX_PORTS]


@dataclass(frozen=True, slots=True)
class FlowProbe:
    """One port to try, and what it must be."""

    policy: str
    """The policy that holds on the target."""
    flow: str | None
    """The declared flow, None for a port that must stay closed."""
    sender: str
    target: str
    port: Port
    over: Over
    expected: Answer


@dataclass(frozen=True, slots=True)
class Untried:
    """A declared flow whose ports are not tried."""

    policy: str
    flow: str
    until: int
    """When it ends, Unix time in seconds."""
    why: str
    """A clause."""


def untried(inventory: Inventory, machines: Sequence[Machine], *, now: float) -> list[Untried]:
    """The flows that end about `now` (Unix time): each node ends them by its own clock."""
    return [
        Untried(
            rule.policy,
            rule.flow,
            rule.until,
            f"it {'ends' if rule.until > now else 'ended'} at {moment(rule.until)}, less than {MARGIN} s from now, and "
            "clocks differ",
        )
        for rule in rules(inventory, machines)
        if rule.until is not None and rule.holds(now) is None
    ]


def rules(inventory: Inventory, machines: Sequence[Machine]) -> list[Rule]:
    """The flows of every policy in use. A policy holds between the nodes of the clusters that name it."""
    found: list[Rule] = []
    for policy in inventory.of("SecurityPolicy"):
        inside = [machine for machine in machines if policy_of(inventory, machine) == policy.name]
        for flow in policy.spec.network.flows:
            ports = tuple(map(span, flow.ports))
            sources, targets = (
                frozenset(machine.name for machine in select(of, inside)) for of in (flow.from_, flow.to)
            )
            until = None if flow.until is None else instant(flow.until)
            found.append(Rule(policy.name, flow.name, flow.protocol, ports, sources, targets, until))
    return found


def policy_of(inventory: Inventory, machine: Machine) -> str:
    """Name of the policy that holds on `machine`; empty when its cluster is not declared."""
    cluster = inventory.get("Cluster", machine.cluster)
    return "" if cluster is None else str(cluster.spec.security_policy)


def choose(
    inventory: Inventory, machines: Sequence[Machine], members: Sequence[MeshMember], *, now: float = 0.0
) -> list[FlowProbe]:
    """All probes of one measurement at `now` (Unix time), at most `MAX_PER_NODE` from each node, declared flows first.

    What a flow that has ended allowed must be closed.
    """
    every = rules(inventory, machines)
    declared = [rule for rule in every if rule.holds(now)]
    unsure = [rule for rule in every if rule.holds(now) is None]
    by_name = {machine.name: machine for machine in machines}
    policies = {name: policy_of(inventory, machine) for name, machine in by_name.items()}
    addresses = {(member.node, member.mesh): member.addresses for member in members}
    tunnels = {("udp", port) for member in members for port in (member.listen_port, member.next_port)}
    samples = [(rule.protocol, rule.ports[0][0]) for rule in every]
    outside = [port for port in samples if port not in tunnels][:1]
    control = next(port for port in CONTROL_PORTS if not any(rule.covers(port) for rule in every))

    meshes: dict[str, list[str]] = {name: [] for name in by_name}
    for member in members:
        meshes[member.node].append(member.mesh)

    def on_mesh(sender: str, target: str) -> tuple[str, ...]:
        shared = (mesh for mesh in meshes[sender] if (target, mesh) in addresses)
        return next((addresses[target, mesh] for mesh in shared), ())

    def opened() -> Iterator[FlowProbe]:
        for rule in declared:
            for sender in sorted(rule.sources, key=natural):
                for target in around(sender, rule.targets):
                    for port in ports(on_mesh(sender, target), [(rule.protocol, number) for number in rule.samples()]):
                        yield FlowProbe(rule.policy, rule.flow, sender, target, port, Over.MESH, Answer.OPEN)

    def closed() -> Iterator[FlowProbe]:
        for sender in sorted(by_name, key=natural):
            for turn, target in enumerate(around(sender, by_name)):
                forbidden = [sample for sample in samples if not allowed(sender, target, *sample)]
                forbidden = forbidden[turn % len(forbidden) :][:1] if forbidden else []
                tries = {
                    Over.MESH: ports(on_mesh(sender, target), [*forbidden, ("tcp", control)]),
                    # Open on the mesh or not: outside of it no declared port may answer.
                    Over.UNDERLAY: ports(by_name[target].underlay, [*outside, ("tcp", control)]),
                }
                for over, wanted in tries.items():
                    for port in wanted:
                        yield FlowProbe(policies[target], None, sender, target, port, over, Answer.CLOSED)

    def allowed(sender: str, target: str, protocol: str, port: int) -> bool:
        return any(rule.allows(sender, target, protocol, port) for rule in [*declared, *unsure])

    return bounded([*opened(), *closed()])


def around(sender: str, targets: Iterable[str]) -> list[str]:
    """The targets that `sender` tries: those after it in the natural order, round the end, at most `MAX_TARGETS`."""
    ring = sorted({*targets, sender}, key=natural)
    place = ring.index(sender)
    return [*ring[place + 1 :], *ring[:place]][:MAX_TARGETS]


def ports(addresses: Iterable[str], wanted: Iterable[tuple[str, int]]) -> list[Port]:
    """Every wanted (protocol, number) on every address."""
    return [Port(protocol, address, number) for protocol, number in wanted for address in addresses]


def bounded(probes: Iterable[FlowProbe]) -> list[FlowProbe]:
    """The first `MAX_PER_NODE` of every sender, in their order."""
    sent: Counter[str] = Counter()
    kept: list[FlowProbe] = []
    for probe in probes:
        sent[probe.sender] += 1
        if sent[probe.sender] <= MAX_PER_NODE:
            kept.append(probe)
    return kept
