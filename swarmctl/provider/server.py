"""Pulumi's provider protocol in front of the kinds' resource types. It decodes, calls and encodes; it decides nothing.

The identity of a resource is its address, so creating it twice gives the same thing. State holds inputs as declared
and only those outputs that a resource type returns. The protocol is described in proto/pulumi/provider.proto of
Pulumi; what isn't implemented here answers "unimplemented", which the engine takes as it is meant.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from swarmctl import __version__, kinds
from swarmctl.backends.base import HostGone
from swarmctl.kinds.base import UNKNOWN, ChangeKind, Hosts, PropertyChange, ResourceType
from swarmctl.provider.errors import describe
from swarmctl.provider.protocol import empty_pb2, grpc, plugin_pb2, provider_pb2, provider_pb2_grpc
from swarmctl.provider.status import partial
from swarmctl.provider.values import from_struct, to_struct
from swarmctl.state.checkpoint import address_of

Json = Any
Context = grpc.ServicerContext

_KINDS = {
    (ChangeKind.ADD, False): provider_pb2.PropertyDiff.ADD,
    (ChangeKind.ADD, True): provider_pb2.PropertyDiff.ADD_REPLACE,
    (ChangeKind.UPDATE, False): provider_pb2.PropertyDiff.UPDATE,
    (ChangeKind.UPDATE, True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
    (ChangeKind.DELETE, False): provider_pb2.PropertyDiff.DELETE,
    (ChangeKind.DELETE, True): provider_pb2.PropertyDiff.DELETE_REPLACE,
}


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """The provider of all `swarm:` resources."""

    def __init__(self, hosts: Hosts, resolve: Callable[[str], ResourceType] = kinds.resource_type) -> None:
        """`resolve` finds the resource type behind a type token and raises KeyError when there is none."""
        self._hosts = hosts
        self._resolve = resolve
        self._cancelled = threading.Event()

    def Handshake(self, request: Any, context: Context) -> Any:
        """Tell the engine which kinds of values it may send; another stage of the run begins."""
        # Every stage ends with a cancellation, also when nobody asked for one.
        self._cancelled.clear()
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets=True, accept_resources=True, accept_outputs=True, supports_autonaming_configuration=False
        )

    def Attach(self, request: Any, context: Context) -> Any:
        """The engine's address, which is not needed: what there is to say is in the answers."""
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Context) -> Any:
        """The provider's version is swarmctl's."""
        return plugin_pb2.PluginInfo(version=__version__)

    def GetSchema(self, request: Any, context: Context) -> Any:
        """The engine wants one; nothing is generated from it."""
        return provider_pb2.GetSchemaResponse(schema=f'{{"name":"swarm","version":"{__version__}"}}')

    def CheckConfig(self, request: Any, context: Context) -> Any:
        """There is no configuration."""
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Context) -> Any:
        """A new version of swarmctl never makes resources anew."""
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Context) -> Any:
        """Previews are answered by this process, too."""
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, acceptResources=True, acceptOutputs=True
        )

    def Check(self, request: Any, context: Context) -> Any:
        """Inputs were checked before the engine was started; the engine prints values of properties named here."""
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, request: Any, context: Context) -> Any:
        """Compare the inputs as last applied, or as just read back, with those declared."""
        with self._speaking(context):
            changes = self._type(request.urn).diff(from_struct(request.old_inputs), from_struct(request.news))
            return diff_response(changes)

    def Create(self, request: Any, context: Context) -> Any:
        """Make or adopt it. What fails half-way is recorded all the same, so that it is found again and removed."""
        kind, inputs = self._type_for(request, context), from_struct(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=to_struct(dict.fromkeys(kind.outputs(), UNKNOWN)))
        self._refuse_when_cancelled(context)
        identity = address_of(request.urn)
        with self._speaking(context, on_failure=partial(identity, request.properties)):
            return provider_pb2.CreateResponse(id=identity, properties=to_struct(kind.create(self._hosts, inputs)))

    def Read(self, request: Any, context: Context) -> Any:
        """Read it back. A resource on a machine that is gone is gone with it."""
        with self._speaking(context):
            kind = self._type(request.urn)
            try:
                observed = kind.read(self._hosts, from_struct(request.inputs))
            except HostGone:
                observed = None
            if observed is None:
                return provider_pb2.ReadResponse()
            return provider_pb2.ReadResponse(
                id=request.id, inputs=to_struct(observed.inputs), properties=to_struct(observed.outputs)
            )

    def Update(self, request: Any, context: Context) -> Any:
        """Change it in place. In a preview the outputs stay what they are: a change that makes others replaces."""
        kind = self._type_for(request, context)
        old, new = from_struct(request.old_inputs), from_struct(request.news)
        if request.preview:
            known = from_struct(request.olds)
            outputs = {name: known.get(name, UNKNOWN) for name in kind.outputs()}
            return provider_pb2.UpdateResponse(properties=to_struct(outputs))
        self._refuse_when_cancelled(context)
        with self._speaking(context):
            return provider_pb2.UpdateResponse(properties=to_struct(kind.update(self._hosts, old, new)))

    def Delete(self, request: Any, context: Context) -> Any:
        """Remove it; what is gone already, or was on a machine that is gone, is removed."""
        self._refuse_when_cancelled(context)
        with self._speaking(context):
            try:
                self._type(request.urn).delete(self._hosts, from_struct(request.old_inputs))
            except HostGone:
                pass
            return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Context) -> Any:
        """Begin nothing any more; what was begun is finished."""
        self._cancelled.set()
        return empty_pb2.Empty()

    def _type(self, urn: str) -> ResourceType:
        # urn:pulumi:STACK::PROJECT::TYPE::ADDRESS; types of resources without a parent have no `$` in them.
        return self._resolve(urn.split("::", 3)[2])

    def _type_for(self, request: Any, context: Context) -> ResourceType:
        with self._speaking(context):
            return self._type(request.urn)

    def _refuse_when_cancelled(self, context: Context) -> None:
        if self._cancelled.is_set():
            context.abort(grpc.StatusCode.CANCELLED, "not begun: the run was interrupted")

    @contextmanager
    def _speaking(self, context: Context, on_failure: Callable[[str], Any] | None = None) -> Iterator[None]:
        """Turn what is raised within into an error that speaks to the user; `on_failure` adds what the engine needs."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the boundary of the process: everything becomes a status
            self._abort(context, error, on_failure)

    def _abort(self, context: Context, error: Exception, on_failure: Callable[[str], Any] | None) -> NoReturn:
        text = describe(error)
        if on_failure is not None and not isinstance(error, HostGone):
            context.set_trailing_metadata((("grpc-status-details-bin", on_failure(text)),))
            context.abort(grpc.StatusCode.UNKNOWN, text)
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, text)
        raise AssertionError  # abort has raised


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
