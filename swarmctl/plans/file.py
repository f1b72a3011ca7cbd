"""A saved plan: what was reviewed, and what it was made from. It is applied exactly so, or refused.

The file is a `swarmctl/plan/v1` document with `preconditions` in it. Its body is the same, byte for byte, whenever and
wherever it is made from the same things; `createdAt` and `digest` (SHA-256 over the body) stand outside the body.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from swarmctl.errors import PlanRefused, SwarmError
from swarmctl.plans import encode
from swarmctl.plans.model import Plan, Preconditions
from swarmctl.plans.shape import mistake

_OUTSIDE = ("createdAt", "digest")
_LARGEST = 128 * 1024 * 1024
"""Bytes; a plan of 10,000 resources has about 20 million."""
_AGAIN = "run `swarmctl plan --out FILE` again and review what it says now"
_NAMED = 8


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan file that was read and is intact."""

    stack: str
    body: Mapping[str, Any]
    preconditions: Preconditions


def save(path: Path, plan: Plan, preconditions: Preconditions, *, now: datetime | None = None) -> None:
    """Write a plan file, whole or not at all. Raises SwarmError when it can't be written."""
    body = {**encode.plan(plan), "preconditions": asdict(preconditions)}
    created = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {**body, "createdAt": created, "digest": _digest(body)}
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    try:
        _write(path, text)
    except OSError as error:
        raise SwarmError(f"cannot write the plan to {path}: {error.strerror}", "choose another --out") from error


def _write(path: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogatepass") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load(path: Path) -> SavedPlan:
    """Read a plan file back. Raises PlanRefused when it is none, has another schema, or was changed by hand."""
    try:
        return _intact(path, _parsed(path, _read(path)))
    except RecursionError as error:
        raise PlanRefused(f"{path} is not a saved plan: it is nested too deeply", _AGAIN) from error


def _intact(path: Path, document: dict[str, Any]) -> SavedPlan:
    schema = document.get("schema")
    if schema != encode.SCHEMA:
        raise PlanRefused(f"{path} has the schema {_brief(schema)}, not {encode.SCHEMA!r}", _AGAIN)
    body = {key: value for key, value in document.items() if key not in _OUTSIDE}
    if "digest" not in document or "preconditions" not in document:
        raise PlanRefused(f"{path} was not saved by `plan --out`: it has no digest and no preconditions", _AGAIN)
    if document["digest"] != _digest(body):
        raise PlanRefused(f"{path} was changed after it was saved: its digest does not fit its content", _AGAIN)
    if wrong := mistake(document):
        raise PlanRefused(f"{path} was not saved by `plan --out`: {wrong}", _AGAIN)
    return SavedPlan(body["stack"], body, Preconditions(**body["preconditions"]))


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
        raise PlanRefused(f"{path} is too large for a plan", _AGAIN)
    return content


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content, parse_constant=_no_json)
    except ValueError as error:
        raise PlanRefused(f"{path} is not a saved plan: it is not JSON", _AGAIN) from error
    if not isinstance(document, dict):
        raise PlanRefused(f"{path} is not a saved plan", _AGAIN)
    return document


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def check(saved: SavedPlan, stack: str, now: Preconditions) -> None:
    """Before anything is asked of the engine: is the plan for this stack, and made from what is there now?

    Raises PlanRefused with every precondition that has moved.
    """
    if saved.stack != stack:
        raise PlanRefused(f"the plan is for the stack {saved.stack}, not for {stack}", "choose the stack with -C")
    if moved := list(_moved(saved.preconditions, now)):
        raise PlanRefused("the plan is stale; nothing was touched", _AGAIN, details=moved)


def _moved(then: Preconditions, now: Preconditions) -> Iterator[str]:
    for tool in sorted({*then.versions, *now.versions}):
        before, after = then.versions.get(tool), now.versions.get(tool)
        if before != after:
            yield f"versions: it was made with {tool} {before or '(none)'}, this is {after or '(none)'}"
    if then.declarations != now.declarations:
        yield "declarations: the files say something else than when the plan was made"
    elif then.graph != now.graph:
        yield "graph: the same files now stand for other resources"
    if then.state != now.state:
        yield "state: something was applied or destroyed since the plan was made"


def compare(saved: SavedPlan, fresh: Plan) -> None:
    """Before the first change: would the engine do now what was reviewed? Raises PlanRefused naming what differs."""
    body = json.loads(_canonical(encode.plan(fresh)))
    reviewed = {change["address"]: change for change in saved.body["changes"]}
    would = {change["address"]: change for change in body["changes"]}
    different = [
        f"{address}: {_told(reviewed.get(address))} in the plan, {_told(would.get(address))} now"
        for address in sorted({*reviewed, *would})
        if reviewed.get(address) != would.get(address)
    ]
    if saved.body["summary"] != body["summary"] and not different:
        different = ["the number of unchanged resources is another"]
    if different:
        more = [f"and {len(different) - _NAMED} more"] if len(different) > _NAMED else []
        raise PlanRefused(
            "the world has moved since the plan was made; nothing was touched",
            _AGAIN,
            details=[*different[:_NAMED], *more],
        )


def _told(change: Mapping[str, Any] | None) -> str:
    if change is None:
        return "unchanged"
    count = len(change["properties"])
    return f"{change['action']} of {count} propert{'y' if count == 1 else 'ies'}"


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(body)).hexdigest()
