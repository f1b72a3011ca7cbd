"""Sysctl keys of which the kernel lets only one count: setting one makes the other one 0."""

from __future__ import annotations

from collections.abc import Iterator

from swarmctl.declarations.declaration import Declaration, Inventory, Unknown
from swarmctl.diagnostics import Code, Diagnostic, Related
from swarmctl.kinds.host_baseline.rules.nodes import selected

BOTH = Code(
    "SW3723",
    "two sysctl keys of which only one counts",
    """Some limits of the kernel can be given as a share of the memory or as a number. What is set last counts, and the
other key reads 0 from then on (Linux, Documentation/admin-guide/sysctl/vm.rst). With both declared for one machine,
each apply would set the one and find the other one changed.

Wrong: `sysctl: {vm.dirty_ratio: 20, vm.dirty_bytes: 1073741824}`

Right: `sysctl: {vm.dirty_bytes: 1073741824}`
""",
)
PAIRS = (
    ("vm.dirty_bytes", "vm.dirty_ratio"),
    ("vm.dirty_background_bytes", "vm.dirty_background_ratio"),
    ("vm.overcommit_kbytes", "vm.overcommit_ratio"),
)
_OTHER = {one: other for pair in PAIRS for one, other in (pair, pair[::-1])}


def check(baseline: Declaration) -> Iterator[Diagnostic]:
    """Within one baseline."""
    for one, other in PAIRS:
        if one in baseline.spec.sysctl and other in baseline.spec.sysctl:
            yield _both(baseline, other, baseline, one, "")


def between(inventory: Inventory) -> Iterator[Diagnostic]:
    """Between baselines that select one machine: two are told of once for each pair, with the first machine."""
    said: dict[tuple[str, str], Declaration] = {}
    told: set[tuple[str, str, str]] = set()
    for baseline in inventory.of("HostBaseline"):
        keys = [key for key in baseline.spec.sysctl if not isinstance(key, Unknown) and key in _OTHER]
        for node in selected(inventory, baseline) if keys else ():
            for key in keys:
                first = said.get((node.name, _OTHER[key]), baseline)
                if first is not baseline and (first.name, baseline.name, key) not in told:
                    told.add((first.name, baseline.name, key))
                    yield _both(baseline, key, first, _OTHER[key], f" of {node.name}")
                said.setdefault((node.name, key), baseline)


def _both(baseline: Declaration, key: str, first: Declaration, before: str, where: str) -> Diagnostic:
    return Diagnostic(
        BOTH,
        f"`{key}` and `{before}`{where} can't both be set: setting one makes the other one 0",
        baseline.key("spec", "sysctl", key),
        label="takes turns with the other one",
        help="leave one of them out",
        related=(Related(first.key("spec", "sysctl", before), f"the other one, in `{first.name}`"),),
    )
