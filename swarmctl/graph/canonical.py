"""One form of plain data for digests: equal values have equal bytes, whatever order their keys came in. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple
from hashlib import sha256
from typing import Any

from swarmctl.graph.model import Graph, Json, Ref


def canonical_bytes(value: Json) -> bytes:
    """`value` as JSON: keys sorted, no spaces, UTF-8. A `Ref` becomes `{"$ref": "address.property"}`.

    Raises TypeError for what is no plain data, ValueError for NaN and infinities.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain
    ).encode("utf-8", "surrogatepass")


def digest(graph: Graph) -> str:
    """SHA-256, in hex, over everything that a graph wants: types, inputs, dependencies, where things
    land, what is protected, how long steps may take and how changes spread.

    Where a resource was declared does not count: moving a document to another file changes nothing.
    """
    hashes = _Hashes()
    whole = sha256(graph.stack.encode())
    rollouts = {pool: astuple(rollout) for pool, rollout in graph.rollouts.items()}
    whole.update(sha256(canonical_bytes(rollouts)).digest())
    for address, resource in sorted(graph.resources.items()):
        limits = resource.timeouts
        facts = [
            str(address),
            resource.type,
            [str(needed) for needed in sorted(resource.depends_on)],
            resource.node,
            resource.cluster,
            resource.pool,
            resource.protect,
            [limits.create, limits.update, limits.delete, limits.read],
        ]
        whole.update(sha256(canonical_bytes(facts)).digest())
        whole.update(hashes.of(resource.inputs))
    return whole.hexdigest()


class _Hashes:
    """Hashes of nested values, mappings by the hashes of their parts.

    In a mesh the same mapping stands in the inputs of every node; it is hashed once. Only good as long as all
    hashed values are alive, since they are told apart by identity.
    """

    def __init__(self) -> None:
        self._known: dict[int, bytes] = {}
        self._keys: dict[str, bytes] = {}

    def of(self, value: Json) -> bytes:
        if not isinstance(value, Mapping):
            return sha256(b"v" + canonical_bytes(value)).digest()
        known, keys = self._known, self._keys
        found = known.get(id(value))
        if found is None:
            parts = [b"m"]
            for key in sorted(value):
                item = value[key]
                parts.append(keys.get(key) or self._key(key))
                parts.append(known.get(id(item)) or self.of(item))
            found = known[id(value)] = sha256(b"".join(parts)).digest()
        return found

    def _key(self, key: str) -> bytes:
        """A key with its length in front, so that no two rows of keys read the same."""
        raw = key.encode("utf-8", "surrogatepass")
        self._keys[key] = len(raw).to_bytes(4, "big") + raw
        return self._keys[key]


def _plain(value: Any) -> Json:
    if isinstance(value, Ref):
        return {"$ref": f"{value.address}.{value.property}"}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no plain data")
