"""What a run of the engine did, as an `Outcome`. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from swarmctl.engine import changes
from swarmctl.engine.changes import Context
from swarmctl.engine.events import Gathered, Step
from swarmctl.engine.outcome import Failure, Outcome, Skipped
from swarmctl.engine.watchdog import limit_name
from swarmctl.graph.model import Address, Resource
from swarmctl.provider.steps import OVERTIME


def same(gathered: Gathered, context: Context, held: Collection[str]) -> int:
    """How many needed nothing; what was held was not asked."""
    return len(gathered.kept - set(held) - changes.protected_alone(gathered, context))


def outcome(
    gathered: Gathered, context: Context, held: Collection[str], skipped: Mapping[str, str], *, interrupted: bool
) -> Outcome:
    """`skipped`: what was not begun, and why, by address; `held`: see `Session.update`."""

    def node(address: str) -> str:
        resource = _resource(address, context)
        return resource.node if resource else ""

    return Outcome(
        changes=changes.changes(gathered, context, gathered.done - gathered.failures.keys()),
        failures=tuple(
            Failure(step.address, context.place(step).node, step.error + _advice(step, context))
            for step in gathered.failures.values()
        ),
        interrupted=interrupted,
        same=same(gathered, context, held),
        skipped=tuple(Skipped(address, node(address), why) for address, why in sorted(skipped.items())),
        emptied=tuple(sorted(gathered.emptied - (gathered.done - gathered.failures.keys()))),
    )


def _resource(address: str, context: Context) -> Resource | None:
    return context.graph.resources.get(Address.parse(address)) if context.graph else None


def _advice(step: Step, context: Context) -> str:
    """A line on what says how long a step may take that took longer: the provider does not know it."""
    if OVERTIME not in step.error:
        return ""
    pool = context.place(step).pool
    if pool:
        return f"\nIf it needs more, raise `spec.timeouts.{limit_name(step.op)}` of the NodePool {pool}."
    address = Address.parse(step.address)
    return f"\nIt is declared by {address.kind}/{address.name}."
