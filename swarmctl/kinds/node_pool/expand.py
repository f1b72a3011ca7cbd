"""NodePools → machines: their backends place them, and the other kinds are told where they stand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from swarmctl import backends
from swarmctl.backends import ways
from swarmctl.backends.base import Placement, PoolRequest
from swarmctl.declarations.declaration import Declaration, Inventory
from swarmctl.declarations.duration import seconds
from swarmctl.diagnostics import Diagnostic
from swarmctl.errors import InvalidDeclaration
from swarmctl.graph.model import Address, Json, LostMachine, Machine, Resource, Rollout, Timeouts
from swarmctl.graph.moves import former
from swarmctl.hosts.states import LOST
from swarmctl.kinds.base import MACHINE, Expansion
from swarmctl.kinds.node_pool import rules, spec, taken_over
from swarmctl.kinds.node_pool.accelerators import expand as accelerators
from swarmctl.kinds.node_pool.draining import expand as draining


def expand(context: Expansion) -> None:
    """Add one `swarm:nodepool:Machine` per machine of every pool, and export a `Machine` for each; of those that are
    declared lost only a `LostMachine`.

    Raises InvalidDeclaration when a machine would be called as another one is that keeps its name, would get another
    name in one step, or would have no way back into service.
    """
    pools = {pool.name: pool for pool in context.inventory.of("NodePool")}
    stacks = context.inventory.of("Stack")
    defaults = stacks[0].spec.defaults if stacks else None
    requests = {pool.name: _request(pool, defaults) for pool in pools.values()}
    by_backend: dict[str, list[PoolRequest]] = {}
    for pool in pools.values():
        by_backend.setdefault(pool.variant, []).append(requests[pool.name])
    # Names come first: only they tell which machines of the state are asked for.
    first = [one for backend, asked in sorted(by_backend.items()) for one in _place(context, backend, asked, {})]
    declared = {one.name for one in first}
    names = {_address(one): _name(context, one, declared) for one in first}
    _keep_apart(context, pools, names)
    by_pool: dict[str, dict[str, str]] = {}
    for address, name in names.items():
        by_pool.setdefault(address.name, {})[address.key] = name
    previous = {name: inputs for address, name in names.items() if (inputs := _before(context, address, name))}
    found: list[Placement] = []
    for backend, asked in sorted(by_backend.items()):
        named = [replace(request, names=by_pool.get(request.pool, {})) for request in asked]
        placed = _place(context, backend, named, previous)
        found += placed
        for placement in placed:
            # Of one that nothing was ever applied for, and that can't be taken over now, nobody can need anything yet.
            if placement.name in previous or not ways.is_absent(placement.host):
                _add(context, requests[placement.pool], placement, pools[placement.pool])
    _refuse(pools, list(taken_over.problems(context, pools, found, context.nodes)))
    _declare(context.graph.stack, found)
    for pool in pools.values():
        if pool.spec.rollout:
            size = len(by_pool.get(pool.name, {}))
            context.graph.rollouts[pool.name] = _rollout(pool.spec.rollout, size)
    draining.expand(context, pools.values())
    accelerators.expand(context, pools.values())


def declare_ways(inventory: Inventory, stack: str) -> None:
    """From now on the machines whose way stands in the declarations are found by it, also before the stack is compiled.

    By their declared names: what kept an older name is found once it is.
    """
    stacks = inventory.of("Stack")
    found: list[Placement] = []
    for pool in inventory.of("NodePool"):
        if backends.by_declaration(pool.variant):
            request = _request(pool, stacks[0].spec.defaults if stacks else None)
            found += backends.load(pool.variant).place(stack, [request], {})
    _declare(stack, found)


def _declare(stack: str, placed: Iterable[Placement]) -> None:
    """To those that are lost there is no way any more."""
    found = list(placed)
    ways.declare(stack, [it.host for it in found if it.state != LOST], [it.host for it in found if it.state == LOST])


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
        state=pool.spec.state or "",
    )


def _place(
    context: Expansion, backend: str, requests: list[PoolRequest], previous: Mapping[str, Mapping[str, Json]]
) -> list[Placement]:
    return backends.load(backend).place(context.graph.stack, requests, previous)


def _address(placement: Placement) -> Address:
    return Address("nodepool", placement.pool, placement.key)


def _name(context: Expansion, placement: Placement, declared: Collection[str]) -> str:
    """The machine's node name: the one it was made with, as long as it lives, or else the declared one.

    The state tells it, or where that was lost the marks do; `declared` are the names that all machines would have.
    """
    recorded = context.previous(_address(placement))
    if recorded and recorded.get("node"):
        return str(recorded["node"])
    return next(_left_there(context, placement, declared), placement.name)


def _left_there(context: Expansion, placement: Placement, declared: Collection[str]) -> Iterator[str]:
    """Names of machines that no state knows and that are there under a name from before the machine's address moved."""
    backend = str(placement.host["backend"])
    before = list(former(_address(placement), context.graph.moved))
    if not before or backends.by_declaration(backend):
        return  # nothing has moved, or a machine is called as it is declared, whatever its pool is called
    there = context.existing(backend)
    if placement.name in there:
        return
    for address in before:
        # By number a machine is named after its pool, else by its key alone.
        for name in (f"{address.name}-{address.key}", address.key):
            if name in there and name not in declared and context.on_node(MACHINE, name) is None:
                yield name


def _before(context: Expansion, address: Address, name: str) -> Mapping[str, Json] | None:
    """What was applied for the machine, also under the address of another pool."""
    return context.previous(address) or context.on_node(MACHINE, name)


def _keep_apart(context: Expansion, pools: Mapping[str, Declaration], names: Mapping[Address, str]) -> None:
    """Machines that keep a name take it from those that are new. Raises InvalidDeclaration."""
    taken = {name: address for address, name in names.items() if context.previous(address) is not None}
    found = [
        rules.name_is_kept(pools[address.name], name, str(holder))
        for address, name in names.items()
        if (holder := taken.get(name, address)) != address
    ]
    _refuse(pools, found)


def _refuse(pools: Mapping[str, Declaration], found: Sequence[Diagnostic]) -> None:
    if found:
        sources = {pool.document.source.display: pool.document.source.text for pool in pools.values()}
        raise InvalidDeclaration(found, sources)


def _rollout(declared: spec.Rollout, size: int) -> Rollout:
    """With the share of a pool of `size` machines as a number of them."""
    batch = declared.batch
    if isinstance(batch, str):
        batch = max(1, size * int(batch[:-1]) // 100)
    return Rollout(declared.canary, batch, declared.max_failures)


def _timeouts(declared: spec.Timeouts) -> Timeouts:
    return Timeouts(
        create=seconds(declared.create),
        update=seconds(declared.update),
        delete=seconds(declared.delete),
        read=seconds(declared.read),
    )


def _add(context: Expansion, request: PoolRequest, placement: Placement, pool: Declaration) -> None:
    address = _address(placement)
    if placement.state == LOST:
        context.graph.export(LostMachine(placement.name, request.pool, request.cluster, request.region))
        return
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
            host=ways.name(placement.host),
            timeouts=_timeouts(pool.spec.timeouts),
            endpoint=placement.endpoint,
            underlay_mtu=placement.mtu,
            managed_ports=placement.managed_ports,
            managed_from=placement.managed_from,
            state=placement.state,
        )
    )
