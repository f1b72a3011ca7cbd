"""A plan as JSON data, the form published as `swarmctl/plan/v1`: sorted keys, no times, no paths of this machine."""

from __future__ import annotations

from typing import Any

from swarmctl.plans.model import Change, DriftedProperty, HostEffect, Plan, PropertyDiff
from swarmctl.plans.values import hidden

SCHEMA = "swarmctl/plan/v1"


def plan(plan: Plan) -> dict[str, Any]:
    """The whole plan; changes and drift by address, so that equal plans are equal data."""
    return {
        "schema": SCHEMA,
        "stack": plan.stack,
        "summary": dict(plan.summary()),
        "nodes": plan.nodes,
        "changes": sorted((change(item) for item in plan.changes), key=lambda item: str(item["address"])),
        "drift": sorted((drifted(item) for item in plan.drift), key=lambda item: (item["address"], item["path"])),
        "notes": list(plan.notes),
        "partial": sorted(plan.partial),
        "worldRead": plan.world_read,
        "unfenced": sorted(plan.unfenced),
    }


def change(change: Change) -> dict[str, Any]:
    """One change."""
    return {
        "address": change.address,
        "type": change.type,
        "action": change.action.value,
        "node": change.node,
        "cluster": change.cluster,
        "pool": change.pool,
        "properties": [_property(diff) for diff in change.properties],
        "effects": [_effect(effect) for effect in change.effects],
        "impact": change.impact,
        "drifted": change.drifted,
        "timeout": change.timeout,
        "guarded": change.guarded,
    }


def _property(diff: PropertyDiff) -> dict[str, Any]:
    values = {"before": hidden(diff.before), "after": hidden(diff.after)}
    if diff.action == "add":
        del values["before"]
    elif diff.action == "delete":
        del values["after"]
    return {"path": diff.path, "action": diff.action, **values, "replaces": diff.replaces, "reason": diff.reason}


def _effect(effect: HostEffect) -> dict[str, str]:
    return {"action": effect.action, "text": effect.text}


def drifted(item: DriftedProperty) -> dict[str, Any]:
    """One property that moved; `path` is empty when the whole resource is gone."""
    return {
        "address": item.address,
        "type": item.type,
        "node": item.node,
        "path": item.path,
        "expected": hidden(item.expected),
        "actual": hidden(item.actual),
    }
