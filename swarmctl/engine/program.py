"""The program that the engine runs: every resource of the graph registered as soon as what it needs is registered.

It runs on one event loop, with a window of registrations in flight: the engine works on a few at a time, and a request
that waits in it costs memory on both sides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from swarmctl.engine import components
from swarmctl.graph.model import Address, Graph, Ref, Resource, Timeouts, refs
from swarmctl.kinds.base import UNKNOWN
from swarmctl.provider.protocol import OPTIONS, empty_pb2, grpc, resource_pb2, resource_pb2_grpc
from swarmctl.provider.values import from_struct, to_struct
from swarmctl.state.store import PROJECT

Json = Any
PLACE = ("node", "host")
"""Inputs that say where a resource lands."""
WINDOW = 64
"""Registrations in flight: a few for each step that the engine works on at the same time."""
DEFAULT_TIMEOUTS = Timeouts()
_FAILED = (resource_pb2.FAIL, resource_pb2.SKIP)


class Gate(Protocol):
    """Who may begin when, and what must not begin any more; see graph/rollout.py."""

    def ready(self, address: Address) -> bool:
        """Whether it may begin now; what it needs is not looked at."""
        ...

    def begun(self, address: Address) -> None:
        """It was begun."""
        ...

    def ended(self, address: Address, failed: bool = False) -> Sequence[Address]:
        """It has ended; returns those held up that may begin now."""
        ...

    def stopped(self) -> Mapping[Address, str]:
        """What must not begin in this run any more, and why."""
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """A resource as it is recorded, as far as it is needed to register it without touching it."""

    type: str
    inputs: Mapping[str, Json]
    dependencies: tuple[str, ...] = ()
    """Addresses."""
    protect: bool = False
    timeouts: Timeouts = DEFAULT_TIMEOUTS


async def always(_address: str) -> bool:
    """It is taken for there."""
    return True


@dataclass(slots=True)
class Task:
    """What one run of the program has to register, and what came of it."""

    graph: Graph
    recorded: Mapping[str, Record] = field(default_factory=dict)
    """By address; what of it leaves the declarations matters only when it is held."""
    moved: Mapping[Address, str] = field(default_factory=dict)
    """Addresses in the state of what has another one now: the engine takes both for the same resource."""
    held: frozenset[Address] = frozenset()
    """What must stay as it is: registered as recorded, and not at all when it is new."""
    gate: Gate | None = None
    present: Callable[[str], Awaitable[bool]] = always
    """Whether what is recorded at an address was there when the world was read."""
    protects: bool = True
    """Tell the engine what is protected. Not in a preview: it would break off where we want to know everything."""
    components: Sequence[components.Component] = ()
    """What runs beside it in Pulumi's SDK."""
    skipped: dict[Address, str] = field(default_factory=dict)
    """Filled: what was not begun, and why."""


async def run(task: Task, monitor: str, *, preview: bool = False) -> bool:
    """Register the task's resources at the resource monitor with this address; False when the engine broke off.

    What depends on a resource that failed is registered all the same, with unknown values: the engine skips it
    because of the dependency, whereas what is not registered it would take for removed from the declarations.
    """
    async with grpc.aio.insecure_channel(monitor, options=OPTIONS) as channel:
        registration = _Registration(task, resource_pb2_grpc.ResourceMonitorStub(channel))
        try:
            if not task.components:
                await registration.alone()
            else:
                await components.run(
                    task.components,
                    registration.under,
                    stack=task.graph.stack,
                    project=PROJECT,
                    monitor=monitor,
                    preview=preview,
                )
        except grpc.RpcError:
            # The monitor has gone: the engine was interrupted, or stopped for a reason that its events tell.
            return False
        return True


class _Registration:
    def __init__(self, task: Task, monitor: Any) -> None:
        self._task = task
        self._monitor = monitor
        self._stack = ""
        self._resources = {**task.graph.resources, **_left(task)}
        self._needs = {address: self._needed(resource) for address, resource in self._resources.items()}
        self._waits = {address: set(needs) for address, needs in self._needs.items()}
        self._wanted_by: dict[Address, list[Address]] = {}
        for address, needs in self._needs.items():
            for need in needs:
                self._wanted_by.setdefault(need, []).append(address)
        self._referred: dict[Address, set[str]] = {}
        for resource in self._resources.values():
            for ref in resource.refs():
                self._referred.setdefault(ref.address, set()).add(ref.property)
        self._outputs: dict[Address, Mapping[str, Json] | None] = {}
        """Those that something refers to; None for what failed or was not begun."""
        self._urns: dict[Address, str] = {}
        self._unregistered: set[Address] = set()
        self._stopped: dict[Address, str] = {}
        self._parked: set[Address] = set()
        """All that they need is there, and the gate holds them up."""
        self._queue: asyncio.Queue[Address | None] = asyncio.Queue()
        self._open = 0
        """How many are in the queue or in flight."""

    def _needed(self, resource: Resource) -> frozenset[Address]:
        """What must be registered before it: of what is held, what it depended on when it was recorded."""
        record = self._task.recorded.get(self._task.moved.get(resource.address) or str(resource.address))
        if resource.address not in self._task.held or record is None:
            return frozenset(resource.needs())
        return frozenset(need for name in record.dependencies if (need := Address.parse(name)) in self._resources)

    async def alone(self) -> None:
        """Register the stack, what is under it, and say that this is all."""
        await self.under(await self._register_stack())
        await self._monitor.RegisterResourceOutputs(
            resource_pb2.RegisterResourceOutputsRequest(urn=self._stack, outputs=to_struct({}))
        )
        await self._monitor.SignalAndWaitForShutdown(empty_pb2.Empty())

    async def under(self, stack: str) -> None:
        """Under the stack with this URN send what is ready, and what becomes ready by the answers."""
        self._stack = stack
        for address in [address for address, waits in self._waits.items() if not waits]:
            self._offer(address)
        await self._work_off()
        if stuck := [str(address) for address in self._resources if address not in self._outputs]:
            raise ValueError(f"waiting for each other, or for what is not there: {', '.join(stuck)}")

    async def _register_stack(self) -> str:
        request = resource_pb2.RegisterResourceRequest(type="pulumi:pulumi:Stack", name=self._task.graph.stack)
        urn: str = (await self._monitor.RegisterResource(request)).urn
        return urn

    async def _work_off(self) -> None:
        """Work until nothing is queued or in flight; the first error ends it."""
        self._end_when_idle()
        workers = [asyncio.create_task(self._work()) for _ in range(WINDOW)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()

    async def _work(self) -> None:
        while (address := await self._queue.get()) is not None:
            await self._register(address)
            self._open -= 1
            self._end_when_idle()

    def _end_when_idle(self) -> None:
        if self._open == 0:
            for _ in range(WINDOW):
                self._queue.put_nowait(None)

    def _offer(self, address: Address) -> None:
        """All that it needs is there."""
        gate = self._task.gate
        if gate is None or address not in self._task.graph.resources or gate.ready(address):
            self._enqueue(address)
        else:
            self._parked.add(address)
            self._stop_what_must()

    def _enqueue(self, address: Address) -> None:
        self._parked.discard(address)
        self._open += 1
        self._queue.put_nowait(address)

    def _stop_what_must(self) -> None:
        """What the gate has stopped goes on as held: it needs no turn."""
        if self._task.gate is not None:
            self._stopped |= self._task.gate.stopped()
            for address in [address for address in self._parked if address in self._stopped]:
                self._enqueue(address)

    async def _register(self, address: Address) -> None:
        resource = self._resources[address]
        former = self._task.moved.get(address) or str(address)
        record = self._task.recorded.get(former)
        reason = self._obstacle(address)
        if address not in self._task.held and not reason:
            if self._task.gate is not None:
                self._task.gate.begun(address)
            await self._send(resource, self._request(resource))
            return
        if reason and not (record is not None and self._is_as_recorded(resource, record)):
            self._task.skipped[address] = reason
        if record is not None and await self._task.present(former):
            await self._send(resource, self._untouched(resource, record))
        else:
            self._unregistered.add(address)
            self._settle(address, None)

    async def _send(self, resource: Resource, request: Any) -> None:
        address = resource.address
        response = await self._monitor.RegisterResource(request)
        self._urns[address] = response.urn or self._urn_at(resource, str(address))
        if response.result == resource_pb2.SKIP:
            self._task.skipped.setdefault(address, self._why_skipped(address))
        failed = response.result in _FAILED
        wanted = self._referred.get(address, ())
        outputs = from_struct(response.object) if wanted and not failed else {}
        found = None if failed else {name: outputs[name] for name in wanted if name in outputs}
        self._settle(address, found, failed=response.result == resource_pb2.FAIL)

    def _is_as_recorded(self, resource: Resource, record: Record) -> bool:
        """Whether it would not have changed anyway, as far as that can be said without what it needs."""
        known = all(self._outputs.get(ref.address) is not None for ref in resource.refs())
        return known and {key: self._resolve(value) for key, value in resource.inputs.items()} == record.inputs

    def _obstacle(self, address: Address) -> str:
        """Why it must not begin, apart from being held; empty when it may."""
        if address in self._stopped:
            return self._stopped[address]
        missing = sorted(str(need) for need in self._needs[address] if need in self._unregistered)
        return f"it needs {missing[0]}, which was not begun" if missing and address not in self._task.held else ""

    def _why_skipped(self, address: Address) -> str:
        causes = sorted((need for need in self._needs[address] if self._outputs[need] is None), key=str)
        failed = [need for need in causes if need not in self._task.skipped and need not in self._unregistered]
        if failed:
            return f"it needs {failed[0]}, which failed"
        return f"it needs {causes[0]}, which was not begun" if causes else "something that it needs failed"

    def _settle(self, address: Address, outputs: Mapping[str, Json] | None, *, failed: bool = False) -> None:
        """Its turn is over; others may have become ready by it."""
        self._outputs[address] = outputs
        if self._task.gate is not None and address in self._task.graph.resources:
            for freed in self._task.gate.ended(address, failed):
                if freed in self._parked:
                    self._enqueue(freed)
        for dependent in self._wanted_by.get(address, ()):
            waits = self._waits[dependent]
            waits.discard(address)
            if not waits:
                self._offer(dependent)
        self._stop_what_must()

    def _request(self, resource: Resource) -> Any:
        by_property = {
            key: resource_pb2.RegisterResourceRequest.PropertyDependencies(
                urns=sorted(self._urns[address] for address in addresses)
            )
            for key, addresses in property_dependencies(resource).items()
        }
        return self._registration(
            resource,
            object=to_struct({key: self._resolve(value) for key, value in resource.inputs.items()}),
            dependencies=sorted(self._urns[address] for address in self._needs[resource.address]),
            propertyDependencies=by_property,
            protect=resource.protect and self._task.protects,
            customTimeouts=_timeouts(resource.timeouts),
        )

    def _untouched(self, resource: Resource, record: Record) -> Any:
        """Registered as it is recorded; whatever was found to differ is no change either."""
        needs = {Address.parse(name) for name in record.dependencies}
        return self._registration(
            resource,
            object=to_struct(record.inputs),
            dependencies=sorted(self._urns[need] for need in needs if need in self._urns),
            ignoreChanges=["*"],
            protect=record.protect and self._task.protects,
            customTimeouts=_timeouts(record.timeouts),
        )

    def _registration(self, resource: Resource, **more: Any) -> Any:
        former = self._task.moved.get(resource.address)
        return resource_pb2.RegisterResourceRequest(
            type=resource.type,
            name=str(resource.address),
            parent=self._stack,
            custom=True,
            aliasURNs=[self._urn_at(resource, former)] if former else [],
            acceptSecrets=True,
            supportsPartialValues=True,
            supportsResultReporting=True,
            **more,
        )

    def _urn_at(self, resource: Resource, address: str) -> str:
        """The URN that `resource` has at an address: it is like the stack's, which ends in its own type and name."""
        base = self._stack.rsplit("::", 2)[0]
        return f"{base}::{resource.type}::{address}"

    def _resolve(self, value: Json) -> Json:
        if isinstance(value, Ref):
            outputs = self._outputs[value.address]
            if outputs is not None and value.property not in outputs:
                raise ValueError(f"{value.address} has no output {value.property!r}")
            return UNKNOWN if outputs is None else outputs[value.property]
        if isinstance(value, Mapping):
            return {key: self._resolve(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._resolve(item) for item in value]
        return value


def _timeouts(timeouts: Timeouts) -> Any:
    """Those that are not as they are anyway: the engine keeps what it is told in the state."""
    kept = {
        name: f"{getattr(timeouts, name)}s"
        for name in ("create", "update", "delete")
        if getattr(timeouts, name) != getattr(DEFAULT_TIMEOUTS, name)
    }
    return resource_pb2.RegisterResourceRequest.CustomTimeouts(**kept) if kept else None


def _left(task: Task) -> dict[Address, Resource]:
    """What is held, recorded, and has left the declarations: it stays, after what it depends on."""
    moved_away = set(task.moved.values())
    return {
        address: Resource(address, record.type, record.inputs)
        for address in sorted(task.held)
        if address not in task.graph.resources
        and str(address) not in moved_away
        and (record := task.recorded.get(str(address))) is not None
    }


def property_dependencies(resource: Resource) -> dict[str, set[Address]]:
    """For every input what it depends on: when that is made anew, the engine asks whether a new value makes this one
    anew, too. What it merely waits for counts as where it lands: a new machine wants everything on it anew.
    """
    waits_for = set(resource.depends_on)
    return {
        key: {ref.address for ref in refs(value)} | (waits_for if key in PLACE else set())
        for key, value in resource.inputs.items()
    }
