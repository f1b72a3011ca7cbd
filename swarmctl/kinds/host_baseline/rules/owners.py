"""One thing of one machine is said by one baseline: a removal of the other one would take it away."""

from __future__ import annotations

from collections.abc import Iterator

from swarmctl.declarations.declaration import Declaration, Inventory, Unknown
from swarmctl.diagnostics import Code, Diagnostic, Range, Related
from swarmctl.kinds.host_baseline.rules.nodes import selected

TWO = Code(
    "SW3703",
    "two host baselines for one thing of a machine",
    """What a machine is set to is said in one place. Two baselines that select one machine may set different aspects,
packages, sysctl keys, users and mounts of it, never the same: with different values they would take turns, and with
equal ones the removal of the one would take away what the other declares.

Wrong: `vm.swappiness: 10` in a baseline for `{role: worker}`, and `vm.swappiness: 60` in one for `{}`

Right: `vm.swappiness` in one of them only, or selectors that have no machine in common
""",
)
TWICE = Code(
    "SW3704",
    "declared twice in a host baseline",
    """Users are told apart by their names, mounts by their paths, time servers by what they are called; each is
declared once.

Wrong: `users: [{name: ops}, {name: ops, sudo: true}]`

Right: `users: [{name: ops, sudo: true}]`
""",
)


def check(inventory: Inventory) -> Iterator[Diagnostic]:
    """Within each baseline, then between them: two are told of once for each thing, with the first machine."""
    said: dict[tuple[str, str], tuple[Declaration, Range]] = {}
    told: set[tuple[str, str, str]] = set()
    for baseline in inventory.of("HostBaseline"):
        own: dict[str, Range] = {}
        for what, where in things(baseline):
            if what in own and not isinstance(what, Unknown):
                yield _twice(what, where, own[what])
            own.setdefault(what, where)
        for node in selected(inventory, baseline):
            for what, where in own.items():
                first, place = said.setdefault((node.name, what), (baseline, where))
                if first is not baseline and (first.name, baseline.name, what) not in told:
                    told.add((first.name, baseline.name, what))
                    yield Diagnostic(
                        TWO,
                        f"{what} of {node.name} is declared by the HostBaselines `{first.name}` and `{baseline.name}`",
                        where,
                        label="declared by another one already",
                        help="leave it to one of them, or let their `nodes` have no machine in common",
                        related=(Related(place, f"in `{first.name}`"),),
                    )


def things(baseline: Declaration) -> Iterator[tuple[str, Range]]:
    """What a baseline sets, as words that are equal for equal things, and where."""
    spec = baseline.spec
    if spec.kernel is not None:
        yield "`kernel`", baseline.key("spec", "kernel")
    for name in spec.packages:
        yield f"the package `{name}`", baseline.key("spec", "packages", name)
    for key in spec.sysctl:
        yield f"the sysctl `{key}`", baseline.key("spec", "sysctl", key)
    for index, user in enumerate(spec.users):
        yield f"the user `{user.name}`", baseline.value("spec", "users", index, "name")
    if spec.time_sync is not None:
        yield "`timeSync`", baseline.key("spec", "timeSync")
    if spec.security_upgrades is not None:
        yield "`securityUpgrades`", baseline.key("spec", "securityUpgrades")
    for index, mount in enumerate(spec.mounts):
        yield f"the mount `{mount.path}`", baseline.value("spec", "mounts", index, "path")
    if spec.swap is not None:
        yield "`swap`", baseline.key("spec", "swap")


def _twice(what: str, where: Range, first: Range) -> Diagnostic:
    return Diagnostic(
        TWICE,
        f"{what} is declared twice",
        where,
        label="declared before",
        help="make one of the two",
        related=(Related(first, "the first one"),),
    )
