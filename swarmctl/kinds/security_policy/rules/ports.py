"""Ports of flows and denials."""

from __future__ import annotations

from collections.abc import Iterator

from swarmctl.declarations.declaration import Declaration
from swarmctl.diagnostics import Code, Diagnostic, Related
from swarmctl.kinds.security_policy.rules.places import DENIALS, FLOWS, LAST_PORT, common, is_range
from swarmctl.kinds.security_policy.spec import Denial, Flow
from swarmctl.mesh.firewall import span

PORT_RANGE = Code(
    "SW3302",
    "port range that is none",
    """A range goes from a smaller port to a greater one, and ports end at 65535.

Wrong: `ports: [10010-10001]`, `ports: [60000-70000]`

Right: `ports: [10001-10010]`, `ports: [60000-65535]`
""",
)
PORT_CLASH = Code(
    "SW3303",
    "port listed twice",
    """Two items of one flow's `ports` have ports in common. One of them is most often a slip for another port.

Wrong: `ports: [6379, 6000-7000]`

Right: `ports: [6000-7000]`
""",
)


def check(policy: Declaration) -> Iterator[Diagnostic]:
    """Ranges that are none, and ports that an item lists twice."""
    for path, items in ((FLOWS, policy.spec.network.flows), (DENIALS, policy.spec.network.never)):
        for index, item in enumerate(items):
            yield from _ports(policy, path, index, item)


def _ports(policy: Declaration, path: tuple[str, ...], index: int, item: Flow | Denial) -> Iterator[Diagnostic]:
    for place, port in enumerate(item.ports):
        where = policy.value(*path, index, "ports", place)
        first, last = span(port)
        if not is_range(port):
            reversed_ = last < first and first <= LAST_PORT
            yield Diagnostic(
                PORT_RANGE,
                f"`{port}` ends before it begins" if last < first else f"`{port}` goes beyond port {LAST_PORT}",
                where,
                label="not a range of ports",
                help=f"did you mean `{last}-{first}`?" if reversed_ else f"ports are 1 to {LAST_PORT}",
            )
            continue
        for other, earlier in enumerate(item.ports[:place]):
            if is_range(earlier) and common(port, earlier):
                yield Diagnostic(
                    PORT_CLASH,
                    f"`{port}` and `{earlier}` of `{item.name}` have {common(port, earlier)} in common",
                    where,
                    label=f"{common(port, earlier)} again",
                    help="remove one of them, or write ports that are apart",
                    related=(Related(policy.value(*path, index, "ports", other), "listed here"),),
                )
                break
