"""Draws what `swarmctl doctor` found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swarmctl.operations.doctor import Area, all_well
from swarmctl.reports.console import paint, safe


def render(areas: Sequence[Area], *, color: bool) -> str:
    """A table per area: mark, name, detail; how to mend what failed, each command once, at the end."""
    width = max((len(check.name) for area in areas for check in area.checks), default=0)
    lines: list[str] = []
    mends: dict[str, list[str]] = {}
    for area in areas:
        lines.append(paint(area.title, "bold", color=color))
        for check in area.checks:
            mark = paint("ok  ", "green", color=color) if check.ok else paint("FAIL", "red", "bold", color=color)
            lines.append(f"  {mark}  {check.name:<{width}}  {safe(check.detail)}")
            if not check.ok and check.mend:
                mends.setdefault(check.mend, []).append(check.name)
        lines.append("")
    if all_well(areas):
        return "\n".join([*lines, "All is well."])
    steps = [f"  {', '.join(names)}: {safe(mend)}" for mend, names in mends.items()]
    return "\n".join([*lines, paint("How to mend it", "bold", color=color), *steps])


def to_json(areas: Sequence[Area]) -> dict[str, Any]:
    """The `swarmctl/doctor/v1` document."""
    checks = [
        {"area": area.title, "name": check.name, "ok": check.ok, "detail": check.detail}
        | ({"mend": check.mend} if not check.ok and check.mend else {})
        for area in areas
        for check in area.checks
    ]
    return {"schema": "swarmctl/doctor/v1", "ok": all_well(areas), "checks": checks}
