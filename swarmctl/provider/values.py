"""Plain data ↔ `google.protobuf.Struct`, with what Pulumi puts into it: unknown values and secrets.

A Struct has no integers and no order of its own. Going out, an integer that a double cannot hold is refused; coming
in, a whole number is an `int` again. A null in a mapping is left out on the way: to the engine a property without a
value and no property are not the same thing, to a declaration they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swarmctl.kinds.base import UNKNOWN, Unknown
from swarmctl.provider.protocol import struct_pb2
from swarmctl.state.checkpoint import SECRET, SIGNATURE, UNKNOWN_VALUE

Json = Any

OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
"""The signature of an output value: an object with `value`, left out when it is unknown."""
EXACT = 2**53
"""Up to here every integer is a double."""


def to_struct(values: Mapping[str, Json]) -> struct_pb2.Struct:
    """Encode a mapping. Raises ValueError for what a Struct cannot hold."""
    message = struct_pb2.Struct()
    for key, value in values.items():
        if value is not None:
            _fill(message.fields[key], value, key)
    return message


def _fill(message: struct_pb2.Value, value: Json, path: str) -> None:
    if value is None:
        message.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, Unknown):
        message.string_value = UNKNOWN_VALUE
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, str):
        message.string_value = value
    elif isinstance(value, int):
        if abs(value) > EXACT:
            raise ValueError(f"{path}: {value} is too large to be kept exactly")
        message.number_value = value
    elif isinstance(value, float):
        message.number_value = value
    elif isinstance(value, Mapping):
        fields = message.struct_value.fields
        message.struct_value.SetInParent()
        for key, item in value.items():
            if item is not None:
                _fill(fields[key], item, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        message.list_value.SetInParent()
        for index, item in enumerate(value):
            _fill(message.list_value.values.add(), item, f"{path}[{index}]")
    else:
        raise ValueError(f"{path}: a {type(value).__name__} is no plain data")


def from_struct(message: struct_pb2.Struct) -> dict[str, Json]:
    """Decode a Struct; secrets come out as what they hold, unknown values as `UNKNOWN`."""
    return {key: _plain(value) for key, value in sorted(message.fields.items())}


def _plain(message: struct_pb2.Value) -> Json:
    kind = message.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if message.string_value == UNKNOWN_VALUE else message.string_value
    if kind == "number_value":
        number = message.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return message.bool_value
    if kind == "struct_value":
        fields = message.struct_value.fields
        if SIGNATURE in fields and fields[SIGNATURE].string_value in (SECRET, OUTPUT):
            return _plain(fields["value"]) if "value" in fields else UNKNOWN
        return from_struct(message.struct_value)
    if kind == "list_value":
        return [_plain(item) for item in message.list_value.values]
    return None


_UNKNOWN_BYTES = UNKNOWN_VALUE.encode()
_OUTPUT_BYTES = OUTPUT.encode()
_SIGNATURE_BYTES = SIGNATURE.encode()


def known(message: struct_pb2.Struct) -> bool:
    """Whether no value in it is unknown."""
    content = message.SerializeToString()
    return _UNKNOWN_BYTES not in content and _OUTPUT_BYTES not in content


def journaled(message: struct_pb2.Struct, values: Mapping[str, Json]) -> Mapping[str, Json]:
    """Values as a journal may keep them: `values`, which are those of `message`, if none is secret or unknown; else
    anew, with the marks in their place and nothing of what a secret holds."""
    content = message.SerializeToString()
    if _SIGNATURE_BYTES not in content and _UNKNOWN_BYTES not in content:
        return values
    return {key: _marked(value) for key, value in sorted(message.fields.items())}


def _marked(message: struct_pb2.Value) -> Json:
    kind = message.WhichOneof("kind")
    if kind == "struct_value":
        fields = message.struct_value.fields
        if SIGNATURE in fields:
            return {SIGNATURE: fields[SIGNATURE].string_value}
        return {key: _marked(value) for key, value in sorted(fields.items())}
    if kind == "list_value":
        return [_marked(item) for item in message.list_value.values]
    value = _plain(message)
    return UNKNOWN_VALUE if value is UNKNOWN else value
