"""What must hold before a saved plan is applied: who signed it, when, what it was made from, what it would do now."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from swarmctl.errors import PlanRefused, SwarmError
from swarmctl.plans import encode, sshsig
from swarmctl.plans.model import Plan, Preconditions
from swarmctl.plans.saved import LONGEST, SavedPlan, canonical, timestamp
from swarmctl.plans.signing import Signer
from swarmctl.plans.values import brief

AGAIN = "run `swarmctl plan --out FILE` again and review what it says now"
SKEW = timedelta(minutes=2)
"""How far the clocks of two machines may be apart."""
OTHER_DECLARATIONS = "declarations: the files say something else than when the plan was made"
NAMED = 8
"""Differences that a refusal names one by one."""
VALUES = 3
"""Properties of one change whose values it tells."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose word a saved plan is."""

    by: str
    """Name of the declared signer; empty when the stack declares none and it was the key kept with the state."""
    fingerprint: str

    @property
    def text(self) -> str:
        """In words, with what it is worth."""
        if self.by:
            return f"signed by {self.by} ({self.fingerprint})"
        return (
            f"signed with the key kept with the state ({self.fingerprint}): this makes tampering evident and nothing "
            "more; declare `signers` in Stack for more"
        )


def verify(saved: SavedPlan, signers: Sequence[Signer], local_public_key: str) -> Trust:
    """Who signed it: one of the declared signers, or, when there are none, the key kept with the state.

    `local_public_key` is `ssh-ed25519 AAAA…`, empty when there is none. Raises PlanRefused naming who else it was, and
    SwarmError when a declared key can't be read.
    """
    try:
        key = sshsig.verify(saved.signature, saved.signed)
    except sshsig.Unusable as error:
        raise PlanRefused(f"signature: the plan is not signed: {error}", AGAIN) from error
    print_ = sshsig.fingerprint(key)
    local = bool(local_public_key) and key == sshsig.public_blob(local_public_key)
    if not signers:
        if local:
            return Trust("", print_)
        whose = (
            "and the key kept with the state is another" if local_public_key else "and no key is kept with the state"
        )
        raise PlanRefused(
            f"signature: the plan is signed by {print_}, which Stack does not declare, {whose}",
            "declare that key under `signers` in Stack, or " + AGAIN,
        )
    for signer in signers:
        if key == _declared(signer):
            return Trust(signer.name, print_)
    who = f"the key kept with the state ({print_})" if local else print_
    names = ", ".join(signer.name for signer in signers)
    raise PlanRefused(
        f"signature: the plan is signed by {who}, which is none of the stack's signers ({names})",
        "let one of them save it with `plan --out FILE --sign-with KEY`",
    )


def _declared(signer: Signer) -> bytes:
    try:
        return sshsig.public_blob(signer.key)
    except sshsig.Unusable as error:
        raise SwarmError(f"the key of the signer {signer.name} can't be used: {error}", "mend it in Stack") from error


def check(
    saved: SavedPlan,
    stack: str,
    now_preconditions: Preconditions,
    *,
    now: datetime | None = None,
    resumed: bool = False,
    finished: bool = False,
    destroyed: datetime | None = None,
) -> None:
    """Before anything is asked of the engine: is the plan for this stack and still good, and made from what is there?

    `now` is what the clock says. `resumed`: it was begun and interrupted, so that it has itself changed the state.
    `finished`: it was carried out. `destroyed`: when the stack was last destroyed.
    Raises PlanRefused with everything that has moved.
    """
    if saved.stack != stack:
        raise PlanRefused(f"the plan is for the stack {saved.stack}, not for {stack}", "choose the stack with -C")
    if finished:
        raise PlanRefused(f"the plan {saved.id[:12]} was carried out already; nothing was touched", AGAIN)
    moved = [
        *untimely(saved, now or datetime.now(UTC)),
        *outlived(saved, destroyed),
        *_moved(saved.preconditions, now_preconditions, resumed=resumed),
    ]
    if moved:
        raise PlanRefused("the plan is stale; nothing was touched", AGAIN, details=moved)


def untimely(saved: SavedPlan, now: datetime) -> Iterator[str]:
    """Why it can't be applied at this time, as far as the clock tells."""
    clock = timestamp(now)
    if now >= saved.expires:
        yield f"clock: it expired at {timestamp(saved.expires)}, and it is {clock}"
    if now < saved.created - SKEW:
        yield f"clock: it was made at {timestamp(saved.created)}, and here it is only {clock}: one clock is wrong"
    if saved.expires - saved.created > LONGEST:
        until = timestamp(saved.expires)
        yield f"clock: it is good until {until}; no plan may be good for more than {LONGEST.days} days"


def outlived(saved: SavedPlan, destroyed: datetime | None) -> Iterator[str]:
    """Why it can't be applied when the stack was last `destroyed` then."""
    if destroyed is not None and saved.created <= destroyed:
        yield f"destroyed: the stack was destroyed at {timestamp(destroyed)}, after the plan was made"


def _moved(then: Preconditions, now: Preconditions, *, resumed: bool) -> Iterator[str]:
    for tool in sorted({*then.versions, *now.versions}):
        before, after = then.versions.get(tool), now.versions.get(tool)
        if before != after:
            yield f"versions: it was made with {tool} {before or '(none)'}, this is {after or '(none)'}"
    if then.declarations != now.declarations:
        yield OTHER_DECLARATIONS
    elif then.graph != now.graph:
        yield "graph: the same files now stand for other resources"
    if then.declarations == now.declarations:
        yield from _secrets(then.secrets, now.secrets)
    if then.state != now.state and not resumed:
        yield "state: something was applied or destroyed since the plan was made"


def _secrets(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """Which resources would get another secret: the same reference, whose value is another one."""
    other = [address for address in sorted({*then, *now}) if then.get(address) != now.get(address)]
    if other:
        more = f" and {len(other) - NAMED} more" if len(other) > NAMED else ""
        names = ", ".join(other[:NAMED])
        yield f"secrets: a declared secret has another value than when the plan was made: {names}{more}"


def compare(saved: SavedPlan, fresh_plan: Plan) -> None:
    """Before the first change: would the engine do now what was reviewed? Raises PlanRefused naming what differs."""
    body = json.loads(canonical(encode.plan(fresh_plan)))
    require_same_part(saved, body)
    reviewed = {change["address"]: change for change in saved.body["changes"]}
    would = {change["address"]: change for change in body["changes"]}
    different = [
        f"{address}: {_otherwise(reviewed.get(address), would.get(address))}"
        for address in sorted({*reviewed, *would})
        if reviewed.get(address) != would.get(address)
    ]
    if not different and saved.body["drift"] != body["drift"] and saved.body["worldRead"] == body["worldRead"]:
        different = list(_drift(saved.body["drift"], body["drift"]))
    if not different and saved.body["summary"] != body["summary"]:
        different = ["the number of unchanged resources is another"]
    refuse_moved(different)


def require_same_part(saved: SavedPlan, body: Mapping[str, Any]) -> None:
    """Raise PlanRefused when one plan is held to other addresses than the other."""
    if saved.body["partial"] != body["partial"]:
        raise PlanRefused(
            f"the plan is of {_part(saved.body['partial'])}, and this would be of {_part(body['partial'])}",
            "apply it without --target: the plan says itself what it is held to",
        )


def _part(partial: Sequence[str]) -> str:
    return ", ".join(partial) or "the whole stack"


def refuse_moved(different: Sequence[str]) -> None:
    """Raise PlanRefused for a world that has moved, unless nothing is different."""
    if different:
        more = [f"and {len(different) - NAMED} more"] if len(different) > NAMED else []
        raise PlanRefused(
            "the world has moved since the plan was made; nothing was touched",
            AGAIN,
            details=[*different[:NAMED], *more],
        )


def told(change: Mapping[str, Any] | None) -> str:
    """A change in a few words."""
    if change is None:
        return "unchanged"
    count = len(change["properties"])
    return f"{change['action']} of {count} propert{'y' if count == 1 else 'ies'}"


def _otherwise(reviewed: Mapping[str, Any] | None, would: Mapping[str, Any] | None) -> str:
    """What is another thing now: of one action the values, when it is another action in few words."""
    both = f"{told(reviewed)} in the plan, {told(would)} now"
    if reviewed is None or would is None or reviewed["action"] != would["action"]:
        return both
    then, now = ({item["path"]: item for item in change["properties"]} for change in (reviewed, would))
    paths = [path for path in sorted({*then, *now}) if then.get(path) != now.get(path)]
    if paths:
        more = [f"and {len(paths) - VALUES} more properties"] if len(paths) > VALUES else []
        return "; ".join([*(_values(path, then.get(path), now.get(path)) for path in paths[:VALUES]), *more])
    fields = [key for key in sorted({*reviewed, *would} - {"properties"}) if reviewed.get(key) != would.get(key)]
    return f"{both} (another {', '.join(fields)})"


def _values(path: str, then: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> str:
    """One property, as the plan has it and as it would be."""
    first, second = _step(then), _step(now)
    if first == second:
        return f"{path}: {first} in the plan, and otherwise now"
    return f"{path}: {first} in the plan, {second} now"


def _step(diff: Mapping[str, Any] | None) -> str:
    if diff is None:
        return "unchanged"
    before, after = (brief(diff[key]) if key in diff else "(none)" for key in ("before", "after"))
    return f"{before} → {after}"


def _drift(then: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    before, after = ({(item["address"], item["path"]): item for item in items} for items in (then, now))
    for address, path in sorted({*before, *after}):
        if before.get((address, path)) != after.get((address, path)):
            yield f"{address}: {path or 'the whole of it'} has drifted otherwise than when the plan was made"
