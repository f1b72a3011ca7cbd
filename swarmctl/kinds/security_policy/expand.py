"""Security policies → one firewall per machine of the clusters that name the policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from swarmctl.declarations.declaration import Declaration
from swarmctl.graph.model import Address, Json, Machine, MeshMember, Ref, Resource
from swarmctl.hosts.states import ISOLATED
from swarmctl.kinds.base import Expansion
from swarmctl.kinds.security_policy.spec import Flow, instant
from swarmctl.mesh import firewall, isolation
from swarmctl.mesh.selectors import matches

FIREWALL = "swarm:securitypolicy:Firewall"
CONFIRM = 60
"""Seconds after which the firewall of an isolated machine is undone, unless management gets through it."""


def expand(context: Expansion) -> None:
    """Add one `swarm:securitypolicy:Firewall` per machine of a mesh, and one per machine that is isolated.

    The nodes of a flow are those of the policy's own clusters, and traffic never leaves a mesh: a policy opens
    nothing to nodes that another policy watches over.
    """
    machines = {machine.name: machine for machine in context.graph.exported(Machine)}
    underlay = {name: machine.underlay for name, machine in machines.items()}
    members: dict[str, list[MeshMember]] = {}
    for member in context.graph.exported(MeshMember):
        members.setdefault(member.mesh, []).append(member)
    for policy in context.inventory.of("SecurityPolicy"):
        clusters = {
            cluster.name for cluster in context.inventory.of("Cluster") if cluster.spec.security_policy == policy.name
        }
        for machine in machines.values():
            if machine.state == ISOLATED and machine.cluster in clusters:
                context.graph.add(_isolated(policy, machine))
        for inside in members.values():
            watched = [member for member in inside if machines[member.node].cluster in clusters]
            flows = [
                (flow, _flow(flow, watched, machines, whole=len(watched) == len(inside)))
                for flow in policy.spec.network.flows
            ]
            for member in watched:
                machine = machines[member.node]
                own = tuple(made for flow, made in flows if matches(flow.to, machine.labels))
                endpoints = tuple(chain.from_iterable(map(underlay.__getitem__, member.peers)))
                context.graph.add(_firewall(policy, machine, member, endpoints, own))


def _isolated(policy: Declaration, machine: Machine) -> Resource:
    """The firewall that shuts it, at the address that it has anyway. No rollout holds it up."""
    rules = isolation.rules(machine.managed_ports, machine.managed_from)
    return _resource(policy, machine, CONFIRM, {"chains": isolation.CHAINS, "rules": rules, "sets": {}})


def _resource(
    policy: Declaration, machine: Machine, confirm_within: int, table: Mapping[str, Json], pool: str = ""
) -> Resource:
    """`table` has the inputs `chains`, `rules` and `sets`."""
    return Resource(
        address=Address("securitypolicy", policy.name, machine.name),
        type=FIREWALL,
        inputs={
            "machine": Ref(machine.address, "identity"),
            "host": machine.host,
            "node": machine.name,
            "policy": policy.name,
            "confirmWithin": confirm_within,
            **table,
        },
        node=machine.name,
        cluster=machine.cluster,
        pool=pool,
        origin=policy.value("metadata", "name"),
    )


def _flow(flow: Flow, watched: Sequence[MeshMember], machines: Mapping[str, Machine], *, whole: bool) -> firewall.Flow:
    """The flow with its sources on one mesh; `whole`: the policy watches over all of it.

    A flow from every node of a mesh is one from the mesh's networks: WireGuard lets nobody else use an address of
    them, and no rule changes when nodes come and go.
    """
    if whole and watched and not flow.from_:
        sources = watched[0].cidrs
    else:
        chosen = (member.addresses for member in watched if matches(flow.from_, machines[member.node].labels))
        sources = tuple(chain.from_iterable(chosen))
    until = None if flow.until is None else instant(flow.until)
    return firewall.Flow(flow.name, flow.protocol, tuple(str(port) for port in flow.ports), sources, until)


def _firewall(
    policy: Declaration,
    machine: Machine,
    member: MeshMember,
    endpoints: tuple[str, ...],
    flows: tuple[firewall.Flow, ...],
) -> Resource:
    second = bool(member.next_interface)
    door = firewall.Door(
        interfaces=(member.interface, member.next_interface) if second else (member.interface,),
        ports=(member.listen_port, member.next_port) if second else (member.listen_port,),
        endpoints=endpoints,
        cidrs=member.cidrs,
        forwards=member.forwards,
        flows=flows,
        anywhere=member.anywhere,
        managed_ports=machine.managed_ports,
        managed_from=machine.managed_from,
    )
    table = {
        "chains": firewall.CHAINS,
        "rules": firewall.compile_rules(door),
        "sets": firewall.compile_sets(door),
    }
    return _resource(policy, machine, member.confirm_within, table, machine.pool)
