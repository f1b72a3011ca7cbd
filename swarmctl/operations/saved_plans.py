"""Saved plans of a stack: whose signature counts, and the file that `plan --out` writes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from swarmctl.errors import PlanRefused
from swarmctl.operations.plan import Planned
from swarmctl.plans import file, signing
from swarmctl.plans.saved import SavedPlan


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
