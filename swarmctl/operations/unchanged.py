"""Whether there is nothing to do, proved without the engine: by digests, and by reading the world back.

What was applied to its end, by this version, from this very graph, leaves nothing to do as long as the world is as it
was left. Then no engine is started. Anything else, a machine that can't be read first of all, is the engine's to tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from swarmctl.backends import clocks
from swarmctl.errors import SwarmError
from swarmctl.operations import strays, unfit
from swarmctl.plans.events import Note, PhaseEnded, PhaseStarted
from swarmctl.plans.model import Plan

if TYPE_CHECKING:
    from swarmctl.kinds.base import Hosts
    from swarmctl.operations.stack import Emit, Options, Stack
    from swarmctl.state.store import Recorded

READERS = 16
"""Resources that are read back at the same time; what takes long there is waiting for hosts."""
Resolve = Callable[[str], Any]


def proved(stack: Stack, emit: Emit, options: Options, held: Collection[str] = ()) -> Plan | None:
    """The plan that changes nothing, when nothing has to change; None when that is not certain.

    With `options.refresh` the world is read back; without, the digests alone decide. What is `held` does not count.
    """
    if not _applied(stack):
        return None
    recorded = {address: it for address, it in stack.snapshot.resources.items() if address not in held}
    if options.refresh:
        if not options.targets and strays.found(stack.identity, stack.nodes):
            return None
        started = time.monotonic()
        emit(PhaseStarted("reading the world", len(recorded)))
        moved = not _as_recorded(recorded)
        emit(PhaseEnded("reading the world", time.monotonic() - started))
        said = clocks.take()
        if moved:
            return None  # the engine reads them again, and tells
        for text in said:
            emit(Note(text, warning=True))
    notes = unfit.notes(unfit.of(stack.graph, options.targets, held))
    return Plan(
        stack.identity, (), len(recorded), notes=tuple(notes), partial=options.partial, world_read=options.refresh
    )


def _applied(stack: Stack) -> bool:
    """Whether the last run that changed something did all of what this graph asks for, and none was cut off since."""
    from swarmctl import __version__

    applied = stack.published.applied if stack.published else None
    return (
        applied is not None
        and applied.complete
        and applied.graph == stack.digest
        and applied.versions.get("swarmctl") == __version__
        and stack.snapshot.resources.keys() == {str(address) for address in stack.graph.resources}
    )


def _as_recorded(recorded: Mapping[str, Recorded]) -> bool:
    """Whether all of it reads back as it is recorded; hosts are read once, side by side."""
    from swarmctl import kinds
    from swarmctl.provider.hosts import Connections

    hosts = Connections()
    hosts.foresee(_hosts(recorded.values()))
    with ThreadPoolExecutor(READERS) as pool:
        try:
            return all(pool.map(lambda one: _same(one, hosts, kinds.resource_type), recorded.values()))
        except SwarmError:
            return False
        finally:
            pool.shutdown(cancel_futures=True)


def _hosts(recorded: Iterable[Recorded]) -> list[Mapping[str, Any]]:
    from swarmctl.graph.canonical import canonical_bytes

    return list(
        {canonical_bytes(it.inputs["host"]): it.inputs["host"] for it in recorded if "host" in it.inputs}.values()
    )


def _same(recorded: Recorded, hosts: Hosts, resolve: Resolve) -> bool:
    kind = resolve(recorded.type)
    found = kind.read(hosts, recorded.inputs)
    return found is not None and not kind.diff(found.inputs, recorded.inputs) and found.outputs == recorded.outputs
