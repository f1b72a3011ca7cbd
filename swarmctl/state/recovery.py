"""Takes what runs have done that were cut off into the state, from their journals. Reads files and writes none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from swarmctl import __version__
from swarmctl.state import journal, published, replay
from swarmctl.state.model import Applied, Published
from swarmctl.state.runs import RunFolder

Json = Any


def replayed(base: Published | None, found: Sequence[RunFolder], identity: str) -> tuple[Published | None, list[str]]:
    """The state with the journals of `found` in it, as the next generation, and what to tell of them."""
    generation = base.generation if base else 0
    checkpoint: dict[str, Json] | None = base.checkpoint if base else None
    applied = base.applied if base else None
    plans = base.plans if base else ()
    told: list[str] = []
    for run in found:
        # What an earlier generation led to is published already, only its folder was left.
        if run.header.generation < generation:
            continue
        records = journal.read(run.journal)
        if not records:
            continue
        checkpoint = replay.replay(checkpoint, run.header, records)
        if run.header.operation == "destroy":
            applied = None  # as of one that came to its end: what is left is no graph that anyone has asked for
        else:
            applied = replace(applied, complete=False) if applied else Applied(run.header.graph, complete=False)
        if run.header.plan:
            plans = published.marked(plans, run.header.plan, finished=False)
        told.append(f"a run of {run.header.owner} was cut off: what it did was taken into the state from its journal")
    if not told or checkpoint is None:
        return base, []
    token = found[-1].header.token
    return Published(identity, generation + 1, token, __version__, checkpoint, applied, tuple(plans)), told
