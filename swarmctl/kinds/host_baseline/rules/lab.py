"""What a machine of the lab can't be set to: it shares its kernel with the machine that it is on."""

from __future__ import annotations

from collections.abc import Iterator

from swarmctl.declarations.declaration import Declaration, Inventory, Unknown
from swarmctl.declarations.fleet import Node
from swarmctl.diagnostics import Code, Diagnostic, Range, Related
from swarmctl.kinds.host_baseline.rules.nodes import selected

SHARED = Code(
    "SW3716",
    "setting that a machine of the lab cannot have",
    """Machines of the lab are namespaces of one Linux machine: its kernel, clock, swap and file systems are not theirs.
They can have users, upgrades, and sysctl keys below `net.` that each network namespace has of its own.

Wrong: `nodes: {}`, `swap: "off"`, and a pool with `lab: {count: 3}`

Right: `nodes: {tier: metal}`, and that label on pools of real machines only
""",
)


def check(inventory: Inventory, baseline: Declaration) -> Iterator[Diagnostic]:
    """Once for each setting, with the first machine of the lab."""
    shared = list(_shared(baseline))
    for node in selected(inventory, baseline) if shared else ():
        if node.pool.variant == "lab":
            yield from (_told(node, what, where) for what, where in shared)
            return


def _shared(baseline: Declaration) -> Iterator[tuple[str, Range]]:
    spec = baseline.spec
    aspects = (
        ("kernel", spec.kernel, "kernel parameters"),
        ("timeSync", spec.time_sync, "a clock"),
        ("mounts", spec.mounts, "mounts"),
        ("swap", spec.swap, "swap"),
    )
    for name, declared, what in aspects:
        if declared:
            yield f"{what} of its own", baseline.key("spec", name)
    for key in spec.sysctl:
        if not key.startswith("net.") and not isinstance(key, Unknown):
            yield f"a setting `{key}` of its own", baseline.key("spec", "sysctl", key)


def _told(node: Node, what: str, where: Range) -> Diagnostic:
    return Diagnostic(
        SHARED,
        f"the machine `{node.name}` of the lab has no {what.removeprefix('a ')}",
        where,
        label="of the machine that the lab is on",
        help="let `nodes` select real machines only",
        related=(Related(node.where, "a machine of the lab"),),
    )
