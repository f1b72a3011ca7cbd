"""`mesh verify --watch`: measure again and again, and what has changed between two measurements. Keeps the last one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from swarmctl.operations.mesh_verify_model import Finding, Verdict, Verification


@dataclass(frozen=True, slots=True)
class Change:
    """A finding that came or went."""

    mesh: str
    check: str
    finding: Finding
    gone: bool


def findings(found: Verification) -> dict[tuple[str, str, str, str, Verdict], None]:
    """What is wrong, in order, each once."""
    return dict.fromkeys(
        (mesh.name, check.name.value, finding.node, finding.text, finding.verdict)
        for mesh in found.meshes
        for check in mesh.checks
        for finding in check.findings
    )


def changes(before: Verification | None, after: Verification) -> Iterator[Change]:
    """What came and what went; without `before` all that is wrong came."""
    old, new = findings(before) if before else {}, findings(after)
    for gone, these, others in ((True, old, new), (False, new, old)):
        for mesh, check, node, text, verdict in these:
            if (mesh, check, node, text, verdict) not in others:
                yield Change(mesh, check, Finding(node, text, verdict), gone)


def watch(
    measure: Callable[[], Verification],
    show: Callable[[Verification, list[Change]], None],
    every: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Verification | None:
    """Measure every `every` seconds until KeyboardInterrupt; the last measurement, None when none came to its end."""
    last: Verification | None = None
    try:
        while True:
            began = clock()
            found = measure()
            told = list(changes(last, found))
            last = found
            show(found, told)
            sleep(max(0.0, every - (clock() - began)))
    except KeyboardInterrupt:
        return last
