"""A saved plan: what was reviewed, and what it was made from. It is applied exactly so, or refused.

The file is a `swarmctl/plan/v1` document with `preconditions` in it. Its body is the same, byte for byte, whenever and
wherever it is made from the same things. When it was made, when it expires, its id and its signature stand outside.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from swarmctl import durable
from swarmctl.errors import PlanRefused, SwarmError
from swarmctl.plans import encode, sshsig
from swarmctl.plans.checks import AGAIN, Trust, check, compare, verify
from swarmctl.plans.model import Plan, Preconditions
from swarmctl.plans.resume import compare_resumed
from swarmctl.plans.saved import OUTSIDE, SavedPlan, body_digest, message, moment, plan_id, timestamp
from swarmctl.plans.shape import mistake
from swarmctl.plans.signing import Sign, Signer

__all__ = ["SavedPlan", "Signer", "Trust", "check", "compare", "compare_resumed", "load", "save", "verify"]

EXPIRES = timedelta(hours=24)
"""How long a plan is good for unless something else is asked for."""
_LARGEST = 128 * 1024 * 1024
"""Bytes; a plan of 10,000 resources has about 20 million."""


def save(
    path: Path,
    plan: Plan,
    preconditions: Preconditions,
    signer: Sign,
    *,
    expires: timedelta = EXPIRES,
    now: datetime | None = None,
) -> SavedPlan:
    """Write a plan file, whole or not at all, and return it as `load` would.

    Raises SwarmError when it can't be signed or written.
    """
    body = {**encode.plan(plan), "preconditions": asdict(preconditions)}
    made = now or datetime.now(UTC)
    created, until = timestamp(made), timestamp(made + expires)
    digest = body_digest(body)
    signed = message(digest, created, until)
    outside = {"createdAt": created, "expiresAt": until, "id": plan_id(signed), "digest": digest}
    document = {**body, **outside, "signature": signer(signed)}
    if wrong := mistake(document):
        raise SwarmError(f"this plan can't be saved: {wrong}", "apply it without --plan, and report this")
    try:
        # Its reader need not be its maker: there is no secret in it.
        durable.write(path, _text(document), 0o644)
    except OSError as error:
        raise SwarmError(f"cannot write the plan to {path}: {error.strerror}", "choose another --out") from error
    return _saved(document)


def _text(document: Mapping[str, Any]) -> bytes:
    """The one way in which a plan is laid out."""
    compact = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return msgspec.json.format(compact.encode("utf-8", "surrogatepass"), indent=2) + b"\n"


def load(path: Path) -> SavedPlan:
    """Read a plan file back. Raises PlanRefused when it is none, has another schema, or was changed by hand."""
    try:
        content = _read(path)
        document = _parsed(path, content)
        _require_intact(path, document, content)
        return _saved(document)
    except RecursionError as error:
        raise PlanRefused(f"{path} is not a saved plan: it is nested too deeply", AGAIN) from error


def _require_intact(path: Path, document: dict[str, Any], content: bytes) -> None:
    schema = document.get("schema")
    if schema != encode.SCHEMA:
        found = f"the schema {_brief(schema)}" if "schema" in document else "no schema"
        raise PlanRefused(f"{path} has {found}, not {encode.SCHEMA!r}", AGAIN)
    if missing := [key for key in (*OUTSIDE, "preconditions") if key not in document]:
        raise PlanRefused(f"{path} was not saved by `plan --out`: it has no {' and no '.join(missing)}", AGAIN)
    if document["digest"] != body_digest(_body(document)):
        raise PlanRefused(f"{path} was changed after it was saved: its digest does not fit its content", AGAIN)
    if wrong := mistake(document):
        raise PlanRefused(f"{path} was not saved by `plan --out`: {wrong}", AGAIN)
    signed = message(document["digest"], document["createdAt"], document["expiresAt"])
    if document["id"] != plan_id(signed):
        raise PlanRefused(f"{path} was changed after it was saved: its id does not fit its digest and times", AGAIN)
    try:
        sshsig.verify(document["signature"], signed)
    except sshsig.Unusable as error:
        raise PlanRefused(
            f"{path} was changed after it was signed, or never signed: its signature: {error}", AGAIN
        ) from error
    if content != _text(document):
        raise PlanRefused(f"{path} was changed after it was saved: it is not laid out as `plan --out` does it", AGAIN)


def _body(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in OUTSIDE}


def _saved(document: Mapping[str, Any]) -> SavedPlan:
    body = _body(document)
    return SavedPlan(
        stack=body["stack"],
        body=body,
        preconditions=Preconditions(**body["preconditions"]),
        digest=document["digest"],
        created=moment(document["createdAt"]),
        expires=moment(document["expiresAt"]),
        id=document["id"],
        signature=document["signature"],
    )


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # What the file system says of its size is not asked: pipes and devices have none.
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise PlanRefused(f"cannot read the plan {path}: {error.strerror}", "name the file that --out wrote") from error
    if len(content) > _LARGEST:
        raise PlanRefused(f"{path} is too large for a plan", AGAIN)
    return content


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content, parse_constant=_no_json, object_pairs_hook=_once)
    except ValueError as error:
        raise PlanRefused(f"{path} is not a saved plan: it is not JSON", AGAIN) from error
    if not isinstance(document, dict):
        raise PlanRefused(f"{path} is not a saved plan", AGAIN)
    return document


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping that names nothing twice: whoever reviews the file might be shown the other one."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field is there twice")
    return found
