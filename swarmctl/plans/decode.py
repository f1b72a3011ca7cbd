"""A saved plan back as the plan that it was, to be shown in every form in which `plan` shows one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swarmctl.plans.model import Action, Change, DriftedProperty, HostEffect, Plan, PropertyDiff


def plan(body: Mapping[str, Any]) -> Plan:
    """The plan in the body of a saved one, whose shape was checked when it was read."""
    return Plan(
        stack=body["stack"],
        changes=tuple(map(_change, body["changes"])),
        same=body["summary"]["same"],
        drift=tuple(DriftedProperty(**item) for item in body["drift"]),
        notes=tuple(body["notes"]),
        partial=tuple(body["partial"]),
        world_read=body["worldRead"],
        unfenced=tuple(body["unfenced"]),
    )


def _change(data: Mapping[str, Any]) -> Change:
    values = dict(data)
    values["action"] = Action(data["action"])
    values["properties"] = tuple(PropertyDiff(**diff) for diff in data["properties"])
    values["effects"] = tuple(HostEffect(**effect) for effect in data["effects"])
    return Change(**values)
