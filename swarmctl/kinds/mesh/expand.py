"""Meshes → one interface and one set of peers per machine of the clusters that name the mesh."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network

from swarmctl.declarations.declaration import Declaration
from swarmctl.graph.model import Address, Json, Machine, MeshMember, Ref, Resource
from swarmctl.kinds.base import Expansion
from swarmctl.kinds.mesh.spec import MeshSpec
from swarmctl.mesh.addresses import allocate
from swarmctl.mesh.compiler import Member, Mesh, Peer
from swarmctl.mesh.names import next_interface, next_port
from swarmctl.mesh.selectors import matches

INTERFACE = "swarm:mesh:Interface"
PEERS = "swarm:mesh:Peers"


def expand(context: Expansion) -> None:
    """Add the resources of every mesh, and export a `MeshMember` for every machine in it."""
    for declaration in context.inventory.of("Mesh"):
        clusters = {
            cluster.name for cluster in context.inventory.of("Cluster") if cluster.spec.mesh == declaration.name
        }
        machines = [machine for machine in context.graph.exported(Machine) if machine.cluster in clusters]
        _expand_one(context, declaration, machines)


def _expand_one(context: Expansion, declaration: Declaration, machines: list[Machine]) -> None:
    spec: MeshSpec = declaration.spec
    plan = _plan_addresses(context, declaration, machines)
    hubs = spec.topology.hubs
    mesh = Mesh(
        (
            Member(
                name=machine.name,
                addresses=plan[machine.name],
                underlay=machine.underlay,
                hub=hubs is not None and matches(hubs.select, machine.labels),
            )
            for machine in machines
        ),
        cidrs=[str(ip_network(cidr)) for cidr in spec.cidrs],
        port=spec.listen_port,
        hubs=hubs is not None,
    )
    # A peer looks the same from many nodes: its mapping is made once and shared by all of them.
    shared: dict[int, Mapping[str, Json]] = {}
    for machine in machines:
        peers = mesh.peers(machine.name)
        for peer in peers:
            if id(peer) not in shared:
                shared[id(peer)] = _peer_inputs(declaration.name, spec, peer)
        interface = _interface(declaration, machine, plan[machine.name], forwards=mesh.forwards(machine.name))
        context.graph.add(interface)
        context.graph.add(
            Resource(
                address=Address("mesh", declaration.name, f"{machine.name}/peers"),
                type=PEERS,
                inputs={
                    "machine": Ref(machine.address, "identity"),
                    "host": machine.host,
                    "node": machine.name,
                    "interface": spec.interface,
                    "peers": {peer.name: shared[id(peer)] for peer in peers},
                },
                depends_on=(interface.address,),
                node=machine.name,
                cluster=machine.cluster,
                pool=machine.pool,
                origin=interface.origin,
            )
        )
        context.graph.export(
            MeshMember(
                node=machine.name,
                mesh=declaration.name,
                interface=spec.interface,
                addresses=plan[machine.name],
                cidrs=tuple(spec.cidrs),
                listen_port=spec.listen_port,
                peers=tuple(peer.name for peer in peers),
                forwards=mesh.forwards(machine.name),
                address=interface.address,
                next_interface=next_interface(spec.interface),
                next_port=next_port(spec.listen_port),
            )
        )


def _plan_addresses(
    context: Expansion, declaration: Declaration, machines: list[Machine]
) -> dict[str, tuple[str, ...]]:
    """Every machine's addresses in the order of the mesh's networks; those in the state are kept."""
    kept: dict[int, dict[str, str]] = {4: {}, 6: {}}
    before = {machine.name: context.previous(Address("mesh", declaration.name, machine.name)) for machine in machines}
    if not any(before.values()):  # a new mesh, or one with a new name
        before = {machine.name: context.on_node(INTERFACE, machine.name) for machine in machines}
    for machine in machines:
        for text in (before[machine.name] or {}).get("addresses", ()):
            address = str(text).partition("/")[0]
            kept[ip_address(address).version][machine.name] = address
    names = [machine.name for machine in machines]
    plans = [allocate(cidr, names, kept[ip_network(cidr).version]) for cidr in declaration.spec.cidrs]
    return {name: tuple(plan[name] for plan in plans) for name in names}


def _interface(declaration: Declaration, machine: Machine, addresses: tuple[str, ...], *, forwards: bool) -> Resource:
    spec: MeshSpec = declaration.spec
    lengths = [ip_network(cidr).prefixlen for cidr in spec.cidrs]
    return Resource(
        address=Address("mesh", declaration.name, machine.name),
        type=INTERFACE,
        inputs={
            "machine": Ref(machine.address, "identity"),
            "host": machine.host,
            "node": machine.name,
            "interface": spec.interface,
            "state": "up",
            "addresses": [f"{address}/{length}" for address, length in zip(addresses, lengths, strict=True)],
            "listenPort": spec.listen_port,
            "mtu": spec.mtu,
            "keyPath": f"/etc/swarmctl/mesh/{declaration.name}/private.key",
            "keyMode": "0600",
            "key": "installed",
            "forwarding": forwards,
        },
        node=machine.name,
        cluster=machine.cluster,
        pool=machine.pool,
        origin=declaration.value("metadata", "name"),
    )


def _peer_inputs(mesh: str, spec: MeshSpec, peer: Peer) -> dict[str, Json]:
    return {
        "publicKey": Ref(Address("mesh", mesh, peer.name), "publicKey"),
        "endpoint": peer.endpoint,
        "allowedIps": list(peer.allowed_ips),
        "persistentKeepalive": spec.persistent_keepalive,
    }
