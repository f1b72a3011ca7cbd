"""What the machines of a stack are, as far as it is known or can be read now. Changes nothing, needs no engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from swarmctl.backends.base import Host
from swarmctl.errors import ExitCode, SwarmError
from swarmctl.gpu.cards import VGA
from swarmctl.gpu.catalogue import GPU_CLASSES, VENDORS, Card, catalogue
from swarmctl.gpu.model import Device
from swarmctl.graph.model import Machine
from swarmctl.hosts.system import SystemFacts
from swarmctl.operations.exec import open_machine
from swarmctl.operations.facts_cache import MAX_AGE, Cache
from swarmctl.operations.facts_reading import MANY, gather
from swarmctl.operations.nodes import declared, find
from swarmctl.operations.stack import Emit
from swarmctl.plans.events import Downloaded

OFF = 30
"""Seconds from which on a machine's clock is told to be wrong: reading it takes some itself."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One PCI device that computes."""

    device: Device
    vendor: str
    """`nvidia` or `amd`."""
    card: Card | None
    """None for a PCI id that is in no table here."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One machine."""

    name: str
    pool: str
    backend: str
    facts: SystemFacts | None = None
    read: float = 0.0
    """When, by this computer's clock, Unix time in seconds."""
    kept: bool = False
    """Whether that was before this command."""
    error: SwarmError | None = None
    """Why it can't be read; without that and without facts the machine does not exist."""

    @property
    def offset(self) -> int | None:
        """Seconds that its clock was ahead of this computer's when it was read, and at most some less."""
        return None if self.facts is None else round(self.facts.now - self.read)

    @property
    def wrong_clock(self) -> bool:
        """Whether it is that far off that nothing else explains it."""
        return self.offset is not None and abs(self.offset) >= OFF


@dataclass(frozen=True, slots=True)
class Report:
    """All that were asked for, in the natural order of their names."""

    stack: str
    nodes: tuple[NodeFacts, ...]
    now: float
    """When it was made, as `NodeFacts.read`."""

    @property
    def exit_code(self) -> ExitCode:
        """Whether everything is known."""
        if any(node.error for node in self.nodes):
            return ExitCode.WORLD_UNREADABLE
        return ExitCode.OK if all(node.facts for node in self.nodes) else ExitCode.FAILED


def facts(
    folder: Path,
    names: Sequence[str] = (),
    *,
    emit: Emit,
    max_age: float = MAX_AGE,
    open_: Callable[[Machine], Host] = open_machine,
    clock: Callable[[], float] = time.time,
) -> Report:
    """Facts of the named machines, or of all, at most `max_age` seconds old; 0 has them read anew.

    Raises NoDocuments, InvalidDeclaration, and UsageError for a name that is none.
    """
    stack = declared(folder, emit, machines_alone=True)
    wanted = {find(stack.machines, name).name for name in names}
    machines = [machine for machine in stack.machines if not names or machine.name in wanted]
    return report(stack.name, machines, Cache(stack.identity, clock), emit, max_age=max_age, open_=open_, clock=clock)


def report(
    stack: str,
    machines: Sequence[Machine],
    cache: Cache,
    emit: Emit,
    *,
    max_age: float = MAX_AGE,
    open_: Callable[[Machine], Host] = open_machine,
    clock: Callable[[], float] = time.time,
) -> Report:
    """The same for machines that are known already."""
    began = clock()
    found = gather(machines, cache, max_age=max_age, open_=open_, progress=_progress(emit))
    nodes = []
    for machine in machines:
        kept = found.known.get(machine.name)
        error = found.unread.get(machine.name)
        who = (machine.name, machine.pool, str(machine.host.get("backend", "")))
        nodes.append(
            NodeFacts(*who, kept.facts, kept.read, kept=kept.read < began) if kept else NodeFacts(*who, error=error)
        )
    return Report(stack, tuple(nodes), clock())


def _progress(emit: Emit) -> Callable[[int, int], None]:
    def tell(done: int, total: int) -> None:
        if total >= MANY:
            emit(Downloaded(f"reading {total} machines", done, total))

    return tell


def accelerators(found: SystemFacts) -> list[Accelerator]:
    """GPUs of known vendors, by PCI address; without switches, and graphics that are part of a processor."""
    there = []
    for device in found.pci or ():
        vendor = VENDORS.get(device.vendor)
        if vendor is None or device.kind not in GPU_CLASSES or device.device in catalogue(vendor).switches:
            continue
        card = catalogue(vendor).cards.get(device.device)
        if card is not None or device.kind != VGA or vendor != "amd":
            there.append(Accelerator(device, vendor, card))
    return there
