"""Whether the engine would take a checkpoint as its own: it refuses one that has a flaw, for ever. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from swarmctl.state.checkpoint import latest

Json = Any


def flaw(document: Mapping[str, Json]) -> str:
    """What is wrong with a decoded checkpoint; empty when nothing is.

    The same rules as the engine's own (pkg/resource/stack/snapshot/integrity.go, `VerifyIntegrity`): each resource
    comes after those that it names, and what is in use is there once.
    """
    known: set[str] = set()
    live: set[str] = set()
    providers: set[str] = set()
    for resource in latest(document).get("resources") or ():
        name = resource["urn"]
        if missing := next((it for it in _named(resource) if it not in known), None):
            return f"{name} names {missing}, which does not come before it"
        if (provider := resource.get("provider")) and provider not in providers:
            return f"{name} names the provider {provider}, which does not come before it"
        if name in live and not resource.get("delete"):
            return f"{name} is there twice"
        known.add(name)
        providers.add(f"{name}::{resource.get('id', '')}")
        if not resource.get("delete"):
            live.add(name)
    return ""


def _named(resource: Mapping[str, Json]) -> Iterator[str]:
    yield from (name for name in (resource.get("parent"), resource.get("deletedWith")) if name)
    yield from resource.get("dependencies") or ()
    for names in (resource.get("propertyDependencies") or {}).values():
        yield from names or ()
