"""Meshes → one interface, one set of peers and, where peers stand in for each other, a failover per machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address, ip_network
from operator import attrgetter

from swarmctl.declarations.declaration import Declaration
from swarmctl.declarations.duration import seconds
from swarmctl.graph.model import Address, Json, Machine, MeshMember, Ref, Resource
from swarmctl.hosts.states import ISOLATED
from swarmctl.kinds.base import Expansion
from swarmctl.kinds.mesh.interface_adoption import ADOPT
from swarmctl.kinds.mesh.interface_words import NOTES
from swarmctl.kinds.mesh.members import by_region, members, nodes, topology
from swarmctl.kinds.mesh.preshared import expand as preshared
from swarmctl.kinds.mesh.rotation import expand as rotation
from swarmctl.kinds.mesh.spec import GENERATED, MeshSpec
from swarmctl.mesh.addresses import allocate
from swarmctl.mesh.blocks import suggest
from swarmctl.mesh.compiler import Group, Member, Mesh, Peer
from swarmctl.mesh.mtu import Mtu, carried
from swarmctl.mesh.names import next_interface, next_port
from swarmctl.mesh.underlay import ANY_FAMILY, family

INTERFACE = "swarm:mesh:Interface"
PEERS = "swarm:mesh:Peers"
FAILOVER = "swarm:mesh:Failover"


def expand(context: Expansion) -> None:
    """Add the resources of every mesh, and export a `MeshMember` for every machine in it; isolated ones are in none.

    Raises `mesh.faults.Unconnected` where machines turn out to have no way to each other, and Exhausted.
    """
    for declaration in context.inventory.of("Mesh"):
        clusters = {
            cluster.name for cluster in context.inventory.of("Cluster") if cluster.spec.mesh == declaration.name
        }
        machines = [
            machine
            for machine in context.graph.exported(Machine)
            if machine.cluster in clusters and machine.state != ISOLATED
        ]
        plan = _plan_addresses(context, declaration, machines)
        found = _Expanded(declaration, machines, plan)
        peers_of: dict[str, tuple[str, ...]] = {}
        for machine in machines:
            interface, seen = found.interface(machine), found.seen(machine)
            context.graph.add(interface)
            peers = found.peers(machine, seen, interface.address)
            context.graph.add(peers)
            if found.mesh.failover(machine.name):
                context.graph.add(found.failover(machine, seen, peers.address))
            peers_of[machine.name] = tuple(seen)
            context.graph.export(found.member(machine, peers_of[machine.name], interface.address))
        rotation.declare(context, declaration, machines)
        preshared.declare(context, declaration, machines, peers_of)


def _plan_addresses(
    context: Expansion, declaration: Declaration, machines: list[Machine]
) -> dict[str, tuple[str, ...]]:
    """Every machine's addresses in the order of the mesh's networks; those in the state are kept."""
    spec: MeshSpec = declaration.spec
    kept: dict[int, dict[str, str]] = {4: {}, 6: {}}
    before = {machine.name: context.previous(Address("mesh", declaration.name, machine.name)) for machine in machines}
    if not any(before.values()):  # a new mesh, or one with a new name
        before = {machine.name: context.on_node(INTERFACE, machine.name) for machine in machines}
    for machine in machines:
        for text in (before[machine.name] or {}).get("addresses", ()):
            address = str(text).partition("/")[0]
            kept[ip_address(address).version][machine.name] = address
    names = [machine.name for machine in machines]
    fixed: dict[int, dict[str, str]] = {4: {}, 6: {}}
    for declared in spec.addresses:
        for text in declared.addresses:
            fixed[ip_address(text).version][declared.node] = text
    # What is declared for a machine that is not there now is nobody else's: it will come.
    reserved = [*spec.reserved, *(text for it in spec.addresses if it.node not in names for text in it.addresses)]
    versions = [(cidr, ip_network(cidr).version) for cidr in spec.cidrs]
    if by_region(spec.topology):
        regions = {machine.name: machine.region for machine in machines}
        for cidr, version in versions:
            kept[version] = suggest(cidr, regions, {**kept[version], **fixed[version]}, reserved)
    plans = [allocate(cidr, names, kept[version], reserved, fixed[version]) for cidr, version in versions]
    return {name: tuple(plan[name] for plan in plans) for name in names}


@dataclass
class _Expanded:
    """One mesh on its way into the graph."""

    declaration: Declaration
    machines: Sequence[Machine]
    plan: dict[str, tuple[str, ...]]
    shared: dict[int, Mapping[str, Json]] = field(default_factory=dict)
    """Inputs of a peer by its id: it looks the same from many nodes, so they are made once and shared by all."""
    groups: dict[int, list[Json]] = field(default_factory=dict)
    """The same for groups of peers that stand in for each other, by the id of all groups of a node,"""
    moving: dict[int, list[Json]] = field(default_factory=dict)
    """as its peers are told of them,"""
    agents: dict[tuple[int, ...], Mapping[str, Json]] = field(default_factory=dict)
    """one by one,"""
    networks: dict[int, list[str]] = field(default_factory=dict)
    """and their networks."""

    def __post_init__(self) -> None:
        self.spec: MeshSpec = self.declaration.spec
        self.members = found = tuple(members(self.spec, self.machines, self.plan))
        self.mesh = Mesh(
            found,
            cidrs=[str(ip_network(cidr)) for cidr in self.spec.cidrs],
            topology=topology(self.spec.topology, nodes(self.machines)),
            keepalive=self.spec.persistent_keepalive,
        )
        self.origin = self.declaration.value("metadata", "name")
        self.confirm_within = seconds(self.spec.confirm_within)
        self.lengths = [ip_network(cidr).prefixlen for cidr in self.spec.cidrs]
        self.astray = frozenset(member.name for member in found if member.endpoint != "")
        """Nodes whose packets may come from anywhere."""
        self.notes = {
            **({"mtu": self.mtu.reason} if self.spec.mtu is None else {}),
            **({"reserved": list(self.spec.reserved)} if self.spec.reserved else {}),
        }

    @cached_property
    def mtu(self) -> Mtu:
        """What the underlay carries. One tunnel over IPv6 decides for all, and a DNS name may lead to one."""
        used: set[int] = set()
        if not all(map(_ipv4_alone, self.members)):
            peers = (peer for machine in self.machines for peer in self.mesh.peers(machine.name))
            used = {family(host) for host in {peer.address for peer in peers if peer.address}}
        underlay = {machine.name: machine.underlay_mtu for machine in self.machines}
        certain, perhaps = 0b10 in used, ANY_FAMILY in used
        return carried(underlay, version=6 if certain or perhaps else 4, perhaps=perhaps and not certain)

    def interface(self, machine: Machine) -> Resource:
        """Its interface."""
        inputs = {
            "state": "up",
            "addresses": [f"{a}/{length}" for a, length in zip(self.plan[machine.name], self.lengths, strict=True)],
            "listenPort": self.spec.listen_port,
            "mtu": self.mtu.value if self.spec.mtu is None else self.spec.mtu,
            "keyPath": f"/etc/swarmctl/mesh/{self.declaration.name}/private.key",
            "keyMode": "0600",
            "key": "installed",
            "forwarding": self.mesh.forwards(machine.name),
            **({ADOPT: True} if self.spec.adopt else {}),
            **({NOTES: self.notes} if self.notes else {}),
        }
        return self._resource(machine, "", INTERFACE, inputs)

    def seen(self, machine: Machine) -> dict[str, Mapping[str, Json]]:
        """The inputs of its peers by name. In large meshes this is most of the work, so the loop is left to C."""
        peers = self.mesh.peers(machine.name)
        try:
            inputs = list(map(self.shared.__getitem__, map(id, peers)))
        except KeyError:
            inputs = list(map(self._peer, peers))
        return dict(zip(map(attrgetter("name"), peers), inputs, strict=True))

    def peers(self, machine: Machine, seen: Mapping[str, Json], interface: Address) -> Resource:
        """The other ends of its tunnels."""
        inputs: dict[str, Json] = {"peers": seen}
        if groups := self.mesh.failover(machine.name):
            if id(groups) not in self.moving:
                self.moving[id(groups)] = list(map(self._moving, groups))
            inputs["failover"] = self.moving[id(groups)]
        return self._resource(machine, "/peers", PEERS, inputs, interface)

    def failover(self, machine: Machine, seen: Mapping[str, Mapping[str, Json]], peers: Address) -> Resource:
        """Networks that go to another peer when the one that passes them on dies."""
        groups = self.mesh.failover(machine.name)
        found = self.groups.get(id(groups))
        if found is None:
            found = self.groups[id(groups)] = [self._group(group, seen) for group in groups]
        return self._resource(machine, "/failover", FAILOVER, {"mesh": self.declaration.name, "groups": found}, peers)

    def member(self, machine: Machine, peers: tuple[str, ...], address: Address) -> MeshMember:
        """What the other kinds are told."""
        return MeshMember(
            node=machine.name,
            mesh=self.declaration.name,
            interface=self.spec.interface,
            addresses=self.plan[machine.name],
            cidrs=tuple(self.spec.cidrs),
            listen_port=self.spec.listen_port,
            peers=peers,
            forwards=self.mesh.forwards(machine.name),
            address=address,
            next_interface=next_interface(self.spec.interface),
            next_port=next_port(self.spec.listen_port, self.spec.keys.rotation_port),
            anywhere=bool(self.astray) and not self.astray.isdisjoint(peers),
            confirm_within=self.confirm_within,
            role=self.mesh.role(machine.name).name.lower() if self.mesh.forwards(machine.name) else "",
            behind_nat=self.mesh.behind_nat(machine.name),
        )

    def _resource(
        self, machine: Machine, suffix: str, type_: str, inputs: Mapping[str, Json], *needed: Address
    ) -> Resource:
        return Resource(
            address=Address("mesh", self.declaration.name, f"{machine.name}{suffix}"),
            type=type_,
            inputs={
                "machine": Ref(machine.address, "identity"),
                "host": machine.host,
                "node": machine.name,
                "interface": self.spec.interface,
                "confirmWithin": self.confirm_within,
                **inputs,
            },
            depends_on=needed,
            node=machine.name,
            cluster=machine.cluster,
            pool=machine.pool,
            origin=self.origin,
        )

    def _peer(self, peer: Peer) -> Mapping[str, Json]:
        found = self.shared.get(id(peer))
        if found is None:
            found = self.shared[id(peer)] = {
                "publicKey": Ref(Address("mesh", self.declaration.name, peer.name), "publicKey"),
                "endpoint": peer.endpoint,
                "allowedIps": list(peer.allowed_ips),
                "persistentKeepalive": peer.keepalive,
                **({"presharedKey": GENERATED} if self.spec.keys.preshared_keys == GENERATED else {}),
                **({"why": peer.why} if peer.why else {}),
            }
        return found

    def _moving(self, group: Group) -> Mapping[str, Json]:
        """A group as peers are told of it: many nodes have the same."""
        found = self.shared.get(id(group))
        if found is None:
            found = self.shared[id(group)] = {"networks": self._networks(group), "via": list(group.via)}
        return found

    def _group(self, group: Group, seen: Mapping[str, Mapping[str, Json]]) -> Mapping[str, Json]:
        """The same as the agent is told."""
        key = (id(group), *(id(seen[name]) for name in group.via))
        found = self.agents.get(key)
        if found is None:
            via = [self._candidate(name, seen[name]) for name in group.via]
            found = self.agents[key] = {"networks": self._networks(group), "via": via}
        return found

    def _networks(self, group: Group) -> list[str]:
        found = self.networks.get(id(group.networks))
        if found is None:
            found = self.networks[id(group.networks)] = list(group.networks)
        return found

    def _candidate(self, name: str, peer: Mapping[str, Json]) -> Mapping[str, Json]:
        kept = ("publicKey", "allowedIps", "persistentKeepalive")
        # Dual stack needs no second probe: both families go through the same tunnel.
        return {"name": name, "address": self.plan[name][0], **{key: peer[key] for key in kept}}


def _ipv4_alone(member: Member) -> bool:
    """Whether nobody reaches the node over IPv6: backends name IPv4 first, and who has it uses it."""
    own = member.endpoint or (member.underlay[0] if member.underlay else "")
    return family(own) == 0b01 and any(family(address) == 0b01 for address in member.underlay)
