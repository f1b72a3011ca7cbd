"""Keys that are too old, by what is recorded alone: said of where the machines are not asked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from swarmctl.kinds.mesh.rotation import due
from swarmctl.plans.events import Note

if TYPE_CHECKING:
    from swarmctl.operations.stack import Emit, Options
    from swarmctl.state.checkpoint import Snapshot

INTERFACE = "swarm:mesh:Interface"
NAMED = 5


def tell(snapshot: Snapshot, options: Options, emit: Emit, now: float | None = None) -> None:
    """Say it when keys are overdue and this run goes by what is recorded: what is due is measured, so it leaves them as
    they are. `now` is Unix time in seconds."""
    if options.refresh:
        return
    clock = time.time() if now is None else now
    nodes = sorted(
        str(it.inputs["node"])
        for it in snapshot.resources.values()
        if it.type == INTERFACE and due.recorded(it.inputs, it.outputs, clock)
    )
    if nodes:
        more = f" and {len(nodes) - NAMED:,} more nodes" if len(nodes) > NAMED else ""
        text = "are older than rotateEvery: they are rotated by an apply that reads the world, without --no-refresh"
        emit(Note(f"keys of {', '.join(nodes[:NAMED])}{more} {text}", warning=True))
