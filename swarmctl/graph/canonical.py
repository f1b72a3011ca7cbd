"""One form of plain data for digests: equal values have equal bytes, whatever order their keys came in. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from hashlib import sha256
from typing import Any

from swarmctl import collector
from swarmctl.graph.model import Graph, Json, Ref, Resource

REPEATED = 48
"""Characters up to which a string is remembered: names of nodes and interfaces come again, texts of rules rarely."""


def canonical_bytes(value: Json) -> bytes:
    """`value` as JSON: keys sorted, no spaces, UTF-8. A `Ref` becomes `{"$ref": "address.property"}`.

    Raises TypeError for what is no plain data, ValueError for NaN and infinities.
    """
    return _encode(value).encode("utf-8", "surrogatepass")


def digest(graph: Graph) -> str:
    """SHA-256, in hex, over everything that a graph wants: types, inputs, dependencies, where things
    land, what is protected, how long steps may take and how changes spread.

    Where a resource was declared does not count: moving a document to another file changes nothing.
    """
    whole = sha256(graph.stack.encode())
    rollouts = {pool: astuple(rollout) for pool, rollout in graph.rollouts.items()}
    whole.update(sha256(canonical_bytes(rollouts)).digest())
    for _, found in sorted(digests(graph).items()):
        whole.update(found)
    return whole.hexdigest()


def digests(graph: Graph) -> dict[str, bytes]:
    """SHA-256 of what a graph wants of each resource, by address: what differs between two graphs has to change."""
    hashes = _Hashes()
    named = ((str(address), resource) for address, resource in graph.resources.items())
    with collector.paused():
        return {name: hashes.of_resource(name, resource) for name, resource in named}


class _Hashes:
    """Short forms of nested values: scalars as they are, mappings and lists by a hash over those of their parts.

    In a mesh the same mapping stands in the inputs of every node; it is hashed once. Only good as long as all
    hashed values are alive, since they are told apart by identity.
    """

    def __init__(self) -> None:
        self._known: dict[int, bytes] = {}
        self._keys: dict[str, bytes] = {}
        self._strings: dict[str, bytes] = {}

    def of(self, value: Json) -> bytes:
        """The form of a value: no two that differ have the same, and none begins like another."""
        kind = value.__class__
        if kind is str:
            return self._strings.get(value) or self._string(value)
        found = self._known.get(id(value))
        if found is not None:
            return found
        if kind is dict or isinstance(value, Mapping):
            form = b"m" + sha256(self._mapping(value)).digest()
        elif kind is list or isinstance(value, (list, tuple)):
            form = b"l" + sha256(self._list(value)).digest()
        elif kind is int:
            return b"i" + _framed(b"%d" % value)
        else:  # what is a new object each time has no identity
            return b"r" + _text(_name(value)) if kind is Ref else b"j" + _framed(canonical_bytes(value))
        self._known[id(value)] = form
        return form

    def _string(self, value: str) -> bytes:
        form = b"s" + _text(value)
        if len(value) <= REPEATED:
            self._strings[value] = form
        return form

    def of_resource(self, name: str, resource: Resource) -> bytes:
        """SHA-256 of all that is wanted of a resource, its address included."""
        needed = sorted(map(str, resource.depends_on))
        words = (name, resource.type, resource.node, resource.cluster, resource.pool, *needed)
        strings = self._strings
        parts = [len(needed).to_bytes(4, "big"), *[strings.get(word) or self._string(word) for word in words]]
        parts += [b"protected" if resource.protect else b"free", self.of_object(resource.timeouts)]
        parts.append(self.of(resource.inputs))
        return sha256(b"".join(parts)).digest()

    def of_object(self, value: Any) -> bytes:
        """The same for a dataclass of plain data."""
        found = self._known.get(id(value))
        if found is None:
            found = self._known[id(value)] = _framed(canonical_bytes(astuple(value)))
        return found

    def _mapping(self, value: Mapping[str, Json]) -> bytes:
        known, keys = self._known, self._keys
        order = sorted(value)
        try:
            names = b"".join([keys[key] for key in order])
        except KeyError:
            keys.update((key, _text(key)) for key in order if key not in keys)
            names = b"".join([keys[key] for key in order])
        strings = self._strings
        forms = [
            (strings.get(item) if item.__class__ is str else known.get(id(item))) or self.of(item)
            for item in map(value.__getitem__, order)
        ]
        return b"".join([len(order).to_bytes(4, "big"), names, *forms])

    def _list(self, value: Sequence[Json]) -> bytes:
        try:
            joined = "\0".join(value)
        except TypeError:  # not of strings alone
            return b"items" + b"".join(map(self.of, value))
        if joined.count("\0") != len(value) - 1:
            return b"items" + b"".join(map(self.of, value))
        return b"strings" + joined.encode("utf-8", "surrogatepass")


def _text(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    return len(raw).to_bytes(4, "big") + raw


def _framed(raw: bytes) -> bytes:
    """Bytes with their length in front, so that no two rows of them read the same."""
    return len(raw).to_bytes(4, "big") + raw


def _name(ref: Ref) -> str:
    return f"{ref.address}.{ref.property}"


def _plain(value: Any) -> Json:
    if isinstance(value, Ref):
        return {"$ref": _name(value)}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no plain data")


_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain
).encode
