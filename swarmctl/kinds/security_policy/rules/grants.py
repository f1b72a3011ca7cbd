"""Flows that end: whether there is such an instant, and whether it has passed."""

from __future__ import annotations

import time
from collections.abc import Iterator

from swarmctl.declarations.declaration import Declaration, Unknown
from swarmctl.diagnostics import Code, Diagnostic, Severity
from swarmctl.kinds.security_policy.rules.places import FLOWS
from swarmctl.kinds.security_policy.spec import Flow, instant

NO_INSTANT = Code(
    "SW3309",
    "instant that there is not",
    """`until` is a day of the calendar and a time of day in UTC.

Wrong: `until: "2026-02-30T00:00:00Z"`, `until: "2026-12-01T24:00:00Z"`

Right: `until: "2026-03-01T00:00:00Z"`, `until: "2026-12-02T00:00:00Z"`
""",
)
ENDED = Code(
    "SW3310",
    "flow that has ended",
    """The instant of `until` has passed, so the nodes let nothing in by the flow any more. A warning, by the clock of
the computer that swarmctl runs on: it does no harm, but whoever reads the policy may take it for open.

Wrong: `until: "2020-01-01T00:00:00Z"`

Right: a later instant, or the flow removed
""",
)


def check(policy: Declaration) -> Iterator[Diagnostic]:
    """Instants that there are not, and those that have passed."""
    flows: list[Flow] = policy.spec.network.flows
    for index, flow in enumerate(flows):
        if flow.until is None or isinstance(flow.until, Unknown):
            continue
        where = policy.value(*FLOWS, index, "until")
        try:
            ends = instant(flow.until)
        except ValueError:
            yield Diagnostic(
                NO_INSTANT,
                f"there is no `{flow.until}`",
                where,
                label="not in the calendar",
                help="write a day that there is and a time from 00:00:00 to 23:59:59",
            )
            continue
        if ends <= time.time():
            yield Diagnostic(
                ENDED,
                f"the flow `{flow.name}` has ended, at {flow.until}",
                where,
                label="has passed",
                help="remove the flow, or give it a later instant",
                severity=Severity.WARNING,
            )
