"""What a state keeps of resources besides what they are: read from a checkpoint, and told to a run's journal. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swarmctl.engine.program import Record, property_dependencies
from swarmctl.graph.model import Address, Graph, Timeouts
from swarmctl.state.checkpoint import PREFIX, address_of, latest, plain
from swarmctl.state.model import ResourceHeader

Json = Any


def resources(graph: Graph, moved: Mapping[Address, str]) -> dict[str, ResourceHeader]:
    """What the journal of a run on `graph` needs to know, by address."""
    return {
        str(address): ResourceHeader(
            type=resource.type,
            dependencies=tuple(sorted(map(str, resource.needs()))),
            property_dependencies={
                key: tuple(sorted(map(str, needs))) for key, needs in property_dependencies(resource).items() if needs
            },
            formerly=moved.get(address, ""),
            protect=resource.protect,
        )
        for address, resource in graph.resources.items()
    }


def records(checkpoint: Mapping[str, Json] | None) -> dict[str, Record]:
    """Our resources in a checkpoint, by address."""
    found: dict[str, Record] = {}
    for it in latest(checkpoint).get("resources") or () if checkpoint else ():
        if it["type"].startswith(PREFIX) and not it.get("delete"):
            found[address_of(it["urn"])] = Record(
                type=it["type"],
                inputs=plain(it.get("inputs") or {}),
                dependencies=tuple(address_of(urn) for urn in it.get("dependencies") or () if f"::{PREFIX}" in urn),
                protect=bool(it.get("protect")),
                timeouts=_timeouts(it.get("customTimeouts")),
            )
    return found


def _timeouts(kept: Json) -> Timeouts:
    known = kept if isinstance(kept, Mapping) else {}
    return Timeouts(**{name: float(known[name]) for name in ("create", "update", "delete") if known.get(name)})
