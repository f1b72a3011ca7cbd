"""A failed creation that left something behind, told in a way that makes the engine record it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swarmctl.provider.protocol import grpc, provider_pb2, status_pb2, struct_pb2


def partial(identity: str, inputs: struct_pb2.Struct) -> Callable[[str], bytes]:
    """Makes the value of `grpc-status-details-bin` for an error text: the resource is there, but not as it should be.

    The engine keeps it in its state with the reason, reads it back in the next run, and removes it when it has left
    the declarations; without this a half-made thing would be forgotten.
    """

    def details(reason: str) -> bytes:
        status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=reason)
        failed = provider_pb2.ErrorResourceInitFailed(
            id=identity, inputs=inputs, properties=struct_pb2.Struct(), reasons=[reason]
        )
        status.details.add().Pack(failed)
        encoded: Any = status.SerializeToString()
        return bytes(encoded)

    return details
