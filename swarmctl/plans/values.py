"""How values stand in plans: unknown ones by where they come from, secret ones never as what they are. Pure."""

from __future__ import annotations

import json
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


_BRIEF = 48
"""Letters of a value in a sentence."""


def brief(value: Json) -> str:
    """A plan's value in a sentence, cut off where it is long. Of a secret not even the digest."""
    worded = _worded(value)
    text = worded if worded != value and isinstance(worded, str) else json.dumps(worded, sort_keys=True)
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}…"


def _worded(value: Json) -> Json:
    if isinstance(value, Mapping):
        if is_unknown(value):
            return f"(known when {value['unknown']} is)"
        return "(a secret)" if _is_hidden(value) else {key: _worded(item) for key, item in value.items()}
    return [_worded(item) for item in value] if isinstance(value, (list, tuple)) else value


def _is_hidden(value: Mapping[str, Json]) -> bool:
    """Whether it is a secret as plans have it, see `hidden`, or as inputs do."""
    return set(value) == {"secret"} or is_secret(value)


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


def digests(value: Json) -> Iterator[str]:
    """The digest of every secret in `value`, as inputs have it, in the order of the keys."""
    if is_secret(value):
        yield str(value.get("hmac", ""))
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield from digests(value[key])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from digests(item)


def without_digests(value: Json) -> Json:
    """The same with every secret's reference alone."""
    if is_secret(value):
        return {"secret": value["secret"]}
    if isinstance(value, Mapping):
        return {key: without_digests(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_digests(item) for item in value]
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
