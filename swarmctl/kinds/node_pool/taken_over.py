"""A machine that would get another name in one step: given back under the one, taken over under the other.

New things are made before old ones are removed, so it would be refused under the new name, still having the old one,
and lose what it has under that: nothing would be left of it until the next apply. Only what was applied tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from swarmctl.backends.base import Placement
from swarmctl.declarations.declaration import Declaration
from swarmctl.diagnostics import Code, Diagnostic
from swarmctl.graph.model import Address
from swarmctl.hosts.states import LOST
from swarmctl.kinds.base import MACHINE, Expansion

OTHER_NAME = Code(
    "SW3211",
    "machine that would get another name in one step",
    """A machine over SSH is known by its host key, and has one name. Declared under another one, it would have to be
given back and taken over in the same run, and be out of service where that fails. Known when the stack is planned.

Wrong: `{name: n2, …}` turned into `{name: n9, …}` with the same `hostKeys`; `n1` and `n2` with each other's `hostKeys`

Right: the entry left out and applied, then declared with its new name; or, to keep everything on the machine, its node
name included: `moved: [{from: "nodepool/metal[n2]", to: "nodepool/metal[n9]"}]` in the Stack
""",
)


def problems(
    context: Expansion, pools: Mapping[str, Declaration], placed: Sequence[Placement], recorded: Mapping[str, str]
) -> Iterator[Diagnostic]:
    """Of all that is `placed`, what the state has under another name that the machine does not keep; `recorded` has
    the names in the state, and the address of each."""
    applied = {name: _keys(context.on_node(MACHINE, name)) for name in sorted(recorded)}
    declared = {one.name: _keys(one.inputs) for one in placed}
    leaving = {name: keys for name, keys in applied.items() if keys and not keys & declared.get(name, frozenset[str]())}
    for one in placed:
        keys = declared[one.name]
        if one.state == LOST or keys & applied.get(one.name, frozenset[str]()):
            continue
        before = next((name for name, had in leaving.items() if name != one.name and had & keys), None)
        if before is not None:
            kept = one.name not in applied and before not in declared
            yield _other_name(pools[one.pool], one, before, recorded[before] if kept else "")


def _keys(inputs: Mapping[str, Any] | None) -> frozenset[str]:
    return frozenset((inputs or {}).get("hostKeys") or ())


def _other_name(pool: Declaration, one: Placement, before: str, source: str) -> Diagnostic:
    """`source` is the address to move from, where the machine can keep everything, else empty."""
    index = next(at for at, host in enumerate(pool.variant_spec.hosts) if host.name == one.key)
    steps = f"leave it out and apply, which gives {before} back, then declare it as `{one.name}`"
    target = Address("nodepool", one.pool, one.key)
    keep = (
        f'to keep all that is on it, its node name {before} included: `moved: [{{from: "{source}", to: "{target}"}}]` '
        f"in the Stack; to have it anew: "
    )
    return Diagnostic(
        OTHER_NAME,
        f"`{one.name}` is the machine that was applied as {before}, by its host key",
        pool.value("spec", pool.variant or "", "hosts", index, "name"),
        label=f"{before} until now",
        help=f"{keep if source else ''}{steps}",
    )
