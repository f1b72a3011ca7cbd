"""What the engine leaves wrong in its record when not all was done, put right. Documents are changed in place."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from swarmctl.state import replay
from swarmctl.state.checkpoint import PREFIX, address_of, latest
from swarmctl.state.journal import CREATE, DELETE, Intent, Record
from swarmctl.state.model import RunHeader

Json = Any
_UNMADE = ("initErrors", "pendingReplacement", "delete")
"""Marks of a record that is none of something applied to its end."""


def with_forgotten(document: dict[str, Json], header: RunHeader, records: Sequence[Record]) -> dict[str, Json]:
    """The engine's last checkpoint with what its journal knows and it does not: a creation in which the provider died
    may have made something. The next refresh finds how far it came."""
    latest(document).pop("pending_operations", None)
    known = {
        it["urn"]
        for it in latest(document).get("resources") or ()
        if not it.get("pendingReplacement") and not it.get("delete")
    }
    numbers = {it.n for it in _made(records) if it.urn not in known}
    return replay.replay(document, header, [it for it in records if it.n in numbers]) if numbers else document


def _made(records: Sequence[Record]) -> list[Intent]:
    """The last creation of everything that was created, or begun to be, and not deleted since."""
    intents = {it.n: it for it in records if isinstance(it, Intent)}
    made: dict[str, Intent] = {}
    for record in records:
        if isinstance(record, Intent):
            continue
        intent = intents.pop(record.n, None)
        if intent is not None and record.done and intent.op == CREATE:
            made[intent.urn] = intent
        elif intent is not None and record.done and intent.op == DELETE:
            made.pop(intent.urn, None)
    return [*made.values(), *(it for it in intents.values() if it.op == CREATE)]


def put_back(
    document: dict[str, Json],
    before: Mapping[str, Json] | None,
    wanted: Collection[str],
    unsettled: Collection[str],
) -> None:
    """Record the `unsettled` (addresses) of what is recorded in `document` as they were last applied, in place of how
    they were found; what was found to be gone comes back if it is still `wanted`.

    Drift is what differs from what was applied: without this, a change by hand that an apply has seen and not mended
    would be taken for applied.
    """
    if not before or not unsettled:
        return
    now: list[dict[str, Json]] = latest(document).get("resources") or []
    known = {it["urn"]: it for it in now}
    for old in latest(before).get("resources") or ():
        address = address_of(old["urn"])
        if not old["type"].startswith(PREFIX) or address not in unsettled or any(old.get(mark) for mark in _UNMADE):
            continue
        new = known.get(old["urn"])
        if new is None:
            needs = {old.get("parent") or old["urn"], *(old.get("dependencies") or ())} - {old["urn"]}
            if address in wanted and known.keys() >= needs:
                now.append(known.setdefault(old["urn"], dict(old)))
        elif not any(new.get(mark) for mark in _UNMADE[1:]):
            new.pop(_UNMADE[0], None)
            new |= {part: old[part] for part in ("inputs", "outputs") if part in old}
