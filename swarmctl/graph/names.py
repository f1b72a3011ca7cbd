"""The order in which people count names. Pure."""

from __future__ import annotations


def natural(name: str) -> tuple[tuple[bool, int, str], ...]:
    """Sort key that puts `workers-2` before `workers-10`."""
    return tuple((not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in name.split("-"))
