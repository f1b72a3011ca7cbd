"""The published state as a file: `state.json`, compact JSON, written by one version of swarmctl and read by others."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from swarmctl import __version__
from swarmctl.errors import SwarmError
from swarmctl.state.checkpoint import StateUnreadable, sound
from swarmctl.state.model import Applied, PlanMark, Published

Json = Any
FILE = "state.json"
SCHEMA = "swarmctl/state/v1"
_FAMILY = "swarmctl/state/v"
NEEDS = "0.1.0"
"""The least version of swarmctl that reads what this one writes."""
PLANS = 50
"""How many plans that were applied are remembered."""
_NEEDLESS = ("sourcePosition", "stackTrace", "created", "modified")
"""What the engine notes of a resource (sdk/go/common/apitype, `ResourceV3`) and never asks for again."""


class StateTooNew(SwarmError):
    """The state was written by a newer swarmctl, in a form that this one does not know."""


def encode(published: Published) -> bytes:
    """The file's content."""
    applied = published.applied
    document = {
        "schema": SCHEMA,
        "writer": published.writer,
        "needs": NEEDS,
        "stack": published.stack,
        "generation": published.generation,
        "token": published.token,
        "applied": applied
        and {"complete": applied.complete, "graph": applied.graph, "versions": dict(sorted(applied.versions.items()))},
        "plans": [{"id": plan.id, "finished": plan.finished} for plan in published.plans[-PLANS:]],
        "checkpoint": compact(published.checkpoint),
    }
    return msgspec.json.encode(document) + b"\n"


def decode(content: bytes) -> Published:
    """Read a file. Raises `StateUnreadable` when it is cut off or something else altogether, `StateTooNew`."""
    try:
        document = msgspec.json.decode(content)
    except (ValueError, RecursionError) as error:
        raise StateUnreadable(f"the recorded state is not readable: {error}") from None
    if not isinstance(document, dict):
        raise StateUnreadable("the recorded state is not readable: it is no state of swarmctl's")
    _require_known(*(document.get(name) for name in ("schema", "needs", "writer")))
    try:
        return _published(document)
    except (KeyError, TypeError, ValueError) as error:
        raise StateUnreadable(f"the recorded state is not readable: {_why(error)}") from None


class _Head(msgspec.Struct):
    schema: str
    needs: str
    writer: str
    generation: int


def generation(content: bytes) -> int:
    """The generation of a file, without looking at the rest. Raises like `decode`."""
    try:
        head = msgspec.json.decode(content, type=_Head)
    except ValueError:
        return decode(content).generation
    _require_known(head.schema, head.needs, head.writer)
    return head.generation


def _require_known(schema: Json, needs: Json, writer: Json) -> None:
    if not isinstance(schema, str) or not schema.startswith(_FAMILY):
        raise StateUnreadable("the recorded state is not readable: it is no state of swarmctl's")
    needs = str(needs or "?")[:40]
    if schema != SCHEMA or version(needs) > version(__version__):
        raise StateTooNew(
            f"the state was written by swarmctl {str(writer or '?')[:40]} and needs {needs} or newer; this is "
            f"{__version__}",
            f"install swarmctl {needs} or newer; nothing was read or written with this one",
        )


def _published(document: Mapping[str, Json]) -> Published:
    applied = document["applied"]
    return Published(
        stack=_is(document["stack"], str),
        generation=_is(document["generation"], int),
        token=_is(document["token"], int),
        writer=_is(document["writer"], str),
        checkpoint=sound(document["checkpoint"]),
        applied=None
        if applied is None
        else Applied(_is(applied["graph"], str), _is(applied["complete"], bool), _is(applied["versions"], dict)),
        plans=tuple(PlanMark(_is(plan["id"], str), _is(plan["finished"], bool)) for plan in document["plans"]),
    )


def _is(value: Json, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__} expected, {type(value).__name__} found")
    return value


def _why(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def version(text: str) -> tuple[int, ...]:
    """A version's numbers, to compare: `0.10.0rc1` is `(0, 10, 0)`; empty for what is none."""
    numbers = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, numbers[0].split("."))) if numbers else ()


def compact(checkpoint: Mapping[str, Json]) -> dict[str, Json]:
    """The checkpoint without what nobody reads: traces of where a resource was registered, times, empty parts."""
    deployment = checkpoint["checkpoint"].get("latest")
    if not deployment:
        return dict(checkpoint)
    resources = [
        {name: value for name, value in resource.items() if name not in _NEEDLESS and value not in (None, {}, [], "")}
        for resource in deployment.get("resources") or ()
    ]
    return {**checkpoint, "checkpoint": {**checkpoint["checkpoint"], "latest": {**deployment, "resources": resources}}}


def marked(plans: Sequence[PlanMark], identifier: str, *, finished: bool) -> tuple[PlanMark, ...]:
    """The plans that were applied, with this one as the last."""
    return (*(plan for plan in plans if plan.id != identifier), PlanMark(identifier, finished))
