"""The program that the engine runs: every resource of the graph registered as soon as what it needs is registered."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from swarmctl.graph.model import Address, Graph, Ref, Resource
from swarmctl.kinds.base import UNKNOWN
from swarmctl.provider.protocol import OPTIONS, empty_pb2, grpc, resource_pb2, resource_pb2_grpc
from swarmctl.provider.values import from_struct, to_struct

Json = Any
PLACE = ("node", "host")
"""Inputs that say where a resource lands."""
_FAILED = (resource_pb2.FAIL, resource_pb2.SKIP)


@dataclass(frozen=True, slots=True)
class Failed:
    """A resource whose registration failed, as it was registered."""

    urn: str
    stack: str
    """The stack's URN."""
    type: str
    inputs: Mapping[str, Json]
    dependencies: Sequence[str]
    """URNs."""
    formerly: str = ""
    """The address that it has in the state, when that is another."""


def run(
    graph: Graph, monitor: str, on_failed: Callable[[Failed], None], moved: Mapping[Address, str] | None = None
) -> bool:
    """Register `graph` at the resource monitor with this address; False when the engine broke off.

    `moved` has the addresses in the state of what has another one now: the engine takes both for the same resource.

    What depends on a resource that failed is registered all the same, with unknown values: the engine skips it
    because of the dependency, whereas what is not registered it would take for removed from the declarations.
    """
    with grpc.insecure_channel(monitor, options=OPTIONS) as channel:
        return _Registration(graph, resource_pb2_grpc.ResourceMonitorStub(channel), on_failed, moved or {}).run()


class _Registration:
    def __init__(
        self, graph: Graph, monitor: Any, on_failed: Callable[[Failed], None], moved: Mapping[Address, str]
    ) -> None:
        self._graph = graph
        self._monitor = monitor
        self._on_failed = on_failed
        self._moved = moved
        self._outputs: dict[Address, Mapping[str, Json] | None] = {}
        """None for what failed."""
        self._urns: dict[Address, str] = {}
        self._needs = {address: set(dependencies(resource)) for address, resource in graph.resources.items()}
        self._wanted_by: dict[Address, list[Address]] = {}
        for address, needs in self._needs.items():
            for need in needs:
                self._wanted_by.setdefault(need, []).append(address)
        self._done: queue.SimpleQueue[tuple[Address, Any]] = queue.SimpleQueue()
        self._in_flight = 0
        self._stack = ""

    def run(self) -> bool:
        """Send what is ready, wait for any answer, send what has become ready by it."""
        try:
            self._stack = self._register_stack()
            for address in [address for address, needs in self._needs.items() if not needs]:
                self._send(self._graph.resources[address])
            while self._in_flight:
                address, call = self._done.get()
                self._in_flight -= 1
                self._take(address, call.result())
            if stuck := [str(address) for address in self._graph.resources if address not in self._outputs]:
                raise ValueError(f"waiting for each other, or for what is not there: {', '.join(stuck)}")
            self._monitor.RegisterResourceOutputs(
                resource_pb2.RegisterResourceOutputsRequest(urn=self._stack, outputs=to_struct({}))
            )
            self._monitor.SignalAndWaitForShutdown(empty_pb2.Empty())
        except (grpc.RpcError, grpc.FutureCancelledError):
            # The monitor has gone: the engine was interrupted, or stopped for a reason that its events tell.
            return False
        return True

    def _register_stack(self) -> str:
        request = resource_pb2.RegisterResourceRequest(type="pulumi:pulumi:Stack", name=self._graph.stack)
        urn: str = self._monitor.RegisterResource(request).urn
        return urn

    def _send(self, resource: Resource) -> None:
        self._in_flight += 1
        call = self._monitor.RegisterResource.future(self._request(resource))
        call.add_done_callback(lambda call: self._done.put((resource.address, call)))

    def _request(self, resource: Resource) -> Any:
        by_property = {
            key: resource_pb2.RegisterResourceRequest.PropertyDependencies(
                urns=sorted(self._urns[address] for address in addresses)
            )
            for key, addresses in property_dependencies(resource).items()
        }
        return resource_pb2.RegisterResourceRequest(
            type=resource.type,
            name=str(resource.address),
            parent=self._stack,
            custom=True,
            object=to_struct({key: self._resolve(value) for key, value in resource.inputs.items()}),
            dependencies=sorted({self._urns[address] for address in dependencies(resource)}),
            propertyDependencies=by_property,
            aliasURNs=[self._urn_at(resource, former)] if (former := self._moved.get(resource.address)) else [],
            acceptSecrets=True,
            supportsPartialValues=True,
            supportsResultReporting=True,
        )

    def _take(self, address: Address, response: Any) -> None:
        failed = response.result in _FAILED
        self._outputs[address] = None if failed else from_struct(response.object)
        self._urns[address] = response.urn or self._urn(address)
        if response.result == resource_pb2.FAIL:
            self._on_failed(self._failed(self._graph.resources[address]))
        for dependent in self._wanted_by.get(address, ()):
            needs = self._needs[dependent]
            needs.discard(address)
            if not needs:
                self._send(self._graph.resources[dependent])

    def _failed(self, resource: Resource) -> Failed:
        return Failed(
            urn=self._urns[resource.address],
            stack=self._stack,
            type=resource.type,
            inputs={key: self._resolve(value) for key, value in resource.inputs.items()},
            dependencies=sorted(self._urns[address] for address in dependencies(resource)),
            formerly=self._moved.get(resource.address, ""),
        )

    def _urn(self, address: Address) -> str:
        """What the engine would have answered."""
        return self._urn_at(self._graph.resources[address], str(address))

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


def refs(value: Json) -> Iterator[Ref]:
    """Every reference in a value."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from refs(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from refs(item)


def dependencies(resource: Resource) -> set[Address]:
    """What must exist before `resource`."""
    return {*resource.depends_on, *(ref.address for ref in resource.refs())}


def property_dependencies(resource: Resource) -> dict[str, set[Address]]:
    """For every input what it depends on: when that is made anew, the engine asks whether a new value makes this one
    anew, too. What it merely waits for counts as where it lands: a new machine wants everything on it anew.
    """
    waits_for = set(resource.depends_on)
    return {
        key: {ref.address for ref in refs(value)} | (waits_for if key in PLACE else set())
        for key, value in resource.inputs.items()
    }
