"""The run that this process works for: its journal and its fence. A preview works for none."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

from swarmctl.backends.base import Fence
from swarmctl.state import runs
from swarmctl.state.journal import Journal


@dataclass(frozen=True, slots=True)
class Run:
    """What everything that is changed needs."""

    journal: Journal
    fence: Fence


def of(environment: MutableMapping[str, str] = os.environ) -> Run | None:
    """The run that the environment names; None for a preview, which changes nothing.

    The variable stays: whoever looks for what a dead run has left finds this process, and what it starts, by it.

    Raises `JournalFailed`; OSError, ValueError, KeyError and TypeError for a folder that is none of a run.
    """
    path = environment.get(runs.VARIABLE)
    if not path:
        return None
    header = runs.decode((Path(path) / "run.json").read_bytes())
    return Run(
        Journal(Path(path) / "journal"), Fence(header.stack, header.token, header.owner, header.operation == "destroy")
    )
