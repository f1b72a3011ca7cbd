"""Pulumi's provider protocol in front of the kinds' resource types. It decodes, calls and encodes; it decides nothing.

The identity of a resource is its address, so creating it twice gives the same thing. State holds inputs as declared
and only those outputs that a resource type returns. The protocol is described in proto/pulumi/provider.proto of
Pulumi; what isn't implemented here answers "unimplemented", which the engine takes as it is meant.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from google.protobuf import message_factory

from swarmctl import __version__, kinds
from swarmctl.backends import clocks, ways
from swarmctl.backends.base import HostGone
from swarmctl.kinds.base import UNKNOWN as UNKNOWN_VALUE
from swarmctl.kinds.base import ChangeKind, Hosts, PropertyChange, Renewing, Requiring, ResourceType, guarded
from swarmctl.provider.adoption import Adoption
from swarmctl.provider.errors import describe
from swarmctl.provider.notes import Notes
from swarmctl.provider.orphans import Calls
from swarmctl.provider.protocol import empty_pb2, plugin_pb2, provider_pb2
from swarmctl.provider.status import partial
from swarmctl.provider.steps import NOTHING_LEFT, READ, Cancelled, Step, Steps
from swarmctl.provider.values import from_struct, journaled, known, to_struct
from swarmctl.provider.wire import CANCELLED, FAILED_PRECONDITION, UNKNOWN, Method, Refused
from swarmctl.state.checkpoint import address_of, type_of
from swarmctl.state.journal import CREATE, DELETE, UPDATE, Journal

Json = Any

_KINDS = {
    (ChangeKind.ADD, False): provider_pb2.PropertyDiff.ADD,
    (ChangeKind.ADD, True): provider_pb2.PropertyDiff.ADD_REPLACE,
    (ChangeKind.UPDATE, False): provider_pb2.PropertyDiff.UPDATE,
    (ChangeKind.UPDATE, True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
    (ChangeKind.DELETE, False): provider_pb2.PropertyDiff.DELETE,
    (ChangeKind.DELETE, True): provider_pb2.PropertyDiff.DELETE_REPLACE,
}


class Provider:
    """The provider of all `swarm:` resources. Each method of the protocol is one of the same name.

    What only computes is answered at once; what may wait for a host, in a thread, and awaited.
    """

    def __init__(
        self,
        hosts: Hosts,
        resolve: Callable[[str], ResourceType] = kinds.resource_type,
        journal: Journal | None = None,
        *,
        adoption: Adoption | None = None,
    ) -> None:
        """`resolve` finds the resource type behind a type token and raises KeyError when there is none; `journal` is
        that of the run, where there is one."""
        self.calls = Calls()
        self._hosts = hosts
        self._resolve = resolve
        self._journal = journal
        self._notes = Notes()
        self._steps = Steps(journal, self._notes.tell)
        self._adoption = adoption or Adoption()
        self._recorded: set[str] = set()
        """URNs that the engine has in its state: what is there under them is their own, and none to adopt."""

    def Handshake(self, request: Any) -> Any:
        """Tell the engine which kinds of values it may send; another stage of the run begins."""
        # Every stage ends with a cancellation, also when nobody asked for one.
        self._steps.begin()
        self._notes.connect(request.engine_address)
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets=True, accept_resources=True, accept_outputs=True, supports_autonaming_configuration=False
        )

    def Attach(self, request: Any) -> Any:
        """Where the engine takes notes for the user."""
        self._notes.connect(request.address)
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any) -> Any:
        """The provider's version is swarmctl's."""
        return plugin_pb2.PluginInfo(version=__version__)

    def GetSchema(self, request: Any) -> Any:
        """The engine wants one; nothing is generated from it."""
        return provider_pb2.GetSchemaResponse(schema=f'{{"name":"swarm","version":"{__version__}"}}')

    def CheckConfig(self, request: Any) -> Any:
        """There is no configuration."""
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any) -> Any:
        """A new version of swarmctl never makes resources anew."""
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any) -> Any:
        """Previews are answered by this process, too."""
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, acceptResources=True, acceptOutputs=True
        )

    def Check(self, request: Any) -> Any:
        """Inputs were checked before the engine was started; the engine prints values of properties named here."""
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, request: Any) -> Any:
        """Compare the inputs as last applied, or as just read back, with those declared."""
        self._recorded.add(request.urn)
        if request.old_inputs == request.news and known(request.news):
            return _SAME
        try:
            kind, new = self._type(request.urn), from_struct(request.news)
            if isinstance(kind, Requiring):
                kind.require(new)
            return diff_response(kind.diff(from_struct(request.old_inputs), new))
        except Exception as error:
            raise _refused(error) from error

    async def Create(self, request: Any) -> Any:
        """Make or adopt it. What fails half-way is recorded all the same, so that it is found again and removed."""
        urn, kind = request.urn, self._type_for(request)
        try:
            inputs = from_struct(request.properties)
            if request.preview:
                if isinstance(kind, Requiring):
                    kind.require(inputs)
                outputs: Mapping[str, Json] | None = None
                if urn not in self._recorded:
                    outputs = await self._adoption.look(self._steps, self._hosts, kind, urn, inputs)
                outputs = dict.fromkeys(kind.outputs(), UNKNOWN_VALUE) if outputs is None else outputs
                return provider_pb2.CreateResponse(properties=to_struct(outputs))
            step = Step(CREATE, urn, self._kept(request.properties, inputs), limit=request.timeout)
            outputs = await self._steps.run(step, lambda: kind.create(self._hosts, inputs))
            return provider_pb2.CreateResponse(id=address_of(urn), properties=to_struct(outputs))
        except Exception as error:
            left = not request.preview and not isinstance(error, (*NOTHING_LEFT, Cancelled))
            raise _refused(error, partial(address_of(urn), request.properties) if left else None) from error

    async def Read(self, request: Any) -> Any:
        """Read it back. A resource on a machine that is gone is gone with it."""
        self._recorded.add(request.urn)
        try:
            kind, inputs = self._type(request.urn), from_struct(request.inputs)
            if ways.on_silent(inputs) or _lost(inputs):
                # As it was. What a lost machine had leaves the state by the plan.
                return provider_pb2.ReadResponse(id=request.id, inputs=request.inputs, properties=request.properties)
            step = Step(READ, request.urn, limit=request.timeout)
            try:
                observed = await self._steps.run(step, lambda: kind.read(self._hosts, inputs))
            except HostGone:
                observed = None
            # Whoever only looks is told; the run that follows would say it again.
            for said in clocks.take(str(inputs.get("node", ""))) if self._hosts.fence is None else ():
                await self._notes.told(request.urn, said)
            if observed is None:
                return provider_pb2.ReadResponse()
            same = observed.inputs == inputs
            return provider_pb2.ReadResponse(
                id=request.id,
                inputs=request.inputs if same else to_struct(observed.inputs),
                properties=to_struct(observed.outputs),
            )
        except Exception as error:
            raise _refused(error) from error

    async def Update(self, request: Any) -> Any:
        """Change it in place. In a preview the outputs stay what they are, but for those that the type renews."""
        try:
            kind = self._type(request.urn)
            if request.preview:
                recorded = _kept_outputs(kind, request)
                outputs = {name: recorded.get(name, UNKNOWN_VALUE) for name in kind.outputs()}
                return provider_pb2.UpdateResponse(properties=to_struct(outputs))
            old, new = from_struct(request.old_inputs), from_struct(request.news)
            kept = self._kept(request.news, new), self._kept(request.old_inputs, old)
            step = Step(UPDATE, request.urn, *kept, limit=request.timeout, guarded=bool(guarded(kind, old, new)))
            outputs = await self._steps.run(step, lambda: kind.update(self._hosts, old, new))
            return provider_pb2.UpdateResponse(properties=to_struct(outputs))
        except Exception as error:
            raise _refused(error) from error

    async def Delete(self, request: Any) -> Any:
        """Remove it; what is gone already, or was on a machine that is gone, is removed."""
        try:
            kind, inputs = self._type(request.urn), from_struct(request.old_inputs)
            step = Step(DELETE, request.urn, self._kept(request.old_inputs, inputs), limit=request.timeout)
            await self._steps.run(step, lambda: _delete(kind, self._hosts, inputs))
            return empty_pb2.Empty()
        except Exception as error:
            raise _refused(error) from error

    def Cancel(self, request: Any) -> Any:
        """Begin nothing any more; what was begun is finished."""
        self._steps.cancel()
        return empty_pb2.Empty()

    def _type(self, urn: str) -> ResourceType:
        return self._resolve(type_of(urn))

    def _type_for(self, request: Any) -> ResourceType:
        try:
            return self._type(request.urn)
        except Exception as error:
            raise _refused(error) from error

    def _kept(self, message: Any, values: Mapping[str, Json]) -> Mapping[str, Json]:
        """Inputs as the journal keeps them, if there is one."""
        return {} if self._journal is None else journaled(message, values)


def _kept_outputs(kind: ResourceType, request: Any) -> dict[str, Json]:
    """The recorded outputs that an update leaves as they are."""
    recorded = from_struct(request.olds)
    renewed = (
        kind.renews(from_struct(request.old_inputs), from_struct(request.news)) if isinstance(kind, Renewing) else ()
    )
    return {name: value for name, value in recorded.items() if name not in renewed}


def _lost(inputs: Mapping[str, Json]) -> bool:
    """Whether it is on a machine that is declared lost."""
    host = inputs.get("host")
    return isinstance(host, Mapping) and ways.is_lost(host)


def _delete(kind: ResourceType, hosts: Hosts, inputs: Mapping[str, Json]) -> Mapping[str, Json]:
    try:
        kind.delete(hosts, inputs)
    except HostGone:
        pass
    return {}


def _refused(error: Exception, on_failure: Callable[[str], bytes] | None = None) -> Refused:
    """An error as it speaks to the user; `on_failure` adds what the engine needs."""
    if isinstance(error, Cancelled):
        return Refused(CANCELLED, error.message)
    text = describe(error)
    return Refused(FAILED_PRECONDITION, text) if on_failure is None else Refused(UNKNOWN, text, on_failure(text))


def methods(provider: Provider) -> dict[str, Method]:
    """What the provider implements of the protocol, by path; the engine takes the rest as it is meant."""
    service = provider_pb2.DESCRIPTOR.services_by_name["ResourceProvider"]

    def method(described: Any) -> Method:
        answer = getattr(provider, described.name)
        request = message_factory.GetMessageClass(described.input_type)
        response = message_factory.GetMessageClass(described.output_type)
        return Method(_counted(provider.calls, answer), request.FromString, response.SerializeToString)

    implemented = [described for described in service.methods if hasattr(provider, described.name)]
    return {f"/{service.full_name}/{described.name}": method(described) for described in implemented}


def _counted(calls: Calls, answer: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A call of the engine's, from its beginning to its answer."""

    async def later(pending: Awaitable[Any]) -> Any:
        with calls:
            return await pending

    def answered(request: Any) -> Any:
        with calls:
            response = answer(request)
        return later(response) if isinstance(response, Awaitable) else response

    return answered


def diff_response(changes: Sequence[PropertyChange]) -> Any:
    """Differences as the engine wants them: by property path, with those that make the resource anew."""
    detailed: Mapping[str, Any] = {
        property_path(change.path): provider_pb2.PropertyDiff(kind=_KINDS[change.kind, change.replace], inputDiff=True)
        for change in changes
    }
    return provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if changes else provider_pb2.DiffResponse.DIFF_NONE,
        diffs=sorted({change.path[0] for change in changes}),
        replaces=sorted({change.path[0] for change in changes if change.replace}),
        # What is on a host is in the way of its successor: ports, names and interfaces are taken.
        deleteBeforeReplace=True,
        detailedDiff=detailed,
        hasDetailedDiff=True,
    )


def property_path(path: Sequence[str]) -> str:
    """A path as Pulumi writes it: `peers["workers-0"].endpoint`."""
    parts: list[str] = []
    for key in path:
        if key.isidentifier():
            parts.append(f".{key}" if parts else key)
        else:
            escaped = key.replace("\\", "\\\\").replace('"', '\\"')
            parts.append(f'["{escaped}"]')
    return "".join(parts)


_SAME = diff_response(())
