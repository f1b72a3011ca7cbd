"""`accelerators:` → a driver for each vendor's cards of each machine, decided from the facts of the machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from swarmctl.declarations.declaration import Declaration
from swarmctl.errors import InvalidDeclaration
from swarmctl.gpu.model import Refusal
from swarmctl.graph.model import Address, Machine, Ref, Resource, Timeouts
from swarmctl.kinds.base import Expansion
from swarmctl.kinds.node_pool.accelerators import decision
from swarmctl.kinds.node_pool.accelerators.rules import by_vendor, diagnostic
from swarmctl.kinds.node_pool.draining import expand as draining

DRIVER = "swarm:nodepool:Driver"
CLEARED = ("drain", "drained")
"""Inputs that the pool's `drain` brings."""
LIMITS = Timeouts(create=3600.0, update=3600.0)
"""Where the pool declares none: a module is built, machines with much memory restart for a quarter of an hour."""


def expand(context: Expansion, pools: Iterable[Declaration]) -> None:
    """Add one `swarm:nodepool:Driver` per machine and vendor of the pools that have cards.

    A machine that can't be read keeps what was decided before, and without that has none in this plan; a note says so.
    Raises InvalidDeclaration with every machine whose facts contradict its pool.
    """
    with_cards = {pool.name: pool for pool in pools if pool.spec.accelerators}
    machines = [machine for machine in context.graph.exported(Machine) if machine.pool in with_cards]
    if not machines:
        return
    facts = context.system(machines)
    refused: dict[_Why, list[str]] = {}
    for machine in machines:
        read = facts.get(machine.name)
        host = decision.known(read) if read else None
        before: tuple[Address, ...] = ()
        for vendor, items in by_vendor(with_cards[machine.pool].spec.accelerators).items():
            place = _Place(machine, with_cards[machine.pool], vendor, before)
            if host is None:
                _recorded(context, place)
            elif isinstance(outcome := decision.inputs(host, *items.values()), Mapping):
                warnings = decision.warnings(host, *items.values())
                context.graph.notes += [f"{machine.name}: {text}" for text in warnings]
                _add(context, place, outcome)
            else:
                for refusal in outcome:
                    refused.setdefault((machine.pool, tuple(items), refusal), []).append(machine.name)
            before = tuple(one for one in (*before, place.address) if one in context.graph.resources)
    if refused:
        sources = {pool.document.source.display: pool.document.source.text for pool in with_cards.values()}
        found = [
            diagnostic(with_cards[pool], indices, refusal, tuple(nodes))
            for (pool, indices, refusal), nodes in refused.items()
        ]
        raise InvalidDeclaration(found, sources)


_Why = tuple[str, tuple[int, ...], Refusal]
"""Pool, the items that were asked for, and why they can't be."""


@dataclass(frozen=True, slots=True)
class _Place:
    """The driver of one vendor's cards in one machine."""

    machine: Machine
    pool: Declaration
    vendor: str
    before: tuple[Address, ...]
    """Drivers of other vendors there: two at a time would be in each other's way, at the packages and at a restart."""

    @property
    def address(self) -> Address:
        """NVIDIA's has none of its name in it, so that states from before there were others keep it."""
        own = "driver" if self.vendor == "nvidia" else f"driver-{self.vendor}"
        return Address(self.machine.address.kind, self.machine.address.name, f"{self.machine.address.key}/{own}")


def _recorded(context: Expansion, place: _Place) -> None:
    """What was decided before stays."""
    name = place.machine.name
    before = context.previous(place.address) or _elsewhere(context, place)
    why = context.unread.get(name)
    told = f": {why}" if why else ""
    its = "its driver" if len(by_vendor(place.pool.spec.accelerators)) < 2 else f"its driver of {place.vendor}"
    if before is None:
        note = f"{name}: {its} is left out of this plan, and decided once the machine can be read{told}"
        context.graph.notes.append(note)
        return
    context.graph.notes.append(f"{name}: {its} stays as it was decided before{told}")
    _add(context, place, before)


def _elsewhere(context: Expansion, place: _Place) -> Mapping[str, Any] | None:
    """What was decided for the machine while it stood at another address."""
    found = context.on_node(DRIVER, place.machine.name)
    return found if found and found.get("vendor") == place.vendor else None


def _add(context: Expansion, place: _Place, inputs: Mapping[str, Any]) -> None:
    machine = place.machine
    about = {"machine": Ref(machine.address, "identity"), "host": machine.host, "node": machine.name}
    decided = {key: value for key, value in inputs.items() if key not in (*about, *CLEARED)}
    service = draining.service(machine, place.pool)
    cleared = {"drain": service, "drained": ""} if service else {}
    context.graph.add(
        Resource(
            address=place.address,
            type=DRIVER,
            inputs={**about, **decided, **cleared},
            depends_on=(*((draining.address(machine),) if service else ()), *place.before),
            one_pool_at_a_time=True,
            timeouts=LIMITS,
            node=machine.name,
            cluster=machine.cluster,
            pool=machine.pool,
            origin=place.pool.key("spec", "accelerators"),
        )
    )
