"""Rotate keys on demand: an apply in which the chosen nodes have been asked for one rotation more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from swarmctl.operations import stack as stacks
from swarmctl.operations.apply import apply
from swarmctl.operations.running import Run, Stopper
from swarmctl.operations.stack import Confirm, Emit, Options


def rotate(
    folder: Path,
    nodes: Sequence[str],
    *,
    confirm: Confirm,
    emit: Emit,
    stopper: Stopper,
    options: Options = stacks.DEFAULT,
) -> Run:
    """Rotate the keys of `nodes`, of all nodes of all meshes when there are none, and apply what else is to be done.

    See `apply.apply`; raises UsageError, too, for a node that is in no mesh.
    """
    chosen = replace(options, rotate=tuple(dict.fromkeys(nodes)) or stacks.EVERY_NODE)
    return apply(folder, confirm=confirm, emit=emit, stopper=stopper, options=chosen)
