"""What cards machines have, what driver they should run, what they run, and what to do about it. Changes nothing."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swarmctl.backends.base import Host
from swarmctl.backends.looking import look
from swarmctl.errors import ExitCode, SwarmError, WorldUnreadable
from swarmctl.gpu import model as gpu
from swarmctl.gpu.catalogue import Vendor
from swarmctl.graph.model import Machine
from swarmctl.hosts import packages
from swarmctl.hosts.system import SystemFacts
from swarmctl.kinds.node_pool.accelerators import decision, unfit
from swarmctl.kinds.node_pool.accelerators.reading import Seen
from swarmctl.kinds.node_pool.accelerators.resources import DRIVER, UNENDED, is_there, observed, turn_of
from swarmctl.kinds.node_pool.accelerators.rules import by_vendor
from swarmctl.kinds.node_pool.accelerators.spec import Accelerator
from swarmctl.kinds.node_pool.accelerators.vendors import VENDORS
from swarmctl.kinds.node_pool.draining import reading as draining
from swarmctl.operations.exec import open_machine
from swarmctl.operations.facts import accelerators, report
from swarmctl.operations.facts_cache import Cache
from swarmctl.operations.nodes import declared, find
from swarmctl.operations.stack import Emit

PREFIX = "swarmctl/gpu"
"""Of the labels."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why no driver can be decided, and what to do about it."""

    reason: str
    mend: str
    code: str
    """Under which a plan tells it."""


@dataclass(frozen=True, slots=True)
class Driver:
    """What is to be said of one vendor's cards in a machine."""

    vendor: str
    declared: bool = False
    """Whether its pool says which cards it has; without that what follows is advice."""
    should: Mapping[str, Any] | None = None
    """As the inputs of `swarm:nodepool:Driver`; None where nothing could be decided."""
    refusals: tuple[Refused, ...] = ()
    """Why nothing could be."""
    warnings: tuple[str, ...] = ()
    """What is unwise or unsure about the decision, as a plan notes it; it makes no machine unhealthy."""
    runs: Seen | None = None
    held: bool = False
    """Whether swarmctl keeps the machine out of service until this driver works."""
    differences: tuple[str, ...] = ()
    """In what it runs otherwise, as a plan would say it."""
    todo: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """One machine."""

    name: str
    pool: str
    cards: Mapping[str, str] = field(default_factory=dict)
    """PCI address → model, or the id of one that is not known."""
    drivers: tuple[Driver, ...] = ()
    """One for each vendor whose cards are there or declared."""
    called: Mapping[str, str] = field(default_factory=dict)
    """PCI address → what the card is called in labels, where its id means several models."""
    error: SwarmError | None = None

    @property
    def declared(self) -> bool:
        """Whether its pool says which cards it has."""
        return any(driver.declared for driver in self.drivers)

    @property
    def todo(self) -> tuple[str, ...]:
        """What is to be done, each once."""
        return tuple(dict.fromkeys(text for driver in self.drivers for text in driver.todo))

    @property
    def healthy(self) -> bool:
        """Whether there is nothing to do: all cards answer, by the driver that is decided, which was verified. What the
        hardware counts (ECC, remapped rows, XID) is not asked."""
        return not self.todo and self.error is None

    @property
    def labels(self) -> Mapping[str, str]:
        """For schedulers: what a label may hold (letters, digits, `.`, `_` and `-`)."""
        if not self.cards:
            return {}
        # Cards that are not known, by their ids, are left out of account where others are there.
        known = {pci: model for pci, model in self.cards.items() if ":" not in model} or self.cards
        cards = [self.called.get(pci, model) for pci, model in known.items()]
        found = {
            "model": _models(sorted({*cards})),
            "count": str(len(cards)),
            "driver": "_".join(it.runs.answers for it in self.drivers if it.runs and it.runs.answers),
            "driver-wanted": "_".join(it.should["version"] for it in self.drivers if it.should),
            "healthy": str(self.healthy).lower(),
        }
        return {f"{PREFIX}-{name}": _label(value) for name, value in found.items() if value}


_Of = tuple[str, str]
"""Pool and vendor."""


@dataclass(frozen=True, slots=True)
class Examination:
    """All machines that were asked for, in the natural order of their names."""

    stack: str
    nodes: tuple[Node, ...]

    @property
    def exit_code(self) -> ExitCode:
        """Whether all could be read and nothing is to be done."""
        if any(node.error for node in self.nodes):
            return ExitCode.WORLD_UNREADABLE
        return ExitCode.OK if all(node.healthy for node in self.nodes) else ExitCode.FAILED


def examine(
    folder: Path,
    names: Sequence[str] = (),
    *,
    emit: Emit,
    open_: Callable[[Machine], Host] = open_machine,
) -> Examination:
    """Look at the named machines, or at all. Raises NoDocuments, InvalidDeclaration, UsageError for a name of none."""
    stack = declared(folder, emit, machines_alone=True)
    wanted = {find(stack.machines, name).name for name in names}
    machines = [machine for machine in stack.machines if not names or machine.name in wanted]
    pools = {pool.name: pool.spec.accelerators for pool in stack.inventory.of("NodePool")}
    known = report(stack.name, machines, Cache(stack.identity), emit, max_age=0.0, open_=open_)
    facts = {machine.name: found.facts for machine, found in zip(machines, known.nodes, strict=True) if found.facts}
    fitting, unread = _fitting(stack.machines, facts, pools)
    nodes = []
    for machine, found in zip(machines, known.nodes, strict=True):
        if found.facts is None:
            error = found.error or SwarmError(f"{machine.name} does not exist", "run `swarmctl apply` to make it")
            nodes.append(Node(machine.name, machine.pool, error=error))
            continue
        try:
            nodes.append(node(machine, found.facts, pools.get(machine.pool) or [], open_, fitting, unread))
        except SwarmError as error:
            nodes.append(Node(machine.name, machine.pool, error=error))
    return Examination(stack.name, tuple(nodes))


def _fitting(
    machines: Sequence[Machine], facts: Mapping[str, SystemFacts], pools: Mapping[str, Sequence[Accelerator]]
) -> tuple[frozenset[_Of], frozenset[_Of]]:
    """Pools and vendors of which what is declared fits some machine that was read, so that what is amiss with another
    one is mended there, not in the pool; and those of which it may fit one that was not read."""
    found, open_ = set(), set()
    for machine in machines:
        host = decision.known(facts[machine.name]) if machine.name in facts else None
        for vendor, items in by_vendor(pools.get(machine.pool) or []).items():
            if host is None:
                open_.add((machine.pool, str(vendor)))
            elif isinstance(decision.inputs(host, *items.values()), Mapping):
                found.add((machine.pool, str(vendor)))
    return frozenset(found), frozenset(open_ - found)


def node(
    machine: Machine,
    facts: SystemFacts,
    says: Sequence[Accelerator],
    open_: Callable[[Machine], Host],
    fitting: Collection[_Of] = (),
    unread: Collection[_Of] = (),
) -> Node:
    """One machine that exists, read now; `fitting` are pools and vendors that are right for other machines, `unread`
    those of which nobody can tell. Raises what reading a host raises."""
    there = accelerators(facts)
    cards = {
        it.device.address: it.card.models[0] if it.card else f"{it.device.vendor}:{it.device.device}" for it in there
    }
    host = decision.known(facts)
    if host is None:
        error = WorldUnreadable(
            f"{machine.name}: nobody can tell which cards are there: neither lspci nor /sys/bus/pci lists PCI devices",
            f"see what `swarmctl exec {machine.name} -- lspci -nn` prints (package pciutils), then `swarmctl facts "
            f"{machine.name} --refresh`",
        )
        return Node(machine.name, machine.pool, cards, error=error)
    items = by_vendor(says)
    known: list[Vendor] = ["nvidia", "amd"]
    vendors = [vendor for vendor in known if vendor in items or any(it.vendor == vendor for it in there)]
    drivers = [
        _driver(
            machine,
            host,
            vendor,
            [*items[vendor].values()] if vendor in items else [],
            Counter(cards[it.device.address] for it in there if it.vendor == vendor and it.card),
            open_,
            alone=(machine.pool, vendor) in fitting,
            unsure=(machine.pool, vendor) in unread,
        )
        for vendor in vendors
    ]
    declared_as = {_label(item.model) for vendor in items.values() for item in vendor.values() if item.model}
    called = {it.device.address: _called(it.card.models, declared_as) for it in there if it.card}
    return Node(machine.name, machine.pool, cards, tuple(drivers), called)


def _driver(
    machine: Machine,
    host: gpu.Host,
    vendor: Vendor,
    says: Sequence[Accelerator],
    models: Mapping[str, int],
    open_: Callable[[Machine], Host],
    *,
    alone: bool,
    unsure: bool,
) -> Driver:
    items = says or [Accelerator(vendor)]
    outcome = decision.inputs(host, *items)
    if not isinstance(outcome, Mapping):
        refusals = tuple(
            Refused(it.reason, _mend(machine.name, it, alone=alone, unsure=unsure), unfit.code(it)) for it in outcome
        )
        todo = tuple(dict.fromkeys(it.mend for it in refusals))
        return Driver(vendor, bool(says), None, refusals, todo=todo)
    there = open_(machine)
    seen = look(there, VENDORS[vendor].reading)
    installed = look(there, packages.READING)
    turns = look(there, draining.reading([])).turns
    held = turn_of({"vendor": vendor}) in turns
    if is_there(outcome, installed, seen):
        found = {**observed(outcome, installed, seen), "drained": UNENDED if held else ""}
        effects = [effect.text for effect in DRIVER.effects(found, outcome)]
    else:
        effects = [f"driver nothing → {outcome['version']}: neither package nor kernel module of it is there"]
    lost = _lost(machine.name, vendor, outcome, seen)
    rest = _todo(machine.name, vendor, bool(says), models, effects, seen, held=held)
    doubts = decision.warnings(host, *items)
    return Driver(vendor, bool(says), outcome, (), doubts, seen, held, tuple(effects), (*rest, *lost))


def _mend(name: str, refusal: gpu.Refusal, *, alone: bool, unsure: bool) -> str:
    """In the pool, or on the machine where others are as declared; both where that is not known, since `plan`, which
    reads all of them, says one or the other."""
    here = unfit.mend(name, refusal, told=True)
    if unsure:
        return f"where others of its pool are as declared: {here}; where none is: {refusal.mend}"
    return here if alone else refusal.mend


def _lost(name: str, vendor: str, outcome: Mapping[str, Any], seen: Seen) -> list[str]:
    """What to do about cards that the driver does not see, though it sees others."""
    missing = seen.lost(outcome["cards"])
    if not missing:
        return []
    cards = f"the card{'s' if len(missing) > 1 else ''} at {', '.join(missing)}"
    return [f"by hand on {name}: {VENDORS[vendor].tool} does not see {cards}; `dmesg` tells why"]


def _todo(
    name: str, vendor: str, says: bool, models: Mapping[str, int], effects: Sequence[str], seen: Seen, *, held: bool
) -> list[str]:
    if seen.hangs:
        return [
            f"by hand on {name}: look for XID in `dmesg`, take the machine out of service and restart it; then "
            f"`swarmctl gpu doctor {name}` again"
        ]
    if not effects:
        return []
    if not says:
        written = ", ".join(
            f"{{vendor: {vendor}, model: {model.replace(' ', '-')}, count: {count}}}" for model, count in models.items()
        )
        return [f"declare `accelerators: [{written}]` in its pool, then run `swarmctl apply`"]
    found = []
    if seen.unverified:
        # Whether it failed or was cut off, no note says; another apply mends the second alone.
        ask = "`rocminfo`" if vendor == "amd" else "`dcgmi diag -r 1`"
        found.append(
            f"by hand on {name}: see what fails there ({ask}; XID in `dmesg`): where a card does, no apply mends that"
        )
    if seen.signing.enrolled is False and not seen.loaded:
        found.append(seen.signing.by_hand(name))
    back = f": when the driver is verified, {name} comes back into service" if held else ""
    return [*found, f"run `swarmctl apply`{back}"]


LONGEST = 63
"""Characters that a label's value may have."""


def _called(models: Sequence[str], declared_as: Collection[str]) -> str:
    """A card whose id means several models: the one that is declared, else what they have in common, else all."""
    for model in models:
        if _label(model) in declared_as:
            return model
    common = list(
        itertools.takewhile(lambda words: len({*words}) == 1, zip(*(it.split() for it in models), strict=False))
    )
    return " ".join(words[0] for words in common) or "-or-".join(models)


def _models(names: Sequence[str]) -> str:
    """As many of them as a label holds, none of them cut, and how many more there are."""
    labels = [_label(name) for name in names]
    for number in range(len(labels), 0, -1):
        more = f"_and-{len(labels) - number}-more" if number < len(labels) else ""
        if len(text := "_".join(labels[:number]) + more) <= LONGEST:
            return text
    return labels[0]


def _label(value: str) -> str:
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", value)
    if len(text) > LONGEST:
        text = re.sub(r"[-_][^-_]*$", "", text[: LONGEST + 1])[:LONGEST]  # whole words alone
    return text.strip("-._")
