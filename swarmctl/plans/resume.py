"""The rest of a plan that was begun and interrupted: every change that is left must be one of the plan's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from swarmctl.plans import encode
from swarmctl.plans.checks import refuse_moved, require_same_part, told
from swarmctl.plans.model import Plan
from swarmctl.plans.saved import SavedPlan, canonical
from swarmctl.plans.values import is_unknown

Json = Any
_LEFT_OF = {
    "create": {"create", "adopt", "update"},
    "adopt": {"adopt", "update"},
    "update": {"update"},
    "replace": {"replace", "create", "adopt", "update"},
    "delete": {"delete"},
}
"""What may be left of a planned action: of what was to be created there may be half, or more than the state knows."""
_MAKES = {"create", "adopt", "replace"}
_GONE = object()
_UNTOUCHED = object()


@dataclass(slots=True)
class _Filled:
    """Values that have come in the place of the plan's unknown ones."""

    planned: set[str]
    """Addresses that the plan changes."""
    pending: set[str]
    """Addresses that are still to be made."""
    outputs: Mapping[str, Mapping[str, Json]] | None
    values: dict[str, Json] = field(default_factory=dict)
    """By source."""

    def mistake(self, source: str, value: Json) -> str:
        """Why `value` can't have come from `source`; empty when it can."""
        address, _, name = source.rpartition(".")
        if address not in self.planned:
            return f"it waited for {source}, which the plan does not make"
        if address in self.pending:
            return f"it waits for {source}, which is not made yet, and has a value"
        if self.outputs is not None and self.outputs.get(address, {}).get(name, _GONE) != value:
            return f"it is not what {source} is"
        if self.values.setdefault(source, value) != value:
            return f"{source} stands for two values"
        return ""


def compare_resumed(
    saved: SavedPlan, fresh_plan: Plan, outputs: Mapping[str, Mapping[str, Json]] | None = None
) -> None:
    """Before going on with a plan: is all that would be done now part of it, with the values that were reviewed?

    What was unknown may have got a value, from the very output that the plan names (`check` has seen to it that the
    graph, where that reference stands, is the same); `outputs`, by address as they are recorded, prove it. What stands
    before a change may be anything: it is half done. Raises PlanRefused naming what is not the plan's.
    """
    body = json.loads(canonical(encode.plan(fresh_plan)))
    require_same_part(saved, body)
    planned = {change["address"]: change for change in saved.body["changes"]}
    pending = {change["address"] for change in body["changes"] if change["action"] in _MAKES}
    filled = _Filled(set(planned), pending, outputs)
    refuse_moved(
        [
            f"{change['address']}: {reason}"
            for change in body["changes"]
            for reason in _foreign(planned.get(change["address"]), change, filled)
        ]
    )


def _foreign(planned: Mapping[str, Any] | None, change: Mapping[str, Any], filled: _Filled) -> Iterator[str]:
    """What in a change is not the plan's."""
    if planned is None:
        yield f"not in the plan, {told(change)} now"
        return
    if change["action"] not in _LEFT_OF.get(planned["action"], ()):
        yield f"{told(planned)} in the plan, {told(change)} now"
        return
    for key in ("type", "node"):
        if planned[key] != change[key]:
            yield f"{key} {planned[key] or '(none)'} in the plan, {change[key] or '(none)'} now"
    for diff in change["properties"]:
        if change["action"] != "delete" and (reason := _otherwise(planned, diff, filled)):
            yield f"{diff['path']}: {reason}"


def _otherwise(planned: Mapping[str, Any], diff: Mapping[str, Any], filled: _Filled) -> str:
    """Why a property doesn't end as it was planned; empty when it does."""
    wanted = _wanted(planned, diff["path"])
    if wanted is _UNTOUCHED:
        # Of what is made anew the plan names what differs; all else is as declared, which is the same as then. Of what
        # is made it names everything: what more is there has to go.
        anew = planned["action"] == "replace" or (planned["action"] == "create" and diff["action"] == "delete")
        return "" if anew else "the plan leaves it as it is"
    if diff["action"] == "delete" or wanted is _GONE:
        return "" if diff["action"] == "delete" and wanted is _GONE else "the plan ends with another value"
    return _mismatch(wanted, diff["after"], filled)


def _wanted(planned: Mapping[str, Any], path: str) -> Json:
    """What the plan ends with at `path`: a value, `_GONE`, or `_UNTOUCHED` when it says nothing of it."""
    for diff in planned["properties"]:
        if path == diff["path"]:
            return diff.get("after", _GONE)
        if path.startswith(diff["path"] + "."):
            return _at(diff.get("after", _GONE), path[len(diff["path"]) + 1 :])
    return _UNTOUCHED


def _at(value: Json, path: str) -> Json:
    """What is at a dotted path, whose keys may have dots of their own."""
    if not isinstance(value, Mapping) or is_unknown(value):
        return value if is_unknown(value) else _GONE
    if path in value:
        return value[path]
    for key in value:
        if path.startswith(key + ".") and (found := _at(value[key], path[len(key) + 1 :])) is not _GONE:
            return found
    return _GONE


def _mismatch(wanted: Json, now: Json, filled: _Filled) -> str:
    if wanted == now and type(wanted) is type(now):
        return ""
    if is_unknown(wanted) and not is_unknown(now):
        return filled.mistake(wanted["unknown"], now)
    if isinstance(wanted, Mapping) and isinstance(now, Mapping) and set(wanted) == set(now) and not is_unknown(wanted):
        found = [_mismatch(wanted[key], now[key], filled) for key in wanted]
        return next((reason for reason in found if reason), "")
    if isinstance(wanted, list) and isinstance(now, list) and len(wanted) == len(now):
        found = [_mismatch(one, other, filled) for one, other in zip(wanted, now, strict=True)]
        return next((reason for reason in found if reason), "")
    return "the plan ends with another value"
