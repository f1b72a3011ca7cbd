"""Saved plans of a stack: whose signature counts, and the file that `plan --out` writes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from swarmctl.errors import PlanRefused
from swarmctl.operations import stack as stacks
from swarmctl.operations.plan import Planned
from swarmctl.operations.stack import Stack
from swarmctl.plans import checks, file, signing
from swarmctl.plans.model import Plan
from swarmctl.plans.saved import SavedPlan
from swarmctl.state import destroyed

if TYPE_CHECKING:
    from swarmctl.engine.install import Engine


def save(out: Path, planned: Planned, *, expires: timedelta = file.EXPIRES, key: Path | None = None) -> tuple[str, str]:
    """Save a plan signed with the key in the file `key`, or else with the one kept with the state.

    Returns who signed it, in words, and, when `apply --plan` would not take that signature, why; one of the two is
    empty. Raises SwarmError when it can't be signed or written.
    """
    sign = signing.with_key(key) if key else signing.with_local_key(planned.signing_key)
    saved = file.save(out, planned.plan, planned.preconditions, sign, expires=expires)
    try:
        return trust(saved, planned.signers, planned.signing_key).text, ""
    except PlanRefused as refusal:
        return "", refusal.message


def trust(saved: SavedPlan, accepted: tuple[signing.Signer, ...], signing_key: Path) -> file.Trust:
    """Who signed it. Raises PlanRefused when that is nobody whose plans are accepted."""
    return file.verify(saved, accepted, signing.local_public_key(signing_key))


def require(saved: SavedPlan, stack: Stack, engine: Engine) -> bool:
    """Whether the plan was begun and interrupted, so that what is left of it may be done.

    Raises PlanRefused when it was carried out already, or is not made from what is there now, SwarmError.
    """
    marks = {mark.id: mark.finished for mark in (stack.published.plans if stack.published else ())}
    begun = saved.id in marks
    checks.check(
        saved,
        stack.identity,
        stacks.preconditions(stack, engine),
        resumed=begun,
        finished=marks.get(saved.id, False),
        destroyed=destroyed.last(stack.store.folder),
    )
    return begun


def compare(saved: SavedPlan, fresh: Plan, stack: Stack, *, resumed: bool) -> None:
    """Raises PlanRefused unless what would be done now is the plan, or what is left of one that was begun."""
    if resumed:
        outputs = {address: recorded.outputs for address, recorded in stack.snapshot.resources.items()}
        file.compare_resumed(saved, fresh, outputs)
    else:
        file.compare(saved, fresh)
