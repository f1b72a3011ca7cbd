"""Security policies → one firewall per machine of the clusters that name the policy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from swarmctl.declarations.declaration import Declaration
from swarmctl.graph.model import Address, Machine, MeshMember, Ref, Resource
from swarmctl.kinds.base import Expansion
from swarmctl.kinds.security_policy.spec import Flow
from swarmctl.mesh import firewall
from swarmctl.mesh.selectors import matches

FIREWALL = "swarm:securitypolicy:Firewall"


def expand(context: Expansion) -> None:
    """Add one `swarm:securitypolicy:Firewall` per machine.

    The nodes of a flow are those of the policy's own clusters, and traffic never leaves a mesh: a policy opens
    nothing to nodes that another policy watches over.
    """
    machines = {machine.name: machine for machine in context.graph.exported(Machine)}
    underlay = {name: machine.underlay for name, machine in machines.items()}
    members = context.graph.exported(MeshMember)
    for policy in context.inventory.of("SecurityPolicy"):
        clusters = {
            cluster.name for cluster in context.inventory.of("Cluster") if cluster.spec.security_policy == policy.name
        }
        watched = [member for member in members if machines[member.node].cluster in clusters]
        sources = {
            (mesh, flow.name): tuple(
                address
                for member in watched
                if member.mesh == mesh and matches(flow.from_, machines[member.node].labels)
                for address in member.addresses
            )
            for mesh in {member.mesh for member in watched}
            for flow in policy.spec.network.flows
        }
        for member in watched:
            machine = machines[member.node]
            flows = [
                _flow(flow, sources[member.mesh, flow.name])
                for flow in policy.spec.network.flows
                if matches(flow.to, machine.labels)
            ]
            endpoints = tuple(chain.from_iterable(map(underlay.__getitem__, member.peers)))
            context.graph.add(_firewall(policy, machine, member, endpoints, flows))


def _flow(flow: Flow, sources: tuple[str, ...]) -> firewall.Flow:
    return firewall.Flow(flow.name, flow.protocol, tuple(str(port) for port in flow.ports), sources)


def _firewall(
    policy: Declaration,
    machine: Machine,
    member: MeshMember,
    endpoints: tuple[str, ...],
    flows: Sequence[firewall.Flow],
) -> Resource:
    door = firewall.Door(
        interface=member.interface,
        port=member.listen_port,
        endpoints=endpoints,
        cidrs=member.cidrs,
        forwards=member.forwards,
        flows=tuple(flows),
    )
    return Resource(
        address=Address("securitypolicy", policy.name, machine.name),
        type=FIREWALL,
        inputs={
            "machine": Ref(machine.address, "identity"),
            "host": machine.host,
            "node": machine.name,
            "policy": policy.name,
            "chains": dict(firewall.CHAINS),
            "rules": firewall.compile_rules(door),
        },
        node=machine.name,
        cluster=machine.cluster,
        pool=machine.pool,
        origin=policy.value("metadata", "name"),
    )
