"""The JSON documents of planning and changing, version 1; docs/json.md names every field.

Fields are added, never renamed, within a version.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from swarmctl.plans import encode
from swarmctl.plans.model import Action, Plan

if TYPE_CHECKING:
    from swarmctl.errors import SwarmError
    from swarmctl.graph.model import Unfit
    from swarmctl.operations.plan_show import Shown
    from swarmctl.operations.running import Run

_OBEYED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""The control characters that JSON allows in strings, marks of direction, line separators, and halves of surrogate
pairs, which no terminal is sent either."""


def text(document: Mapping[str, Any], *, indent: int | None = 2) -> str:
    """A document as it is printed: what a terminal would obey, which strings from hosts may hold, is escaped."""
    printed = json.dumps(document, indent=indent, ensure_ascii=False)
    return _OBEYED.sub(lambda match: f"\\u{ord(match[0]):04x}", printed)


def plan(plan: Plan, unread: Mapping[str, SwarmError], unfit: Sequence[Unfit] = ()) -> dict[str, Any]:
    """`swarmctl/plan/v1`; why, by node, machines are left out of it; and what is left alone on others."""
    return {**encode.plan(plan), "unread": _unread(unread), "unfit": _unfit(unfit)}


def _unfit(found: Sequence[Unfit]) -> list[dict[str, Any]]:
    return [
        {
            "node": it.node,
            "address": str(it.address),
            "code": it.problem.code.id,
            "error": it.problem.message,
            "hint": it.problem.help,
            "file": at.file,
            "line": at.start.line,
            "column": at.start.column,
        }
        for it in found
        if (at := it.problem.range)
    ]


def _unread(silent: Mapping[str, SwarmError]) -> list[dict[str, Any]]:
    return [{"node": node, "error": why.message, "hint": why.hint} for node, why in sorted(silent.items())]


def saved_plan(shown: Shown) -> dict[str, Any]:
    """`swarmctl/plan/v1`, all of the file, and in `verified` what can be said of it here."""
    verified = {
        "signedBy": shown.signer or None,
        "fingerprint": shown.fingerprint,
        "problems": list(shown.problems),
        "unverified": list(shown.unverified),
    }
    return {**shown.saved.document(), "verified": verified}


def drift(plan: Plan, unread: Mapping[str, SwarmError]) -> dict[str, Any]:
    """`swarmctl/drift/v1`, and why, by node, machines could not be read."""
    return {
        "schema": "swarmctl/drift/v1",
        "stack": plan.stack,
        "summary": {
            "properties": len(plan.drift),
            "resources": len({item.address for item in plan.drift}),
            "nodes": len({item.node for item in plan.drift if item.node}),
        },
        "drift": encode.plan(plan)["drift"],
        "notes": list(plan.notes),
        "unread": _unread(unread),
    }


def apply(run: Run) -> dict[str, Any]:
    """`swarmctl/apply/v1`."""
    return _run("swarmctl/apply/v1", run)


def destroy(run: Run) -> dict[str, Any]:
    """`swarmctl/destroy/v1`: the same fields under a name of its own, so that the two can be told apart, and what stays
    in the state because it lies on silent machines."""
    document = _run("swarmctl/destroy/v1", run)
    if run.unswept:
        from swarmctl.provider.errors import describe

        document["failures"].append({"address": "", "node": "", "error": describe(run.unswept)})
    return {**document, "kept": list(run.kept)}


def _run(schema: str, run: Run) -> dict[str, Any]:
    return {
        "schema": schema,
        "stack": run.plan.stack,
        "done": {action.value: run.count(action) for action in Action},
        "changes": [encode.change(change) for change in run.changes],
        "failures": [
            {"address": failure.address, "node": failure.node, "error": failure.error} for failure in run.failures
        ],
        "skipped": [{"address": it.address, "node": it.node, "reason": it.reason} for it in run.skipped],
        "undone": [{"address": it.address, "node": it.node, "reason": it.reason} for it in run.undone],
        "partial": list(run.plan.partial),
        "worldRead": run.plan.world_read,
        "interrupted": run.interrupted,
        "removed": list(run.removed),
        "unread": _unread(run.silent),
        "unfit": _unfit(run.unfit),
        "seconds": round(run.seconds, 1),
    }
