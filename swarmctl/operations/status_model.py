"""What `status` finds out, and how facts and answers of probes become verdicts. Pure.

Ages are by each node's own clock, so clocks that differ do no harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from swarmctl.errors import ExitCode
from swarmctl.graph.model import LostMachine, Machine, MeshMember
from swarmctl.hosts.facts import Facts, Peer
from swarmctl.hosts.probes import Answer, Answers, Ping, settle
from swarmctl.hosts.states import ISOLATED, LOST
from swarmctl.mesh.compiler import single
from swarmctl.operations.flow_probes import FlowProbe, Untried
from swarmctl.operations.flow_traffic import Traffic

FRESH = 180
"""Seconds after which WireGuard refuses a session (REJECT_AFTER_TIME, WireGuard white paper §6.1)."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one machine told."""

    facts: Facts | None = None
    answers: Answers | None = None
    """None when nothing was probed."""
    gone: bool = False
    """The machine does not exist."""
    unreadable: str = ""
    """Why it exists and could not be read."""
    before: Facts | None = None
    """Its facts before anybody probed: only there have its firewall's counters nothing of these probes in them."""

    @property
    def pings(self) -> Mapping[str, Ping]:
        """Echoes by address; empty when nothing was probed."""
        return self.answers.pings if self.answers else {}

    def renewed(self, by: Reading) -> Reading:
        """This reading with what a second one, of some of the addresses, found out since."""
        if self.answers is None or by.answers is None:
            return by
        asked = by.answers.pings.keys()
        kept = {port: answer for port, answer in self.answers.ports.items() if port.address not in asked}
        answers = replace(by.answers, pings={**self.pings, **by.pings}, ports={**kept, **by.answers.ports})
        return replace(by, answers=answers)


@dataclass(frozen=True, slots=True)
class Node:
    """One machine. `handshakes` of its `tunnels` are fresh; bytes are sums over all of its tunnels."""

    name: str
    cluster: str
    pool: str
    region: str
    addresses: tuple[str, ...]
    """On its meshes."""
    underlay: tuple[str, ...]
    exists: bool
    unreadable: bool
    reasons: tuple[str, ...]
    """Why it isn't ready: clauses such as `interface wg0 is down`."""
    tunnels: int
    handshakes: int
    received: int
    sent: int
    managed_ports: tuple[int, ...] = ()
    """TCP ports that its firewall lets in whatever else is declared, for whoever manages it."""
    managed_from: tuple[str, ...] = ()
    """Networks that they are let in from; empty for all."""
    state: str = ""
    """What is declared of it: `isolated`, `lost`, `cordoned`, `drained`, or empty."""

    @property
    def ready(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons


@dataclass(frozen=True, slots=True)
class Link:
    """The way from one node to another over the mesh, as the first one sees it."""

    mesh: str
    sender: str
    target: str
    tunnel: bool
    """Whether a tunnel of its own is declared; otherwise a hub passes the traffic on."""
    established: bool | None
    """Whether the sender has that tunnel; None when the sender could not be read."""
    pings: Mapping[str, Ping]
    """By the target's mesh address; empty when nothing was measured."""
    handshake_age: int | None = None
    """Seconds since the last handshake, None when there was none or there is no tunnel."""
    received: int = 0
    sent: int = 0
    endpoint: bool = False
    """Whether the sender knows where on the underlay the other end of the tunnel is."""
    up: bool = False
    """Whether the sender's interface is up."""
    via: tuple[str, ...] = ()
    """The nodes that are declared to pass its traffic on; empty with a tunnel, and where there is no way."""
    role: str = ""
    """What the first of them is: `hub`, `gateway`, `relay` or `link`."""
    cut_by: tuple[str, ...] = ()
    """The nodes whose outage is why it doesn't work; an end of it may be one."""

    @property
    def reachable(self) -> bool | None:
        """Whether every address of the target answers; None when not measured."""
        return all(ping.reachable for ping in self.pings.values()) if self.pings else None

    @property
    def rtt(self) -> float | None:
        """Slowest round trip in milliseconds."""
        return max((ping.rtt for ping in self.pings.values() if ping.rtt is not None), default=None)

    @property
    def fresh(self) -> bool:
        """Whether the tunnel's session is one that WireGuard still uses."""
        return self.handshake_age is not None and self.handshake_age < FRESH

    @property
    def alive(self) -> bool:
        """Whether the tunnel can carry traffic: its session is in use, or an echo came back just now."""
        return self.fresh or self.reachable is True

    @property
    def works(self) -> bool:
        """Whether nothing is wrong with it as far as measured: no echo is missing, and a tunnel is alive."""
        return self.reachable is not False and (not self.tunnel or (self.established is True and self.alive))


@dataclass(frozen=True, slots=True)
class FlowResult:
    """One port that was tried."""

    probe: FlowProbe
    observed: Answer

    @property
    def ok(self) -> bool | None:
        """Whether it is as declared; None when that could not be told."""
        return None if self.observed is Answer.UNKNOWN else self.observed is self.probe.expected


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that `status` shows."""

    stack: str
    applied: bool
    """Whether the state knows machines of this stack."""
    probed: bool
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    flows: tuple[FlowResult, ...]
    untried: tuple[Untried, ...] = ()
    """Flows whose ports could not be tried now."""
    traffic: Traffic = field(default_factory=Traffic)
    """What the firewalls have counted."""
    seconds: float = 0.0
    """How long it took to measure."""

    @property
    def gone(self) -> bool:
        """It was applied, and not one machine is left: this computer was started anew, or someone removed them."""
        return self.applied and bool(self.nodes) and not any(node.exists for node in self.nodes)

    @property
    def violations(self) -> tuple[FlowResult, ...]:
        """Ports that are not as declared."""
        return tuple(flow for flow in self.flows if flow.ok is False)

    @property
    def healthy(self) -> bool:
        """All nodes ready, all links reachable, all flows as declared, as far as measured."""
        return (
            all(node.ready for node in self.nodes)
            and not any(link.reachable is False for link in self.links)
            and not self.violations
        )

    @property
    def exit_code(self) -> ExitCode:
        """WORLD_UNREADABLE when a machine could not be read, FAILED when something is not as it should be, else OK."""
        if any(node.unreadable for node in self.nodes):
            return ExitCode.WORLD_UNREADABLE
        return ExitCode.OK if self.healthy else ExitCode.FAILED


def judge_links(members: Sequence[MeshMember], readings: Mapping[str, Reading]) -> list[Link]:
    """Every ordered pair of each mesh that has a tunnel or was measured, in the order of `members`."""
    found: list[Link] = []
    for mesh in dict.fromkeys(member.mesh for member in members):
        inside = [member for member in members if member.mesh == mesh]
        for sender in inside:
            peers = set(sender.peers)
            pings = readings[sender.node].pings
            for target in inside:
                measured = {address: pings[address] for address in target.addresses if address in pings}
                if target.node != sender.node and (target.node in peers or measured):
                    found.append(_link(sender, target, target.node in peers, measured, readings))
    return found


def _link(
    sender: MeshMember,
    target: MeshMember,
    tunnel: bool,
    pings: Mapping[str, Ping],
    readings: Mapping[str, Reading],
) -> Link:
    facts = readings[sender.node].facts
    peer = _peer(facts, sender, target, readings[target.node].facts) if facts and tunnel else None
    if facts is None or peer is None:
        return Link(sender.mesh, sender.node, target.node, tunnel, None if facts is None else False, pings)
    age = max(0, facts.now - peer.latest_handshake) if peer.latest_handshake else None
    interface = facts.interfaces.get(sender.interface)
    return Link(
        sender.mesh,
        sender.node,
        target.node,
        tunnel,
        True,
        pings,
        age,
        peer.received,
        peer.sent,
        endpoint=bool(peer.endpoint),
        up=interface is not None and interface.up,
    )


def _peer(facts: Facts, sender: MeshMember, target: MeshMember, theirs: Facts | None) -> Peer | None:
    """The sender's tunnel to the target: by the key the target has now, else by the target's addresses."""
    wireguard = facts.wireguard.get(sender.interface)
    if wireguard is None:
        return None
    remote = theirs.wireguard.get(target.interface) if theirs else None
    if remote is not None:
        return wireguard.peers.get(remote.public_key)
    own = set(single(target.addresses))
    return next((peer for peer in wireguard.peers.values() if own & set(peer.allowed_ips)), None)


def judge_node(
    machine: Machine,
    reading: Reading,
    members: Sequence[MeshMember],
    links: Sequence[Link],
    *,
    does: str = "",
    service: str = "",
) -> Node:
    """One machine with its own memberships and the links that begin at it.

    What another node's outage explains is not this node's fault; `does` says what this node's own outage does,
    `service` why it is not in or out of service as declared.
    """
    tunnels = [link for link in links if link.tunnel]
    return Node(
        name=machine.name,
        cluster=machine.cluster,
        pool=machine.pool,
        region=machine.region,
        addresses=tuple(address for member in members for address in member.addresses),
        underlay=machine.underlay,
        exists=not reading.gone,
        unreadable=bool(reading.unreadable),
        reasons=(
            *_reasons(machine, reading, members, [it for it in links if not it.cut_by]),
            *([service] if service else []),
            *([does] if does else []),
        ),
        tunnels=len(tunnels),
        handshakes=sum(link.fresh and link.up for link in tunnels),
        received=sum(link.received for link in tunnels),
        sent=sum(link.sent for link in tunnels),
        managed_ports=machine.managed_ports,
        managed_from=machine.managed_from,
        state=machine.state,
    )


def lost_node(machine: LostMachine) -> Node:
    """One that is declared to be gone, and that nobody asks."""
    return Node(
        machine.name, machine.cluster, machine.pool, machine.region, (), (), False, False, (), 0, 0, 0, 0, state=LOST
    )


def _reasons(machine: Machine, reading: Reading, members: Sequence[MeshMember], links: Sequence[Link]) -> Iterator[str]:
    if reading.gone:
        yield "the machine does not exist"
        return
    if reading.facts is None:
        yield reading.unreadable
        return
    for member in members:
        yield from _interface_reasons(reading.facts, member, [link for link in links if link.mesh == member.mesh])
    if reading.facts.guard is not None:
        yield reading.facts.guard.text
    if machine.state == ISOLATED:
        yield from _isolation_reasons(reading.facts)
    elif not drops_by_default(reading.facts.nftables):
        yield "no firewall: nothing drops what is not declared"
    if reading.answers is not None and not reading.answers.complete:
        yield "probes could not be sent: bash or ping does not work there"


def _isolation_reasons(facts: Facts) -> Iterator[str]:
    if not all(drops_by_default(facts.nftables, hook) for hook in ("input", "forward", "output")):
        yield "not isolated: its firewall does not drop all that comes in and goes out"
    if left := sorted(name for name, link in facts.interfaces.items() if link.alias.startswith(_OURS)):
        yield f"not isolated: the interface {', '.join(left)} of a mesh is still there"


_OURS = ("swarmctl:", "swarmctl-rotation:")
"""How the marks on interfaces of meshes begin."""


def _interface_reasons(facts: Facts, member: MeshMember, links: Sequence[Link]) -> Iterator[str]:
    interface = facts.interfaces.get(member.interface)
    if interface is None:
        yield f"interface {member.interface} is missing"
    elif member.interface not in facts.wireguard:
        yield f"no WireGuard on {member.interface}"
    elif not interface.up:
        yield f"interface {member.interface} is down"
    else:
        missing = [link.target for link in links if link.tunnel and not link.established]
        dead = [link for link in links if link.tunnel and link.established and not link.alive]
        told = {*missing, *(link.target for link in dead)}
        silent = [link.target for link in links if link.reachable is False and link.target not in told]
        if missing:
            yield f"no tunnel to {_names(missing)}"
        if dead:
            unanswered = " and no answer" if any(link.reachable is False for link in dead) else ""
            yield f"no handshake within {FRESH} s{unanswered}: {_names([link.target for link in dead])}"
        if silent:
            yield f"no answer over the mesh from {_names(silent)}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def drops_by_default(ruleset: Any, hook: str = "input") -> bool:
    """Whether `nft -j list ruleset` has a base chain on this hook that drops what no rule accepts, and is in force: a
    table with flags may be dormant (not every nft says which flags they are)."""
    items = ruleset.get("nftables", ()) if isinstance(ruleset, dict) else ()
    tables = [item["table"] for item in items if "table" in item]
    flagged = {(table.get("family"), table.get("name")) for table in tables if table.get("flags")}
    return any(
        chain.get("hook") == hook
        and chain.get("policy") == "drop"
        and (chain.get("family"), chain.get("table")) not in flagged
        for chain in (item.get("chain", {}) for item in items)
    )


def judge_flows(probes: Sequence[FlowProbe], readings: Mapping[str, Reading]) -> list[FlowResult]:
    """What each probe saw. Senders that could not be asked and targets that are gone are left out: a port that is
    closed there would prove nothing."""
    nothing = Answers()
    return [
        FlowResult(probe, settle(probe.port, sender, readings[probe.target].answers or nothing))
        for probe in probes
        if (sender := readings[probe.sender].answers) is not None and not readings[probe.target].gone
    ]
