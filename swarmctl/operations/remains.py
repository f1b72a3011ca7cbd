"""What belongs to a stack in the world, compared with what its state knows: found by marks, adopted or removed.

The machine that applied may be gone, and its state with it: the marks that everything carries are then all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from functools import partial
from typing import TYPE_CHECKING, Any

from swarmctl import backends, kinds
from swarmctl.backends.base import Backend, Fence, HostGone
from swarmctl.errors import SwarmError
from swarmctl.graph.model import Address, Graph, Ref, Resource
from swarmctl.kinds.base import MACHINE, UNKNOWN, Hosts, Marked, Observed, ResourceType, load, unknown_within

if TYPE_CHECKING:
    from swarmctl.state.checkpoint import Snapshot

Json = Any
_SHORT = 60


@unique
class Standing(StrEnum):
    """How a thing in the world and the state stand to each other."""

    UNKNOWN = "unknown"
    """It exists, and no state knows it."""
    MISSING = "missing"
    """The state knows it, and it does not exist."""
    UNREADABLE = "unreadable"
    """Nobody can tell: it does not answer."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as the state has it."""

    standing: Standing
    what: str
    """For people, such as `interface wg0 of the mesh backbone`."""
    address: str = ""
    """Where it is declared or recorded; empty when only marks tell of it."""
    node: str = ""
    backend: str = ""
    """Of a machine, or of what is left beside machines."""
    owner: str = ""
    """Who changed it last, as its mark says."""
    declared: bool = False
    why: str = ""
    """Of what is unreadable, and of what can't be taken over."""
    adopts: Adoption | None = field(default=None, repr=False)
    """What would be recorded; None where that can't be done."""
    removal: Callable[[Fence], object] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Adoption:
    """A resource as the world has it."""

    type: str
    inputs: Mapping[str, Json]
    outputs: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class World:
    """The way to what exists, replaceable in tests."""

    hosts: Hosts
    backends: Mapping[str, Backend]
    resolve: Callable[[str], ResourceType] = kinds.resource_type

    @classmethod
    def real(cls, hosts: Hosts) -> World:
        """All backends that there are."""
        return cls(hosts, {name: backends.load(name) for name in backends.names()})


def examine(graph: Graph, snapshot: Snapshot, world: World) -> list[Finding]:
    """Everything that is not as the state has it: what is unknown in the order of declarations, then what only marks
    tell of, then what is missing. Changes nothing."""
    return list(_Survey(graph, snapshot, world).findings())


class _Survey:
    def __init__(self, graph: Graph, snapshot: Snapshot, world: World) -> None:
        self._graph = graph
        self._recorded = snapshot.resources
        self._world = world
        self._machines = {
            node: backend for backend in world.backends.values() for node in sorted(backend.machines(graph.stack))
        }
        """The backend that has it, by node."""
        self._outputs: dict[str, Mapping[str, Json]] = {name: it.outputs for name, it in snapshot.resources.items()}

    def findings(self) -> Iterator[Finding]:
        """All of them; that a machine can't be read, and why, is told once, not for everything on it."""
        told: set[tuple[str, str]] = set()
        for found in self._all():
            if found.standing is Standing.UNREADABLE and found.node:
                if (found.node, found.why) in told:
                    continue
                told.add((found.node, found.why))
            yield found

    def _all(self) -> Iterator[Finding]:
        yield from self._of_declared()
        yield from self._strangers()
        yield from self._by_marks()
        yield from self._left()
        yield from self._gone()

    def _of_declared(self) -> Iterator[Finding]:
        """What is declared, not recorded, and there."""
        for resource in _in_order(self._graph):
            if str(resource.address) in self._recorded or (resource.node and resource.node not in self._machines):
                continue
            if found := self._look(resource):
                yield found

    def _look(self, resource: Resource) -> Finding | None:
        kind, inputs = self._world.resolve(resource.type), _resolved(resource.inputs, self._outputs)
        backend = self._machines[resource.node].name if resource.type == MACHINE else ""
        here = Finding(
            Standing.UNKNOWN, "", address=str(resource.address), node=resource.node, backend=backend, declared=True
        )
        try:
            observed = kind.read(self._world.hosts, inputs)
        except HostGone:
            observed = None
        except SwarmError as error:
            what = _words(kind, {**inputs, "node": resource.node})
            return replace(here, standing=Standing.UNREADABLE, what=what, why=error.message)
        if resource.type == MACHINE:
            here = replace(here, owner=self._owner(resource.node))
            removal: Callable[[Fence], object] = partial(self._remove_machine, resource.node)
        else:
            removal = partial(_delete, kind, self._world.hosts, observed.inputs if observed else inputs)
        if observed is None:
            if resource.type != MACHINE:
                return None
            what = _words(kind, inputs)
            why = "it is not whole: apply makes it anew in its place"
            return replace(here, what=what, why=why, removal=removal)
        if not kind.effects(None, observed.inputs):
            return None  # a thing of nothing, such as the peers of an interface that has none
        self._outputs[str(resource.address)] = observed.outputs
        adopts = None if unknown_within(observed.inputs) else Adoption(resource.type, observed.inputs, observed.outputs)
        why = "" if adopts else "it depends on what is not there"
        what = _words(kind, observed.inputs)
        return replace(here, what=what, adopts=adopts, why=why, removal=removal)

    def _strangers(self) -> Iterator[Finding]:
        """Machines that nothing declares and no state knows."""
        for node, backend in self._machines.items():
            if node not in self._known_nodes:
                yield Finding(
                    Standing.UNKNOWN,
                    f"machine {node} ({backend.name})",
                    node=node,
                    backend=backend.name,
                    owner=self._owner(node),
                    why="nothing declares it",
                    removal=partial(self._remove_machine, node),
                )

    def _by_marks(self) -> Iterator[Finding]:
        """What kinds find, on machines that are known or declared and on none, and neither state nor declarations
        have."""
        places: list[tuple[str, Mapping[str, Mapping[str, Json]]]] = [("", {})]
        for node, backend in self._machines.items():
            if node in self._known_nodes:
                places.append((node, {node: backend.host_of(self._graph.stack, node)}))
        for node, machine in places:
            for kind in kinds.registry().values():
                if kind.marked:
                    yield from self._marked(node, load(kind.marked), machine)

    def _marked(
        self, node: str, marked: Callable[..., Iterable[Marked]], machine: Mapping[str, Mapping[str, Json]]
    ) -> Iterator[Finding]:
        try:
            found = list(marked(self._graph.stack, machine, self._world.hosts))
        except HostGone:
            return  # said of its machine
        except SwarmError as error:
            yield Finding(Standing.UNREADABLE, f"what is on {node}", node=node, why=error.message)
            return
        for one in found:
            if one.why:
                yield Finding(Standing.UNKNOWN, one.text, node=node, why=one.why)
            elif not any(_same(one, type_, inputs) for type_, inputs in self._claimed()):
                removal = partial(_delete, self._world.resolve(one.type), self._world.hosts, one.inputs)
                yield Finding(Standing.UNKNOWN, one.text, node=node, why="nothing declares it", removal=removal)

    def _left(self) -> Iterator[Finding]:
        for backend in self._world.backends.values():
            for text in backend.remains(self._graph.stack):
                removal = partial(backend.clear, self._graph.stack)
                yield Finding(Standing.UNKNOWN, text, backend=backend.name, removal=removal)

    def _gone(self) -> Iterator[Finding]:
        """What is recorded and not there; of a machine that is gone all that was on it goes unsaid."""
        lost: set[str] = set()
        for address, recorded in sorted(self._recorded.items(), key=lambda item: (item[1].type != MACHINE, item[0])):
            node = str(recorded.inputs.get("node") or "")
            if node in lost:
                continue
            kind = self._world.resolve(recorded.type)
            what, declared = _words(kind, recorded.inputs), Address.parse(address) in self._graph.resources
            here = Finding(Standing.MISSING, what, address=address, node=node, declared=declared)
            try:
                observed: Observed | None = kind.read(self._world.hosts, recorded.inputs)
            except HostGone:
                observed = None
            except SwarmError as error:
                yield replace(here, standing=Standing.UNREADABLE, why=error.message)
                continue
            if observed is None:
                if recorded.type == MACHINE:
                    lost.add(node)
                    here = replace(here, what=f"{what} with everything on it")
                yield here

    @property
    def _known_nodes(self) -> set[str]:
        recorded = {str(it.inputs.get("node") or "") for it in self._recorded.values() if it.type == MACHINE}
        return recorded | {it.node for it in self._graph.resources.values() if it.type == MACHINE}

    def _claimed(self) -> Iterator[tuple[str, Mapping[str, Json]]]:
        yield from ((it.type, it.inputs) for it in self._recorded.values())
        yield from ((it.type, it.inputs) for it in self._graph.resources.values())

    def _owner(self, node: str) -> str:
        return self._machines[node].owner(self._graph.stack, node).owner

    def _remove_machine(self, node: str, fence: Fence) -> None:
        backend = self._machines[node]
        host = dict(backend.host_of(self._graph.stack, node))
        backend.delete_machine({"backend": backend.name, "node": node, "host": host}, fence)


def adopted(findings: Iterable[Finding]) -> dict[str, Adoption]:
    """What can be recorded, by address."""
    return {it.address: it.adopts for it in findings if it.adopts is not None}


def removable(findings: Iterable[Finding]) -> list[Finding]:
    """What no state knows, in the order in which it goes: what is on machines that stay, machines, what is left.

    A machine takes what is on it along.
    """
    unknown = [it for it in findings if it.standing is Standing.UNKNOWN and it.removal is not None]
    going = {it.node for it in unknown if it.backend and it.node}
    first = [it for it in reversed(unknown) if not it.backend and it.node not in going]
    machines = [it for it in unknown if it.backend and it.node]
    return [*first, *machines, *(it for it in unknown if it.backend and not it.node)]


def _delete(kind: ResourceType, hosts: Hosts, inputs: Mapping[str, Json], fence: Fence) -> None:
    """`hosts` are opened with the fence already."""
    try:
        kind.delete(hosts, inputs)
    except HostGone:
        return


def _in_order(graph: Graph) -> Iterator[Resource]:
    """Each after those that it needs; of a circle, in the order of declarations."""
    done: set[Address] = set()
    pending = dict(graph.resources)
    while pending:
        ready = [it for it in pending.values() if it.needs() & graph.resources.keys() <= done]
        for resource in ready or list(pending.values()):
            yield resource
            done.add(resource.address)
            del pending[resource.address]


def _resolved(value: Json, outputs: Mapping[str, Mapping[str, Json]]) -> Json:
    """Inputs with what references stand for, `UNKNOWN` where that is not known."""
    if isinstance(value, Ref):
        return outputs.get(str(value.address), {}).get(value.property, UNKNOWN)
    if isinstance(value, Mapping):
        return {key: _resolved(item, outputs) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_resolved(item, outputs) for item in value]
    return value


def _same(one: Marked, type_: str, inputs: Mapping[str, Json]) -> bool:
    return one.type == type_ and all(inputs.get(name) == one.inputs[name] for name in one.same)


def _words(kind: ResourceType, inputs: Mapping[str, Json]) -> str:
    """What a resource is, in the words of its effects."""
    effects = kind.effects(None, inputs)
    if len(effects) == 1:
        return effects[0].text
    return f"{len(effects)} entries, the first: {effects[0].text[:_SHORT]}" if effects else "nothing to speak of"
