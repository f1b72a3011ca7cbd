"""`accelerators:` → one driver per machine, decided from the facts of the machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from swarmctl.declarations.declaration import Declaration
from swarmctl.errors import InvalidDeclaration
from swarmctl.gpu.model import Refusal
from swarmctl.graph.model import Address, Machine, Ref, Resource
from swarmctl.kinds.base import Expansion
from swarmctl.kinds.node_pool.accelerators import decision
from swarmctl.kinds.node_pool.accelerators.rules import diagnostic

DRIVER = "swarm:nodepool:Driver"


def expand(context: Expansion, pools: Iterable[Declaration]) -> None:
    """Add one `swarm:nodepool:Driver` per machine of the pools that have cards.

    A machine that can't be read keeps what was decided before, and without that has none in this plan; a note says so.
    Raises InvalidDeclaration with every machine whose facts contradict its pool.
    """
    with_cards = {pool.name: pool for pool in pools if pool.spec.accelerators}
    machines = [machine for machine in context.graph.exported(Machine) if machine.pool in with_cards]
    if not machines:
        return
    facts = context.system(machines)
    refused: dict[tuple[str, Refusal], list[str]] = {}
    for machine in machines:
        declared = with_cards[machine.pool].spec.accelerators[0]
        read = facts.get(machine.name)
        host = decision.known(read) if read else None
        if host is None:
            _recorded(context, machine, with_cards[machine.pool])
            continue
        outcome = decision.inputs(host, declared)
        if isinstance(outcome, Mapping):
            context.graph.notes += [f"{machine.name}: {text}" for text in decision.warnings(host, declared)]
            _add(context, machine, with_cards[machine.pool], outcome)
        else:
            for refusal in outcome:
                refused.setdefault((machine.pool, refusal), []).append(machine.name)
    if refused:
        sources = {pool.document.source.display: pool.document.source.text for pool in with_cards.values()}
        found = [diagnostic(with_cards[pool], 0, refusal, tuple(nodes)) for (pool, refusal), nodes in refused.items()]
        raise InvalidDeclaration(found, sources)


def _address(machine: Machine) -> Address:
    return Address(machine.address.kind, machine.address.name, f"{machine.address.key}/driver")


def _recorded(context: Expansion, machine: Machine, pool: Declaration) -> None:
    """What was decided before stays."""
    before = context.previous(_address(machine)) or context.on_node(DRIVER, machine.name)
    why = context.unread.get(machine.name)
    told = f": {why}" if why else ""
    if before is None:
        note = f"{machine.name}: its driver is left out of this plan, and decided once the machine can be read{told}"
        context.graph.notes.append(note)
        return
    context.graph.notes.append(f"{machine.name}: its driver stays as it was decided before{told}")
    _add(
        context, machine, pool, {key: value for key, value in before.items() if key not in ("machine", "host", "node")}
    )


def _add(context: Expansion, machine: Machine, pool: Declaration, inputs: Mapping[str, Any]) -> None:
    about = {"machine": Ref(machine.address, "identity"), "host": machine.host, "node": machine.name}
    context.graph.add(
        Resource(
            address=_address(machine),
            type=DRIVER,
            inputs={**about, **inputs},
            node=machine.name,
            cluster=machine.cluster,
            pool=machine.pool,
            origin=pool.key("spec", "accelerators"),
        )
    )
