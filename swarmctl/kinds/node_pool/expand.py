"""NodePools → machines: their backends place them, and the other kinds are told where they stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from swarmctl import backends
from swarmctl.backends.base import Placement, PoolRequest
from swarmctl.declarations.declaration import Declaration
from swarmctl.graph.model import Address, Json, Machine, Resource
from swarmctl.kinds.base import Expansion

MACHINE = "swarm:nodepool:Machine"


def expand(context: Expansion) -> None:
    """Add one `swarm:nodepool:Machine` per machine of every pool, and export a `Machine` for each."""
    pools = {pool.name: pool for pool in context.inventory.of("NodePool")}
    stacks = context.inventory.of("Stack")
    defaults = stacks[0].spec.defaults if stacks else None
    requests: dict[str, list[PoolRequest]] = {}
    for pool in pools.values():
        requests.setdefault(pool.variant, []).append(_request(pool, defaults))
    for backend, wanted in sorted(requests.items()):
        by_pool = {request.pool: request for request in wanted}
        for placement in _place(context, backend, wanted):
            _add(context, by_pool[placement.pool], placement, pools[placement.pool])


def _request(pool: Declaration, defaults: Any) -> PoolRequest:
    """What the pool asks of its backend, the stack's defaults filled in."""
    limits = msgspec.to_builtins(pool.spec.resources)
    return PoolRequest(
        pool=pool.name,
        cluster=pool.spec.cluster or (defaults.cluster if defaults else None) or "",
        region=pool.spec.region or (defaults.region if defaults else None) or "default",
        labels={**(defaults.labels if defaults else {}), **pool.metadata.labels},
        spec=pool.variant_spec,
        resources={name: limit for name, limit in limits.items() if limit is not None},
    )


def _place(context: Expansion, backend: str, requests: list[PoolRequest]) -> list[Placement]:
    """The backend's placements. Names come first: only they tell which machines of the state are asked for."""
    place = backends.load(backend).place
    previous: dict[str, Mapping[str, Json]] = {}
    for placement in place(context.graph.stack, requests, {}):
        inputs = context.previous(_address(placement)) or context.on_node(MACHINE, placement.name)
        if inputs is not None:
            previous[placement.name] = inputs
    return place(context.graph.stack, requests, previous)


def _address(placement: Placement) -> Address:
    return Address("nodepool", placement.pool, placement.key)


def _add(context: Expansion, request: PoolRequest, placement: Placement, pool: Declaration) -> None:
    address = _address(placement)
    context.graph.add(
        Resource(
            address=address,
            type=MACHINE,
            inputs={"node": placement.name, **placement.inputs},
            node=placement.name,
            cluster=request.cluster,
            pool=request.pool,
            origin=pool.value("metadata", "name"),
        )
    )
    context.graph.export(
        Machine(
            name=placement.name,
            address=address,
            pool=request.pool,
            cluster=request.cluster,
            region=request.region,
            labels=placement.labels,
            underlay=placement.underlay,
            host=placement.host,
        )
    )
