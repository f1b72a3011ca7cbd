"""The generated stubs of Pulumi's protocols, without the Pulumi SDK around them.

`import pulumi` executes the whole SDK (tracing hooks, resources, configuration: a third of a second), of which neither
the engine room nor the provider needs anything. The stubs need nothing of it either: they only have to be importable
as `pulumi.runtime.proto`. So they are imported beneath two bare packages that know where the files are, and these are
taken away again: a later real `import pulumi` finds the SDK as it is, and the very same stub modules.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import grpc
from google.protobuf import empty_pb2, struct_pb2


@contextmanager
def _bare_packages() -> Iterator[None]:
    if "pulumi" in sys.modules:
        yield
        return
    spec = importlib.util.find_spec("pulumi")
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError("the pulumi package is missing from this installation of swarmctl", name="pulumi")
    folders = [Path(place) for place in spec.submodule_search_locations]
    for name, places in (("pulumi", folders), ("pulumi.runtime", [folder / "runtime" for folder in folders])):
        bare = ModuleType(name)
        bare.__path__ = [str(place) for place in places]
        sys.modules[name] = bare
    try:
        yield
    finally:
        del sys.modules["pulumi"], sys.modules["pulumi.runtime"]


with _bare_packages():
    from pulumi.runtime.proto import (
        engine_pb2,
        engine_pb2_grpc,
        events_pb2,
        events_pb2_grpc,
        language_pb2,
        language_pb2_grpc,
        plugin_pb2,
        provider_pb2,
        provider_pb2_grpc,
        resource_pb2,
        resource_pb2_grpc,
        status_pb2,
    )

OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
)
"""For every channel and server: one resource may be as large as it is; what runs here is never asked by a proxy."""

# What a call of ours raises is answered to the engine, and told by its events; gRPC would print a traceback as well.
logging.getLogger("grpc").addHandler(logging.NullHandler())

__all__ = [
    "OPTIONS",
    "empty_pb2",
    "engine_pb2",
    "engine_pb2_grpc",
    "events_pb2",
    "events_pb2_grpc",
    "grpc",
    "language_pb2",
    "language_pb2_grpc",
    "plugin_pb2",
    "provider_pb2",
    "provider_pb2_grpc",
    "resource_pb2",
    "resource_pb2_grpc",
    "status_pb2",
    "struct_pb2",
]
