"""A saved plan shown again, with what can be said of it here: whose it is, and whether `apply --plan` would refuse it.

Works from the file alone. With the declarations, and with the state where there is one, more can be said; the engine
and the world are never asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from swarmctl.errors import PlanRefused, SwarmError
from swarmctl.operations import saved_plans
from swarmctl.operations import stack as stacks
from swarmctl.plans import checks, decode, file, sshsig
from swarmctl.plans.model import Plan
from swarmctl.plans.saved import SavedPlan
from swarmctl.state import destroyed


@dataclass(frozen=True, slots=True)
class Shown:
    """A saved plan, and what is known of it."""

    saved: SavedPlan
    plan: Plan
    signed: str
    """Who signed it, in words."""
    signer: str
    """Name of the declared signer; empty when it is none, or not known here."""
    fingerprint: str
    problems: tuple[str, ...]
    """Why `apply --plan` would refuse it, as far as can be seen without the world; empty when nothing speaks against
    it."""
    unverified: tuple[str, ...]
    """What could not be looked at, and why."""


def show(path: Path, folder: Path, now: datetime | None = None) -> Shown:
    """Read a saved plan. Raises PlanRefused when the file is none, or was changed since it was signed, SwarmError."""
    saved = file.load(path)
    problems = list(checks.untimely(saved, now or datetime.now(UTC)))
    unverified = ["whether state, versions and world are as they were: `apply --plan` looks before the first change"]
    fingerprint = sshsig.fingerprint(sshsig.signing_key(saved.signature))
    signed, signer = f"signed with the key {fingerprint}", ""
    try:
        loaded, store = stacks.load(folder)
    except SwarmError as error:
        unverified.append(f"whose key that is, and what is declared now: {error.message}")
    else:
        if loaded.identity != saved.stack:
            unverified.append(f"whose key that is, and what is declared now: here is the stack {loaded.identity}")
        else:
            try:
                trust = saved_plans.trust(saved, loaded.signers, store.signing_key())
                signed, signer = trust.text, trust.by
            except PlanRefused as refusal:
                problems.append(refusal.message)
            problems += checks.outlived(saved, destroyed.last(store.folder))
            if loaded.digest != saved.preconditions.declarations:
                problems.append(checks.OTHER_DECLARATIONS)
    return Shown(saved, decode.plan(saved.body), signed, signer, fingerprint, tuple(problems), tuple(unverified))
