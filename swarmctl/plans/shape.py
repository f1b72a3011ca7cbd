"""The shape of a saved plan file, checked to the last field: whoever can compute a digest can write any JSON."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import msgspec
import msgspec.structs
from msgspec import UNSET, UnsetType

from swarmctl.graph.model import Address
from swarmctl.plans.saved import moment
from swarmctl.plans.values import unknowns

_Action = Literal["create", "adopt", "update", "replace", "delete", "same"]


class _Strict(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Every field is there, and no other."""


class _Property(_Strict):
    path: str
    action: Literal["add", "update", "delete"]
    replaces: bool
    reason: str
    before: Any | UnsetType = UNSET
    after: Any | UnsetType = UNSET


class _Effect(_Strict):
    action: str
    text: str


class _Change(_Strict):
    address: str
    type: str
    action: _Action
    node: str
    cluster: str
    pool: str
    properties: list[_Property]
    effects: list[_Effect]
    impact: str
    drifted: bool
    timeout: int
    guarded: str


class _Drifted(_Strict):
    address: str
    type: str
    node: str
    path: str
    expected: Any
    actual: Any


class _Summary(_Strict):
    create: int
    adopt: int
    update: int
    replace: int
    delete: int
    same: int


class _Preconditions(_Strict):
    declarations: str
    graph: str
    state: str
    versions: dict[str, str]
    secrets: dict[str, str]


class _File(_Strict):
    schema: str
    stack: str
    summary: _Summary
    nodes: list[str]
    changes: list[_Change]
    drift: list[_Drifted]
    notes: list[str]
    partial: list[str]
    world_read: bool
    unfenced: list[str]
    preconditions: _Preconditions
    created_at: str
    expires_at: str
    id: str
    digest: str
    signature: str


def mistake(document: dict[str, Any]) -> str:
    """What is wrong with the shape of a plan file, in words with the place; empty when nothing is."""
    try:
        file = msgspec.convert(document, _File, strict=True)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$")
        return f"{place.rstrip('`').removeprefix('.') or 'the file'}: {what[:1].lower()}{what[1:]}"
    except UnicodeEncodeError:
        return "a field's name is no text"
    return _contradiction(file)


def _contradiction(file: _File) -> str:
    address, times = next(iter(Counter(change.address for change in file.changes).most_common(1)), ("", 0))
    if times > 1:
        return f"changes: {address} is there twice"
    counted = Counter[str](change.action for change in file.changes)
    for action, told in msgspec.structs.asdict(file.summary).items():
        if action != "same" and told != counted[action]:
            return f"summary.{action}: {told}, and the changes have {counted[action]}"
    if sorted({change.node for change in file.changes if change.node}) != file.nodes:
        return "nodes: not those of the changes"
    return _unnamed(file) or _times(file)


def _unnamed(file: _File) -> str:
    """An unknown value is filled at apply, by the output that it names and by no other."""
    for change in file.changes:
        for diff in change.properties:
            if not all(map(_is_source, unknowns(diff.after))):
                return f"changes: {change.address} waits for a value and does not say whose it is ({diff.path})"
    return ""


def _is_source(text: str) -> bool:
    address, _, name = text.rpartition(".")
    try:
        Address.parse(address)
    except ValueError:
        return False
    return bool(name)


def _times(file: _File) -> str:
    try:
        created, expires = moment(file.created_at), moment(file.expires_at)
    except ValueError as error:
        return f"createdAt, expiresAt: {error}"
    return "" if created < expires else "expiresAt: not after createdAt"
