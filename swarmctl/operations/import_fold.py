"""Warnings of an import that are alike but for the node: told once, with the first places and how many there are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from swarmctl.diagnostics import Diagnostic, Related, Severity
from swarmctl.mesh.wgquick.codes import NOT_DECLARED

PLACES = 3
_NAMED = re.compile(r"`[^`]*`")


def folded(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    """The same, with one for all warnings of a kind, where the first of them stands. Errors are told one by one."""
    kinds: dict[object, list[Diagnostic]] = {}
    for item, one in enumerate(found):
        kinds.setdefault(_kind(one) if one.severity is Severity.WARNING else item, []).append(one)
    return [_one(alike) for alike in kinds.values()]


def _kind(one: Diagnostic) -> tuple[str, ...]:
    """What it says, without whom it says it of, and without the values."""
    # Of settings, the mend says which one it is: names of nodes and of settings are both quoted.
    what = one.help if one.code is NOT_DECLARED else ""
    return one.code.id, _NAMED.sub("", one.message.partition(" changes: ")[0]), what


def _one(alike: list[Diagnostic]) -> Diagnostic:
    first, *rest = alike
    if not rest:
        return first
    related = tuple(Related(one.range, one.message) for one in rest[: PLACES - 1] if one.range is not None)
    return replace(first, message=f"{first.message}; and {len(rest)} more like it", related=related)
