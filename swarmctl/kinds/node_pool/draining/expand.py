"""`drain:` → one resource per machine that says whether it is in service; and what changes of a machine need of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from swarmctl.declarations.declaration import Declaration
from swarmctl.declarations.duration import seconds
from swarmctl.errors import InvalidDeclaration
from swarmctl.graph.model import Address, Json, Machine, Ref, Resource
from swarmctl.hosts.states import OUT_OF_SERVICE
from swarmctl.kinds.base import Expansion
from swarmctl.kinds.node_pool.draining.reading import ACTIVE
from swarmctl.kinds.node_pool.draining.rules import still_out

DRAIN = "swarm:nodepool:Drain"


def expand(context: Expansion, pools: Iterable[Declaration]) -> None:
    """Add one `swarm:nodepool:Drain` per machine of the pools with `drain`.

    Raises InvalidDeclaration where machines were declared out of service and their pool has no `drain` any more.
    """
    by_name = {pool.name: pool for pool in pools}
    found = []
    for machine in context.graph.exported(Machine):
        pool = by_name[machine.pool]
        if pool.spec.drain is not None:
            _add(context, machine, pool)
            continue
        before = context.previous(address(machine)) or context.on_node(DRAIN, machine.name) or {}
        if before.get("state") in OUT_OF_SERVICE:
            found.append(still_out(pool, machine.name, str(before["state"])))
    if found:
        sources = {pool.document.source.display: pool.document.source.text for pool in by_name.values()}
        raise InvalidDeclaration(found, sources)


def address(machine: Machine) -> Address:
    """`nodepool/workers[0/drain]`."""
    return Address(machine.address.kind, machine.address.name, f"{machine.address.key}/drain")


def service(machine: Machine, pool: Declaration) -> Mapping[str, Json]:
    """What whoever takes the machine out of service has to know: the hooks, and what is declared; empty where there
    are none."""
    drain = pool.spec.drain
    if drain is None:
        return {}
    return {
        "state": machine.state if machine.state in OUT_OF_SERVICE else ACTIVE,
        "hooks": {
            "cordon": list(drain.cordon or ()),
            "drain": list(drain.drain),
            "uncordon": list(drain.uncordon),
            "check": list(drain.check or ()),
            "timeout": seconds(drain.timeout),
        },
    }


def _add(context: Expansion, machine: Machine, pool: Declaration) -> None:
    context.graph.add(
        Resource(
            address=address(machine),
            type=DRAIN,
            inputs={
                "machine": Ref(machine.address, "identity"),
                "host": machine.host,
                "node": machine.name,
                **service(machine, pool),
            },
            node=machine.name,
            cluster=machine.cluster,
            pool=machine.pool,
            origin=pool.key("spec", "drain"),
        )
    )
