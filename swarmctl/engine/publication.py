"""What a changing run did becomes the state: the engine's last checkpoint, or the journal where there is none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from swarmctl import __version__
from swarmctl.engine import mending
from swarmctl.engine.runner import Ended
from swarmctl.engine.workspace import Workspace
from swarmctl.state import journal, published, replay
from swarmctl.state.checkpoint import StateUnreadable, decode
from swarmctl.state.integrity import flaw
from swarmctl.state.lease import Lease
from swarmctl.state.model import Applied, PlanMark, Published
from swarmctl.state.runs import RunFolder
from swarmctl.state.store import Store

Json = Any


@dataclass(frozen=True, slots=True)
class Base:
    """What a run began from, and where it works."""

    published: Published | None
    run: RunFolder
    space: Workspace
    written: int
    """The private copy's identity before the engine began: it is replaced exactly when the engine saves."""

    @property
    def checkpoint(self) -> Mapping[str, Json] | None:
        """What was recorded before."""
        return self.published.checkpoint if self.published else None


def base(published: Published | None, run: RunFolder, space: Workspace) -> Base:
    """Call it before the engine begins."""
    return Base(published, run, space, _identity(space))


def _identity(space: Workspace) -> int:
    return space.checkpoint.stat().st_ino


def result(
    base: Base, ended: Ended, wanted: Collection[str], unsettled: Collection[str], undone: Collection[str]
) -> dict[str, Json] | None:
    """The checkpoint after the run; None when the run changed nothing, not even what is known of the world.

    `wanted` and `unsettled`: see `mending.put_back`; `undone`: see `replay.replay`. Raises OSError.
    """
    records = journal.read(base.run.journal)
    document = _saved(base, ended)
    if document is not None:
        document = mending.with_forgotten(document, base.run.header, records)
        mending.put_back(document, base.checkpoint, wanted, unsettled)
        return document
    return replay.replay(base.checkpoint, base.run.header, records, undone=undone) if records else None


def _saved(base: Base, ended: Ended) -> dict[str, Json] | None:
    """What the engine has saved at its end; None when it did not come to that, or when it would refuse it next time.

    Going on after an error, it may make something anew without having removed the old one, because the removal waits
    for what failed; it then records both as one, and takes that from nobody (v3.259.0).
    """
    orderly = ended.status >= 0 or ended.gathered.finished
    try:
        if not orderly or _identity(base.space) == base.written:
            return None
        document = decode(base.space.checkpoint.read_bytes())
        return None if flaw(document) else document
    except (FileNotFoundError, StateUnreadable):
        return None


def publish(
    store: Store,
    lease: Lease,
    base: Base,
    document: Mapping[str, Json],
    *,
    complete: bool,
    finished: bool,
    engine: str,
) -> Published:
    """Make it the state that everyone sees, and remove the run's folder.

    `complete`: the whole graph is applied; `finished`: all that the run was asked for is done, so that the saved plan
    which it carried out is done with.
    Raises `LeaseLost`, `DiskFull`, `ReadOnly`: the folder is kept then, and the next run takes from it what was done.
    """
    header = base.run.header
    # What destroy has left is no graph that anyone has asked for.
    versions = {"swarmctl": __version__, "pulumi": engine}
    applied = Applied(header.graph, complete, versions) if header.graph else None
    plans: tuple[PlanMark, ...] = base.published.plans if base.published else ()
    if header.plan:
        plans = published.marked(plans, header.plan, finished=finished)
    made = store.publish(lease, header.generation, document, applied=applied, plans=plans)
    store.finish(base.run)
    return made
