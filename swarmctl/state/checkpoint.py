"""Reads the engine's checkpoint without the engine: which resources are recorded, with which inputs and outputs.

The file is Pulumi's own (sdk/go/common/apitype, `VersionedCheckpoint`, version 3): JSON with the resources in an order
in which each comes after those it depends on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from swarmctl.errors import SwarmError

Json = Any

UNKNOWN_VALUE = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What stands for a value that is not known yet (sdk/go/common/resource/plugin, `UnknownStringValue`)."""
SIGNATURE = "4dabf18193072939515e22adb298388d"
"""The key that marks a special object (sdk/go/common/resource/sig)."""
SECRET = "1b47061264138c4ac30d75fd1eb44270"
"""The signature of a secret."""
PREFIX = "swarm:"
"""Type tokens of swarmctl's own resources begin so; the stack itself and its provider don't."""


class StateUnreadable(SwarmError):
    """The recorded state is no checkpoint."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One resource as it was last applied, or last read back."""

    type: str
    inputs: Mapping[str, Json]
    outputs: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All resources of a stack by address, and a digest that changes exactly when one of them does."""

    resources: Mapping[str, Recorded] = field(default_factory=dict)
    digest: str = ""


def address_of(urn: str) -> str:
    """The address in a URN (`urn:pulumi:STACK::PROJECT::TYPE::ADDRESS`): a resource's name is its address."""
    return urn.split("::", 3)[-1]


def type_of(urn: str) -> str:
    """The type in a URN; in that of something within a component the types around it stand before it, with `$`."""
    return urn.split("::", 3)[2].rpartition("$")[2]


def plain(value: Json, *, unknown: Json = UNKNOWN_VALUE) -> Json:
    """A serialised property value as plain data: secrets as `{"secret": true}`, whole numbers as int."""
    # By exact types: there are a hundred thousand values in a large state, and a reader has made them.
    kind = type(value)
    if kind is str:
        return unknown if value == UNKNOWN_VALUE else value
    if kind is dict:
        if value.get(SIGNATURE) == SECRET:
            return {"secret": True}
        return {key: plain(item, unknown=unknown) for key, item in value.items()}
    if kind is list:
        return [plain(item, unknown=unknown) for item in value]
    if kind is float:
        return int(value) if value.is_integer() else value
    return value


VERSION = 3
"""The version of the checkpoint's form that this reads and repairs."""


def decode(content: bytes) -> dict[str, Json]:
    """The checkpoint file as JSON. Raises `StateUnreadable` when it is cut off or something else altogether."""
    try:
        document = msgspec.json.decode(content)
    except (ValueError, RecursionError) as error:
        raise StateUnreadable(f"the recorded state is not readable: {error}") from None
    return sound(document)


def sound(document: Json) -> dict[str, Json]:
    """The document, if it is a checkpoint as far as anything here reads it. Raises `StateUnreadable`."""
    if not isinstance(document, dict) or not isinstance(document.get("checkpoint"), dict):
        raise StateUnreadable("the recorded state is not readable: it is no checkpoint")
    if document.get("version") != VERSION:
        raise StateUnreadable(
            f"the recorded state is not readable: it has version {str(document.get('version'))[:20]}, not {VERSION}"
        )
    deployment = document["checkpoint"].get("latest")
    if not (deployment is None or (isinstance(deployment, dict) and _sound(deployment.get("resources")))):
        raise StateUnreadable("the recorded state is not readable: what it records are no resources")
    return document


def _sound(resources: Json) -> bool:
    """Whether these are resources, as far as anything here reads them."""
    return resources is None or (
        isinstance(resources, list)
        and all(
            isinstance(resource, dict)
            and isinstance(resource.get("type"), str)
            and isinstance(resource.get("urn"), str)
            and all(isinstance(resource.get(name), dict | None) for name in ("inputs", "outputs"))
            for resource in resources
        )
    )


def latest(document: Mapping[str, Json]) -> dict[str, Json]:
    """The deployment in a decoded checkpoint; empty before the first run."""
    return document["checkpoint"].get("latest") or {}


def salt(document: Mapping[str, Json] | None) -> str:
    """The salt of the passphrase that the secrets in a checkpoint are encrypted with, as the engine's settings have it
    (`encryptionsalt` in `Pulumi.STACK.yaml`); empty when it has none yet."""
    provider = (latest(document) if document else {}).get("secrets_providers") or {}
    state = provider.get("state")
    found = state.get("salt") if isinstance(state, Mapping) else None
    return found if isinstance(found, str) else ""


def snapshot(document: Mapping[str, Json]) -> Snapshot:
    """What a decoded checkpoint records."""
    deployment = latest(document)
    resources: dict[str, Recorded] = {}
    lines: list[bytes] = []
    for resource in deployment.get("resources") or ():
        if not resource["type"].startswith(PREFIX):
            continue
        address = address_of(resource["urn"])
        inputs, outputs = resource.get("inputs") or {}, resource.get("outputs") or {}
        resources[address] = Recorded(resource["type"], plain(inputs), plain(outputs))
        lines.append(_encoder.encode([address, resource["type"], inputs, outputs]))
    return Snapshot(resources, _digest(lines))


_encoder = msgspec.json.Encoder(order="sorted")


def _digest(lines: list[bytes]) -> str:
    return hashlib.sha256(b"\n".join(sorted(lines))).hexdigest()


EMPTY = _digest([])
"""The digest of a state in which nothing is recorded."""
