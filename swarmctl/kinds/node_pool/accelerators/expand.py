"""`accelerators:` → a driver for each vendor's cards of each machine, decided from the facts of the machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from swarmctl.declarations.declaration import Declaration
from swarmctl.errors import InvalidDeclaration
from swarmctl.gpu.model import Host, Refusal, Refusals
from swarmctl.graph.model import Address, Machine, Ref, Resource, Timeouts, Unfit
from swarmctl.hosts.states import ISOLATED, OUT_OF_SERVICE
from swarmctl.kinds.base import Expansion
from swarmctl.kinds.node_pool.accelerators import decision, earlier, unfit
from swarmctl.kinds.node_pool.accelerators.rules import by_vendor
from swarmctl.kinds.node_pool.accelerators.spec import Accelerator
from swarmctl.kinds.node_pool.draining import expand as draining

if TYPE_CHECKING:
    from swarmctl.hosts.system import SystemFacts

DRIVER = "swarm:nodepool:Driver"
CLEARED = ("drain", "drained")
"""Inputs that the pool's `drain` brings."""
LIMITS = Timeouts(create=3600.0, update=3600.0)
"""Where the pool declares none: a module is built, machines with much memory restart for a quarter of an hour."""


def expand(context: Expansion, pools: Iterable[Declaration]) -> None:
    """Add one `swarm:nodepool:Driver` per machine and vendor of the pools that have cards.

    A machine that can't be read keeps what was decided before, and without that has none in this plan; a note says so.
    An isolated one is not even asked. One whose facts contradict what fits others of its pool keeps it, too, untouched,
    and is exported as `Unfit`. Raises InvalidDeclaration where what is declared fits no machine of the pool.
    """
    with_cards = {pool.name: pool for pool in pools if pool.spec.accelerators}
    machines = [machine for machine in context.graph.exported(Machine) if machine.pool in with_cards]
    asked = [machine for machine in machines if machine.state != ISOLATED]
    facts = context.system(asked) if asked else {}
    cases = _cases(context, with_cards, machines, facts)
    if amiss := {case.place.machine.name: case.place.machine for case in cases if isinstance(case.outcome, tuple)}:
        cases = _cases(context, with_cards, machines, {**facts, **context.anew(amiss.values())})
    fitting = {case.of_pool for case in cases if case.speaks_for_it}
    refused: dict[_Why, list[str]] = {}
    for case in cases:
        place = case.place
        if case.host is None or case.outcome is None:
            _recorded(context, place)
        elif isinstance(case.outcome, Mapping):
            warnings = decision.warnings(case.host, *case.items.values())
            context.graph.notes += [f"{place.machine.name}: {text}" for text in warnings]
            _add(context, place, case.outcome)
        elif case.of_pool in fitting or place.machine.state in OUT_OF_SERVICE:
            _leave(context, case, case.outcome)
        else:
            for refusal in case.outcome:
                refused.setdefault((place.pool.name, tuple(case.items), refusal), []).append(place.machine.name)
    if refused:
        sources = {pool.document.source.display: pool.document.source.text for pool in with_cards.values()}
        found = [
            unfit.of_all(with_cards[pool], indices, refusal, tuple(nodes))
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

    @property
    def address(self) -> Address:
        """NVIDIA's has none of its name in it, so that states from before there were others keep it."""
        own = "driver" if self.vendor == "nvidia" else f"driver-{self.vendor}"
        return Address(self.machine.address.kind, self.machine.address.name, f"{self.machine.address.key}/{own}")

    @property
    def its(self) -> str:
        """The driver in words, after the machine's name."""
        return "its driver" if len(by_vendor(self.pool.spec.accelerators)) < 2 else f"its driver of {self.vendor}"


@dataclass(frozen=True, slots=True)
class _Case:
    """What comes of what is declared for one vendor's cards in one machine."""

    place: _Place
    items: Mapping[int, Accelerator]
    host: Host | None
    outcome: Mapping[str, Any] | Refusals | None
    """None where the machine was not asked or can't be read."""
    before: Mapping[str, Any] | None
    """What was decided the last time."""

    @classmethod
    def of(
        cls, context: Expansion, place: _Place, items: Mapping[int, Accelerator], facts: SystemFacts | None
    ) -> _Case:
        """By the machine's facts."""
        host = decision.known(facts) if facts else None
        outcome = decision.inputs(host, *items.values()) if host else None
        return cls(place, items, host, outcome, _before(context, place))

    @property
    def of_pool(self) -> tuple[str, str]:
        """What it is one of."""
        return self.place.pool.name, self.place.vendor

    @property
    def lost(self) -> tuple[str, ...]:
        """Cards that its driver was set up for and that are not there any more."""
        there = {device.address for device in self.host.devices} if self.host else set()
        return tuple(sorted({*(self.before or {}).get("cards", {})} - there)) if self.host else ()

    @property
    def speaks_for_it(self) -> bool:
        """Whether it shows that what is declared is no mistake: it fits here, or the cards that were there before one
        was lost, or before the machine could not be read any more."""
        if isinstance(self.outcome, Mapping):
            return True
        unknown = self.outcome is None or bool(self.lost)
        return unknown and self.before is not None and earlier.bears_out(self.before, [*self.items.values()])


def _cases(
    context: Expansion,
    pools: Mapping[str, Declaration],
    machines: Iterable[Machine],
    facts: Mapping[str, SystemFacts],
) -> list[_Case]:
    return [
        _Case.of(context, _Place(machine, pools[machine.pool], vendor), items, facts.get(machine.name))
        for machine in machines
        for vendor, items in by_vendor(pools[machine.pool].spec.accelerators).items()
    ]


def _leave(context: Expansion, case: _Case, refusals: Refusals) -> None:
    """The machine's driver stays as it is, and where there is none, none is made: what is amiss would decide it."""
    place = case.place
    stays = f"{place.its} is {'left as it is' if case.before else 'not made'}"
    for refusal in refusals:
        problem = unfit.of_one(place.pool, tuple(case.items), refusal, place.machine.name, case.lost, stays)
        context.graph.export(Unfit(place.machine.name, place.address, problem))
    if case.before:
        _add(context, place, case.before)
        context.graph.frozen.add(place.address)


def _recorded(context: Expansion, place: _Place) -> None:
    """What was decided before stays."""
    name, its = place.machine.name, place.its
    before = _before(context, place)
    if place.machine.state == ISOLATED:
        if before:
            _add(context, place, before)
        return  # that all of it stays as it is, is told of the whole machine
    why = context.unread.get(name)
    told = f": {why}" if why else ""
    if before is None:
        note = f"{name}: {its} is left out of this plan, and decided once the machine can be read{told}"
        context.graph.notes.append(note)
        return
    context.graph.notes.append(f"{name}: {its} stays as it was decided before{told}")
    _add(context, place, before)


def _before(context: Expansion, place: _Place) -> Mapping[str, Any] | None:
    """What was decided for the machine, also while it stood at another address."""
    found = context.previous(place.address) or context.on_node(DRIVER, place.machine.name)
    return found if found and found.get("vendor", place.vendor) == place.vendor else None


def _add(context: Expansion, place: _Place, inputs: Mapping[str, Any]) -> None:
    machine = place.machine
    about = {"machine": Ref(machine.address, "identity"), "host": machine.host, "node": machine.name}
    decided = {key: value for key, value in inputs.items() if key not in (*about, *CLEARED)}
    service = draining.service(machine, place.pool)
    cleared = {"drain": service, "drained": ""} if service else {}
    # Two at a time would be in each other's way, at the packages and at a restart.
    others = tuple(
        other.address
        for vendor in by_vendor(place.pool.spec.accelerators)
        if (other := replace(place, vendor=vendor)).address in context.graph.resources
    )
    context.graph.add(
        Resource(
            address=place.address,
            type=DRIVER,
            inputs={**about, **decided, **cleared},
            depends_on=(*((draining.address(machine),) if service else ()), *others),
            one_pool_at_a_time=True,
            timeouts=LIMITS,
            node=machine.name,
            cluster=machine.cluster,
            pool=machine.pool,
            origin=place.pool.key("spec", "accelerators"),
        )
    )
