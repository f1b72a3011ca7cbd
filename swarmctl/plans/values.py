"""How values stand in plans: unknown ones by where they come from, secret ones never as what they are. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Json = Any


def is_unknown(value: Json) -> bool:
    """Whether it is `{"unknown": "address.property"}`."""
    return isinstance(value, Mapping) and set(value) == {"unknown"}


def is_secret(value: Json) -> bool:
    """Whether it is a secret as inputs have it: `{"secret": {"env": NAME}, "hmac": "hmac-sha256:…"}`.

    Without `hmac` it is one whose value was not read.
    """
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("secret"), Mapping)
        and value.keys() in ({"secret", "hmac"}, {"secret"})
    )


def hidden(value: Json) -> Json:
    """The value with every secret as `{"secret": "hmac-sha256:…"}`: whether it changes can be seen, and nothing else.

    Where a secret comes from is left out, too.
    """
    if is_secret(value):
        return {"secret": value.get("hmac", True)}
    if isinstance(value, Mapping):
        return {key: hidden(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [hidden(item) for item in value]
    return value


def secret_at(path: tuple[str, ...], *values: Mapping[str, Json]) -> tuple[str, ...]:
    """`path`, cut off at the first secret on the way: differences are told of a secret, never of its parts."""
    for length in range(1, len(path)):
        if any(is_secret(_at(value, path[:length])) for value in values):
            return path[:length]
    return path


def _at(value: Json, path: tuple[str, ...]) -> Json:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def unknowns(value: Json) -> Iterator[str]:
    """The source of every unknown value in `value`: `address.property`."""
    if is_unknown(value):
        yield str(value["unknown"])
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from unknowns(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from unknowns(item)
