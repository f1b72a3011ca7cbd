"""What a creation would find already there. A preview says so: it is taken over, not made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from swarmctl import backends
from swarmctl.errors import SwarmError
from swarmctl.kinds.base import UNKNOWN, Hosts, Observed, ResourceType
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

        What depends on values that are known only after apply is not looked at. Raises what is no `SwarmError`.
        """
        if _unknown(inputs):
            return None
        host = inputs.get("host")
        try:
            if isinstance(host, Mapping) and not await self._exists(urn, host):
                return None
            observed: Observed | None = await steps.run(Step(READ, urn), lambda: kind.read(hosts, inputs))
        except SwarmError:
            # Nothing is known of it, and nothing depends on it: should it be there, creating it adopts it.
            return None
        return None if observed is None else {**observed.outputs, ADOPTED: observed.inputs}

    async def _exists(self, urn: str, host: Mapping[str, Json]) -> bool:
        key = (str(host.get("backend")), urn.split("::", 1)[0].removeprefix("urn:pulumi:"))
        if key not in self._existing:
            self._existing[key] = asyncio.ensure_future(asyncio.to_thread(self._machines, *key))
        return host.get("node") in await self._existing[key]


def _unknown(value: Json) -> bool:
    if isinstance(value, Mapping):
        return any(map(_unknown, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_unknown, value))
    return value is UNKNOWN
