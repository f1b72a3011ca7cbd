"""Brings the record of a run that was killed to where the next run can go on from. Pure but for `repair`.

The engine writes down what it begins before it begins it ("pending operations") and takes the note away when it has
recorded the result. A note that is still there is from a run that was killed in between:

- creating: the thing may exist and nobody knows it. It is put among the resources, as if it existed, with the address
  as its id, as the provider would have answered. The next refresh reads the truth: it is kept, mended, or forgotten;
  and when it has left the declarations it is removed. The engine itself would warn of it for ever.
- updating, deleting, reading: the resource is recorded anyway, and the refresh reads how far it came.
"""

from __future__ import annotations

import contextlib
import copy as copying
import json
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmctl.state.checkpoint import PREFIX, StateUnreadable, address_of, decode, latest
from swarmctl.state.files import write

Json = Any
BEGUN = {"initErrors": ["a run that was cut off had begun to create it"]}
"""As the engine marks what failed while it was created; the next refresh takes the mark away."""
PROVIDER = "pulumi:providers:swarm"
"""The type under which the engine records our provider."""


def recovered(document: dict[str, Json]) -> dict[str, Json]:
    """The checkpoint without pending operations; the same object when there are none."""
    pending = latest(document).get("pending_operations")
    if not pending:
        return document
    document = copying.deepcopy(document)
    deployment = latest(document)
    resources: list[dict[str, Json]] = deployment.setdefault("resources", [])
    for operation in deployment.pop("pending_operations"):
        resource = operation["resource"]
        if operation["type"] == "creating" and resource["type"].startswith(PREFIX):
            _insert(resources, resource | {"id": address_of(resource["urn"]), **BEGUN})
    return document


def _insert(resources: list[dict[str, Json]], resource: dict[str, Json]) -> None:
    """Add what was being created; its dependencies were recorded before it was begun, so the end is the right place."""
    same = [known for known in resources if known["urn"] == resource["urn"]]
    if any(not known.get("pendingReplacement") and not known.get("delete") for known in same):
        return  # the creation was recorded and only the note is left
    for known in same:
        # The predecessor of a replacement: it was removed before its successor was begun.
        resources.remove(known)
    resources.append(resource)


def adopted(document: dict[str, Json], resources: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    """The checkpoint with resources whose creation failed in a way that the engine keeps no record of: the provider
    died in it. What it had made by then is found, or found missing, by the next refresh.

    Each has `urn`, `type`, `inputs`, `parent` and `dependencies`; only what was begun after its provider and its
    dependencies were recorded can have made anything, the others are left out.
    """
    document = copying.deepcopy(document)
    known: list[dict[str, Json]] = latest(document).get("resources") or []
    provider = next((f"{it['urn']}::{it['id']}" for it in known if it["type"] == PROVIDER), None)
    for resource in resources:
        urns = {it["urn"] for it in known}
        if provider is not None and urns.issuperset([resource["parent"], *resource["dependencies"]]):
            _insert(
                known, {"custom": True, "id": address_of(resource["urn"]), "provider": provider, **BEGUN, **resource}
            )
    return document


@dataclass(frozen=True, slots=True)
class Reading:
    """A checkpoint that could be read."""

    document: dict[str, Json]
    file: Path
    damage: str = ""
    """Why it is not the newest that was read."""


def readable(checkpoint: Path, copy: Path) -> Reading:
    """The checkpoint; where it can't be read, the engine's copy of the one before, and then ours, `copy`, from before
    the run that was cut off.

    Raises `FileNotFoundError` when there is no checkpoint, `StateUnreadable` when none can be read.
    """
    try:
        return Reading(decode(checkpoint.read_bytes()), checkpoint)
    except StateUnreadable as error:
        for other in (backup(checkpoint), copy):
            with contextlib.suppress(OSError, StateUnreadable):
                return Reading(decode(other.read_bytes()), other, error.message)
        raise StateUnreadable(
            f"{error.message}; nor is there a readable copy of the one before it",
            f"put {checkpoint} back from a backup; or move it away, then `swarmctl apply` finds what is there and "
            "takes it over; or `swarmctl destroy`, which removes everything that carries the stack's mark",
        ) from None


def backup(checkpoint: Path) -> Path:
    """The engine's copy of the checkpoint before."""
    return checkpoint.with_name(f"{checkpoint.name}.bak")


def repair(checkpoint: Path, copy: Path, engine_locks: Path) -> list[str]:
    """Make the store fit for the next run of the engine; call it with the lock held. Returns what to tell the user.

    Raises `StateUnreadable` when neither the checkpoint nor one of the copies can be read.
    """
    remove_locks(engine_locks)
    if not checkpoint.exists():
        return []
    notes: list[str] = []
    found = readable(checkpoint, copy)
    if found.damage:
        aside = checkpoint.with_name(f"{checkpoint.name}.broken-{time.strftime('%Y%m%dT%H%M%S')}")
        write(aside, checkpoint.read_bytes())
        # The copy stays: whatever stops us here, there is always one that can be read.
        write(checkpoint, found.file.read_bytes())
        notes.append(f"the recorded state was not readable: it is kept in {aside}, the one before it is used")
    mended = recovered(found.document)
    if mended is not found.document:
        write(checkpoint, json.dumps(mended).encode())
    return notes


def remove_locks(engine_locks: Path) -> None:
    """Remove the engine's own locks, with the stack's lock held and the engine gone: they are nobody's any more.

    Whole files and halves of files alike: the engine takes any file there for a lock.
    """
    if engine_locks.is_dir():
        shutil.rmtree(engine_locks)


def put_back(
    document: dict[str, Json], before: Mapping[str, Json], wanted: Collection[str], unsettled: Collection[str]
) -> dict[str, Json]:
    """The checkpoint after a run in which not all was done, with the `unsettled` (addresses) of its resources recorded
    as they were last applied in place of how they were found; the same object when nothing differs.

    What was found to be gone comes back if it is still `wanted`. Drift is what differs from what was applied: without
    this, a change by hand that an apply has seen and not mended would be taken for applied.
    """
    changed = copying.deepcopy(document)
    now: list[dict[str, Json]] = latest(changed).get("resources") or []
    known = {it["urn"]: it for it in now}
    for old in latest(before).get("resources") or ():
        address = address_of(old["urn"])
        if not old["type"].startswith(PREFIX) or address not in unsettled or any(old.get(mark) for mark in _UNMADE):
            continue
        new = known.get(old["urn"])
        if new is None:
            needs = {old.get("parent") or old["urn"], *(old.get("dependencies") or ())} - {old["urn"]}
            if address in wanted and known.keys() >= needs:
                now.append(known.setdefault(old["urn"], copying.deepcopy(old)))
        elif not any(new.get(mark) for mark in _UNMADE[1:]):
            new.pop(_UNMADE[0], None)
            new |= {part: old[part] for part in ("inputs", "outputs") if part in old}
    return document if changed == document else changed


_UNMADE = ("initErrors", "pendingReplacement", "delete")
"""Marks of a record that is none of something applied to its end."""
