"""What a creation would find already there. A preview says so: it is taken over, not made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from swarmctl import backends
from swarmctl.backends.base import ForeignStack
from swarmctl.errors import SwarmError
from swarmctl.kinds.base import UNKNOWN, Hosts, Observed, ResourceType, Traced
from swarmctl.provider.steps import READ, Step, Steps

Json = Any

ADOPTED = "swarm:adopted"
"""An output of previews only: the inputs of what is there, as they were read back."""


def machines(backend: str, stack: str) -> frozenset[str]:
    """Names of the nodes that exist for a stack, by the marks on them."""
    return frozenset(backends.load(backend).machines(stack))


class Adoption:
    """Looks at what is about to be created; at hosts only where a machine of that name exists."""

    def __init__(self, machines: Callable[[str, str], frozenset[str]] = machines) -> None:
        """`machines` is asked once for every backend."""
        self._machines = machines
        self._existing: dict[tuple[str, str], asyncio.Task[frozenset[str]]] = {}

    async def look(
        self, steps: Steps, hosts: Hosts, kind: ResourceType, urn: str, inputs: Mapping[str, Json]
    ) -> dict[str, Json] | None:
        """The outputs of the thing that is there, with `ADOPTED`; None when there is none, or nobody can tell.

        Values that are known only after apply keep nothing from being looked at: what a thing is told by is known. But
        for its machine: one that is yet to be made has nothing on it. Raises `ForeignStack`, since to make it would be
        refused, and what is no `SwarmError`.
        """
        if inputs.get("machine") is UNKNOWN:
            return None
        places = _hosts(inputs)
        try:
            if places and not any([await self._exists(urn, host) for host in places]):
                return None
            observed: Observed | None = await steps.run(Step(READ, urn), lambda: _read(kind, hosts, inputs))
        except ForeignStack:
            raise
        except SwarmError:
            # Nothing is known of it, and nothing depends on it: should it be there, creating it adopts it.
            return None
        if observed is None or _nothing(kind, observed, inputs):
            return None
        return {**observed.outputs, ADOPTED: observed.inputs}

    async def _exists(self, urn: str, host: Mapping[str, Json]) -> bool:
        key = (str(host.get("backend")), urn.split("::", 1)[0].removeprefix("urn:pulumi:"))
        if key not in self._existing:
            self._existing[key] = asyncio.ensure_future(asyncio.to_thread(self._machines, *key))
        return host.get("node") in await self._existing[key]


def _hosts(inputs: Mapping[str, Json]) -> list[Mapping[str, Json]]:
    """The host that a thing is on, or those of all the `nodes` that it has to do with; none for what is on no host."""
    nodes = inputs.get("nodes")
    places = [inputs, *(nodes.values() if isinstance(nodes, Mapping) else ())]
    found = [place.get("host") for place in places if isinstance(place, Mapping)]
    return [host for host in found if isinstance(host, Mapping)]


def _read(kind: ResourceType, hosts: Hosts, inputs: Mapping[str, Json]) -> Observed | None:
    observed = kind.read(hosts, inputs)
    return None if isinstance(kind, Traced) and not kind.traced(hosts, inputs) else observed


def _nothing(kind: ResourceType, observed: Observed, inputs: Mapping[str, Json]) -> bool:
    """Whether it reads as a thing of nothing, such as the peers of an interface that is not there, while there is to be
    something."""
    return not kind.effects(None, observed.inputs) and bool(kind.effects(None, inputs))
