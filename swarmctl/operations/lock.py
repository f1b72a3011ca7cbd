"""Who works on a stack, and releasing its lease by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from swarmctl.operations import stack
from swarmctl.plans.events import Note

if TYPE_CHECKING:
    from swarmctl.state.lease import LeaseStatus, Released

WATCH = 4.0
"""Seconds that a holder on another machine gets to give a sign of life: it beats every three."""


def show(folder: Path) -> LeaseStatus | None:
    """The lease of the stack declared in `folder`; None when no run has ever taken it.

    Raises InvalidDeclaration, NoDocuments.
    """
    from swarmctl.state import lease

    _, store = stack.load(folder)
    return lease.status(store.folder, watch=WATCH)


def release(folder: Path, emit: stack.Emit, *, force: bool, above: int = 0) -> Released:
    """Free the lease of a run that is gone, with `force` of any run.

    With `force` the next token is also greater than any that a backend knows of, and than `above`: whoever works under
    an older one is kept out. Raises InvalidDeclaration, NoDocuments, LockHeld, DiskFull, ReadOnly.
    """
    from swarmctl.state import lease

    _, store = stack.load(folder)
    floor = max(above, stack.greatest_token(store.identity)) if force else 0
    return lease.release(store.folder, force=force, floor=floor, tell=lambda text: emit(Note(text)))
