"""Kinds: one folder per declared kind. The registry is the folder list; loading one imports that one only."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any

from swarmctl.kinds.base import Kind, ResourceType, load

API_VERSION = "swarmctl/v1alpha1"


@cache
def folders() -> tuple[str, ...]:
    """The kinds' folder names, sorted, without importing any of them."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg))


@cache
def registry() -> dict[str, Kind]:
    """All kinds by name. Imports their specs, nothing else of them."""
    kinds = (importlib.import_module(f"{__name__}.{folder}").KIND for folder in folders())
    return {kind.name: kind for kind in kinds}


def register(kind: Kind, schema: Mapping[str, Any] | None = None) -> None:
    """Let this process know one more kind, such as one of the benchmarks; call it before anything is read.

    `schema` is what `schema.kind_schema(kind)` says: none is checked in. The provider, which reads no declarations,
    needs none.
    """
    registry()[kind.name] = kind
    resource_type.cache_clear()
    if schema is not None:
        from swarmctl.declarations.schemas import supply

        supply(kind.name, schema)


def expansion_order() -> list[Kind]:
    """Kinds in the order in which they may read each other's exports. Raises ValueError on a cycle."""
    done: dict[str, Kind] = {}
    pending = dict(registry())
    while pending:
        ready = [kind for kind in pending.values() if all(name in done for name in kind.expands_after)]
        if not ready:
            raise ValueError(f"kinds wait for each other: {', '.join(sorted(pending))}")
        for kind in sorted(ready, key=lambda kind: kind.name):
            done[kind.name] = pending.pop(kind.name)
    return list(done.values())


@cache
def resource_type(token: str) -> ResourceType:
    """The resource type behind a type token such as `swarm:mesh:Peers`. Raises KeyError when there is none."""
    for kind in registry().values():
        if token in kind.resources:
            found: ResourceType = load(kind.resources[token])
            return found
    raise KeyError(token)
