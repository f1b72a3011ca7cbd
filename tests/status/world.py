"""A small world without machines: declarations, and hosts that answer as scripted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from swarmctl.backends.base import CommandFailed, Completed, Host, HostGone, HostUnreachable
from swarmctl.declarations.declaration import Declaration, Inventory, Metadata
from swarmctl.documents.document import Document
from swarmctl.graph.model import Address, Graph, Machine, MeshMember
from swarmctl.hosts import probes
from swarmctl.kinds.cluster.spec import ClusterSpec
from swarmctl.kinds.security_policy.spec import SecurityPolicySpec
from swarmctl.operations.nodes import Declared

POOLS = {"control": (2, "eu-central", "head"), "workers": (3, "us-east", "worker")}
FLOWS = (
    {"name": "ray-head", "from": {"role": "worker"}, "to": {"role": "head"}, "ports": [6379, "10001-10010"]},
    {"name": "metrics", "from": {"role": "head"}, "to": {}, "ports": [9100]},
    {"name": "gossip", "from": {"role": "worker"}, "to": {"role": "worker"}, "ports": [7946], "protocol": "udp"},
)
NOW = 1_790_000_000


def inventory(flows: Iterable[Mapping[str, Any]] = FLOWS) -> Inventory:
    """One cluster with one policy; where things stand in files matters to nothing here."""
    nowhere = cast(Document, None)
    policy = msgspec.convert({"network": {"flows": list(flows)}}, SecurityPolicySpec)
    return Inventory(
        [
            Declaration("Cluster", Metadata("core"), ClusterSpec(mesh="backbone", security_policy="baseline"), nowhere),
            Declaration("SecurityPolicy", Metadata("baseline"), policy, nowhere),
        ]
    )


def graph(pools: Mapping[str, tuple[int, str, str]] = POOLS, *, hubs: str = "", v6: bool = True) -> Graph:
    """Machines and members of one mesh; `hubs` is the pool whose nodes are hubs, none for a full mesh."""
    made = Graph("lab")
    names = [(pool, f"{pool}-{ordinal}") for pool, (count, _, _) in pools.items() for ordinal in range(count)]
    for number, (pool, name) in enumerate(names, 1):
        _, region, role = pools[pool]
        address = Address("nodepool", pool, name.rpartition("-")[2])
        underlay = (f"192.0.2.{number % 250}",)
        made.export(Machine(name, address, pool, "core", region, {"role": role}, underlay, {"node": name}))
    for number, (pool, name) in enumerate(names, 1):
        peers = tuple(other for near, other in names if other != name and (not hubs or hubs in (pool, near)))
        addresses = (f"10.88.{number // 250}.{number % 250}", *([f"fd88::{number:x}"] if v6 else []))
        made.export(
            MeshMember(
                node=name,
                mesh="backbone",
                interface="wg0",
                addresses=addresses,
                cidrs=("10.88.0.0/16", "fd88::/64"),
                listen_port=51820,
                peers=peers,
                forwards=pool == hubs,
                role="hub" if pool == hubs else "",
                address=Address("mesh", "backbone", name),
            )
        )
    return made


def declared(
    *, applied: bool = True, hubs: str = "", flows: Iterable[Mapping[str, Any]] = FLOWS, pools: Any = POOLS
) -> Declared:
    """The stack of `graph`, applied or not."""
    made = graph(pools, hubs=hubs)
    recorded = frozenset(str(machine.address) for machine in made.exported(Machine)) if applied else frozenset()
    return Declared.of("lab", inventory(flows), made, recorded)


@dataclass
class World:
    """What goes wrong in it; nothing by default. Firewalls follow the declared flows."""

    stack: Declared
    gone: set[str] = field(default_factory=set)
    unreachable: set[str] = field(default_factory=set)
    full: set[str] = field(default_factory=set)
    """Nodes without room for the input of a command."""
    down: set[str] = field(default_factory=set)
    """Nodes whose interface is down."""
    bare: set[str] = field(default_factory=set)
    """Nodes without a firewall."""
    deaf: set[tuple[str, str]] = field(default_factory=set)
    """(sender, mesh address of the target) that get no echo back."""
    dropped: set[tuple[str, str]] = field(default_factory=set)
    """(sender, target) of tunnels that somebody removed from the sender."""
    leaks: set[tuple[str, str, int]] = field(default_factory=set)
    """(sender, address, port) that is open although nothing declares it."""
    blocks: set[tuple[str, str, int]] = field(default_factory=set)
    """(sender, address, port) that is closed although it is declared."""
    listens: dict[str, list[int]] = field(default_factory=dict)
    ages: dict[str, int] = field(default_factory=dict)
    """Seconds since every handshake of a node; 12 by default, -1 for never."""
    clocks: dict[str, int] = field(default_factory=dict)
    broken: dict[str, bytes] = field(default_factory=dict)
    """What a node's probe script prints in place of an answer."""
    late: set[tuple[str, int]] = field(default_factory=set)
    """(sender, port) whose first answer comes too late."""
    young: set[tuple[str, str]] = field(default_factory=set)
    """(sender, target) whose tunnel carries nothing before the second round of probes."""
    counted: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    """Packets and bytes by counter, of nodes with a firewall that counts."""
    raises: int = 0
    """Packets by which every machine's probes raise every counter."""
    heals: dict[frozenset[str], float] = field(default_factory=dict)
    """Two ends and the second at which a handshake makes a session that works, after one that doesn't, or none."""
    deafened: dict[frozenset[str], float] = field(default_factory=dict)
    """Two ends and the second at which a handshake leaves them a session that works one way only."""
    nowhere: set[str] = field(default_factory=set)
    """Nodes of which nobody knows an endpoint."""
    passed: float = 0.0
    """Seconds that were slept."""
    slept: list[float] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    pinged: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    """Who pinged which addresses, one call each."""

    def open(self, machine: Machine) -> Host:
        """The host of a machine."""
        return cast(Host, FakeHost(self, machine.name))

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept.append(seconds)
        self.passed += seconds

    def clock(self) -> float:
        """Nothing else takes time here."""
        return self.passed

    def owner(self, address: str) -> str:
        """The node with that mesh address; empty when there is none."""
        owners = {address: member.node for member in self.stack.members for address in member.addresses}
        return owners.get(address, "")

    def member(self, node: str) -> MeshMember:
        """The node's place in the mesh."""
        return next(member for member in self.stack.members if member.node == node)


@dataclass
class FakeHost:
    """Answers the two scripts that `status` runs."""

    world: World
    name: str

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0, check: bool = True) -> Completed:
        """As a machine would, told apart by what is asked."""
        assert timeout <= 30
        if self.name in self.world.gone:
            raise HostGone(f"{self.name} does not exist")
        if self.name in self.world.unreachable:
            raise HostUnreachable(f"{self.name} does not answer")
        probing = list(argv) == probes.argv()
        self.world.asked.append((self.name, "probe" if probing else "facts"))
        if stdin and self.name in self.world.full:
            raise CommandFailed(f"{self.name}: {argv[0]} was not begun: no room for its input in /run")
        if probing and self.name in self.world.broken:
            return Completed(tuple(argv), 1, self.world.broken[self.name], b"")
        return Completed(tuple(argv), 0, (self._probe(stdin.decode()) if probing else self._facts()).encode(), b"")

    def _probe(self, request: str) -> str:
        first = self.world.asked.count((self.name, "probe")) == 1
        lines = [f"listens {port:04X}" for port in self.world.listens.get(self.name, ())]
        pinged = [line.split()[1] for line in request.splitlines() if line.startswith("ping ")]
        self.world.pinged.append((self.name, tuple(pinged)))
        for line in request.splitlines():
            what, *rest = line.split()
            if what == "ping":
                owner = self.world.owner(rest[0])
                deaf = (self.name, rest[0]) in self.world.deaf or owner in self.world.gone
                deaf |= first and (self.name, owner) in self.world.young
                deaf |= self.world.passed < self._heals(owner)
                lines.append(f"ping {rest[0]} 1 PING" if deaf else f"ping {rest[0]} 0 0.41")
            elif first and (
                (self.name, int(rest[1])) in self.world.late
                or (self.name, self.world.owner(rest[0])) in self.world.young
            ):
                continue
            elif self._open(what, rest[0], int(rest[1])):
                lines.append(f"{line} 1 Connection refused")
            elif what == "udp":
                lines.append(f"{line} 142 ")
        return "\n".join([*lines, "end", ""])

    def _heals(self, other: str) -> float:
        return self.world.heals.get(frozenset({self.name, other}), -1)

    def _age(self, peer: str) -> int:
        """Seconds since the handshake with a peer, -1 for never."""
        made = (self._heals(peer), self.world.deafened.get(frozenset({self.name, peer}), -1))
        if past := [second for second in made if 0 <= second <= self.world.passed]:
            return int(self.world.passed - max(past))
        age = self.world.ages.get(self.name, 12)
        return age if age < 0 else age + int(self.world.passed)

    def _open(self, protocol: str, address: str, port: int) -> bool:
        if (self.name, address, port) in self.world.leaks:
            return True
        roles = {machine.name: machine.labels["role"] for machine in self.world.stack.machines}
        owner = self.world.owner(address)
        if not owner or (self.name, address, port) in self.world.blocks or owner in self.world.gone:
            return False
        silent = protocol == "udp" and port in self.world.listens.get(owner, ())
        pair = (roles[self.name], roles[owner])
        return not silent and (
            (protocol == "tcp" and pair == ("worker", "head") and (port == 6379 or 10001 <= port <= 10010))
            or (protocol == "tcp" and roles[self.name] == "head" and port == 9100)
            or (protocol == "udp" and pair == ("worker", "worker") and port == 7946)
        )

    def _facts(self) -> str:
        member = self.world.member(self.name)
        now = NOW + self.world.clocks.get(self.name, 0) + int(self.world.passed)
        flags = [] if self.name in self.world.down else ["UP"]
        link = {"ifname": "wg0", "flags": flags, "mtu": 1420, "addr_info": []}
        chain = {"family": "inet", "table": "swarmctl", "name": "input", "hook": "input", "policy": "drop"}
        chain |= {"type": "filter", "prio": 0}
        own = {"family": "inet", "table": "swarmctl"}
        raised = self.world.raises * sum(what == "probe" for _, what in self.world.asked)
        counters = [
            {"counter": {**own, "name": name, "packets": packets + raised, "bytes": size}}
            for name, (packets, size) in self.world.counted.get(self.name, {}).items()
        ]
        owner = [{"table": {"family": "inet", "name": "swarmctl"}}, {"chain": {**own, "name": "policy-baseline"}}]
        table = [*owner, *counters] if counters else []
        peers = [peer for peer in member.peers if (self.name, peer) not in self.world.dropped]
        fields = {
            "public-key": f"key-of-{self.name}",
            "listen-port": "51820",
            "peers": "\n".join(f"key-of-{peer}" for peer in peers),
            "endpoints": "\n".join(
                f"key-of-{peer}\t{'(none)' if peer in self.world.nowhere else '192.0.2.1:51820'}" for peer in peers
            ),
            "allowed-ips": "\n".join(f"key-of-{peer}\t{self.world.member(peer).addresses[0]}/32" for peer in peers),
            "persistent-keepalive": "\n".join(f"key-of-{peer}\t25" for peer in peers),
            "latest-handshakes": "\n".join(
                f"key-of-{peer}\t{0 if (age := self._age(peer)) < 0 else now - age}" for peer in peers
            ),
            "fwmark": "off",
            "preshared": "",
            "transfer": "\n".join(f"key-of-{peer}\t3100\t2900" for peer in peers),
        }
        parts = {
            "hostname": self.name,
            "now": str(now),
            "interfaces": f"{json.dumps([link])}\n@ 0",
            **{f"wg {name}": f"@ wg0\n{text}" for name, text in fields.items()},
            "nftables": json.dumps({"nftables": [] if self.name in self.world.bare else [{"chain": chain}, *table]})
            + "\n@ 0",
            "hung": "",
            "routes 4": "[]\n@ 0",
            "routes 6": "[]\n@ 0",
            "sysctl": "",
            "keys": "",
            "end": "",
        }
        return "".join(f"\n@@ {name}\n{text}\n" for name, text in parts.items())
