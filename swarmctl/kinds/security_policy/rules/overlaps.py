"""Flows that allow what another one allows already."""

from __future__ import annotations

from collections.abc import Iterator

from swarmctl.declarations.declaration import Declaration, Unknown
from swarmctl.diagnostics import Code, Diagnostic, Related, Severity
from swarmctl.kinds.security_policy.rules.places import FLOWS, common, is_range
from swarmctl.kinds.security_policy.spec import Flow

ALREADY_ALLOWED = Code(
    "SW3305",
    "flow that another one allows already",
    """Two flows between the same machines over the same protocol have ports in common. The traffic is allowed once
either of them says so; removing one of them will not close the port, nor will the end of the one that ends sooner. A
warning.

Wrong: `{name: a, to: {role: head}, ports: [9100]}` and `{name: b, to: {role: head}, ports: [9000-9200]}`

Right: one of them, or ports apart
""",
)


def check(policy: Declaration, flows: list[Flow]) -> Iterator[Diagnostic]:
    """Flows with the same ends and protocol that share ports; found by grouping, not by comparing all with all."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, flow in enumerate(flows):
        if isinstance(flow.until, Unknown):
            continue
        ends = (flow.protocol, tuple(sorted(flow.from_.items())), tuple(sorted(flow.to.items())))
        groups.setdefault(ends, []).append(index)
    for indexes in groups.values():
        # What ends sooner is told of what lasts longer; of two that last as long, the later one.
        lasting = sorted(indexes, key=lambda index: flows[index].until or "~", reverse=True)
        for position, index in enumerate(lasting):
            found = next((pair for earlier in lasting[:position] for pair in _shared(flows, earlier, index)), None)
            if found is None:
                continue
            earlier, item, ports = found
            yield Diagnostic(
                ALREADY_ALLOWED,
                f"the flow `{flows[earlier].name}` already allows {ports} between the same machines",
                policy.value(*FLOWS, index, "ports", item),
                label="allowed already",
                help=f"remove it here or from `{flows[earlier].name}`: while one of them allows it, it stays open",
                severity=Severity.WARNING,
                related=(Related(policy.value(*FLOWS, earlier, "name"), "the flow that allows it"),),
            )


def _shared(flows: list[Flow], earlier: int, index: int) -> Iterator[tuple[int, int, str]]:
    for item, port in enumerate(flows[index].ports):
        for other in flows[earlier].ports:
            if is_range(port) and is_range(other) and common(port, other):
                yield earlier, item, common(port, other)
