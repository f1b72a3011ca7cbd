"""The engine's events (sdk/go/common/apitype, `EngineEvent`) gathered into what happened, or would happen.

This module knows Pulumi's words and nothing of ours beyond addresses; `changes` turns what is gathered here into plans.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from typing import Any

from swarmctl.kinds.base import UNKNOWN
from swarmctl.state.checkpoint import PREFIX, address_of, plain

Json = Any
_LOG = logging.getLogger(__name__)


@unique
class Op(StrEnum):
    """What the engine does to one resource in one step."""

    SAME = "same"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    REPLACE = "replace"
    CREATE_REPLACEMENT = "create-replacement"
    DELETE_REPLACED = "delete-replaced"
    REFRESH = "refresh"
    OTHER = "other"

    @classmethod
    def _missing_(cls, value: object) -> Op:
        return cls.OTHER


PREVIEW_FAILED = "Preview failed: "
"""What the engine puts before every error of a preview (sdk/go/common/diag, `GetPreviewFailedError`)."""
REPLACING = frozenset({Op.REPLACE, Op.CREATE_REPLACEMENT, Op.DELETE_REPLACED})


@unique
class Moment(StrEnum):
    """When in a step an event comes."""

    BEGIN = "resourcePreEvent"
    END = "resOutputsEvent"
    FAILED = "resOpFailedEvent"


@dataclass(frozen=True, slots=True)
class State:
    """A resource before or after a step; unknown values are `UNKNOWN`, secrets `{"secret": true}`."""

    inputs: Mapping[str, Json]
    outputs: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Step:
    """One event about one resource."""

    moment: Moment
    op: Op
    address: str
    type: str
    old: State | None
    new: State | None
    error: str = ""
    """Why, when it failed."""
    formerly: str = ""
    """The address that it has in the state, when that is another."""
    begun: bool = False
    """What is recorded was begun to be created and never finished."""


@dataclass(slots=True)
class Gathered:
    """Everything that one run of the engine told, by address and in the order of the steps' beginnings."""

    refreshed: dict[str, Step] = field(default_factory=dict)
    """How the world was read back: ends of refreshes; `new` is None for what is gone."""
    steps: dict[str, Step] = field(default_factory=dict)
    """What is or would be done; of a replacement's three steps the one that knows both sides."""
    done: set[str] = field(default_factory=set)
    """Addresses whose (last) step came to its end."""
    failures: dict[str, Step] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    """Addresses of what needed nothing."""
    complaints: list[str] = field(default_factory=list)
    """Errors that belong to no resource."""
    unplaced: dict[str, list[str]] = field(default_factory=dict)
    """Errors by the address of their resource, which may be one of the engine's own, until the engine sums up."""
    finished: bool = False
    """The engine summed up: it ran to its own end, successful or not."""

    @property
    def same(self) -> int:
        """How many resources needed nothing."""
        return len(self.kept)

    @property
    def settled(self) -> set[str]:
        """Addresses of what is as it was asked for, by this run or anyway."""
        return (self.done | self.kept) - self.failures.keys()


class Gatherer:
    """Takes the engine's events one by one; `on_step` hears of each that is about one of our resources."""

    def __init__(
        self, on_step: Callable[[Step], None], result: Gathered | None = None, *, only_refreshes: bool = False
    ) -> None:
        """What is told is gathered in `result`.

        `only_refreshes`: the run is a refresh, in which the engine calls every step by its result."""
        self.result = Gathered() if result is None else result
        self._on_step = on_step
        self._only_refreshes = only_refreshes
        self._begun: dict[str, Step] = {}

    def receive(self, event: Mapping[str, Json]) -> None:
        """One event, as decoded from JSON."""
        if diagnostic := event.get("diagnosticEvent"):
            self._diagnose(diagnostic)
        elif error := event.get("errorEvent"):
            self.result.complaints.append(str(error.get("error", "")).strip())
        elif event.get("summaryEvent"):
            self._finish()
        for step in self._steps(event):
            self._keep(step)
            self._on_step(step)

    def _diagnose(self, diagnostic: Mapping[str, Json]) -> None:
        if diagnostic["severity"] != "error":
            return
        message = diagnostic["message"].strip().removeprefix(PREVIEW_FAILED)
        _LOG.debug("the engine: %s%s", message, f" ({diagnostic['urn']})" if diagnostic.get("urn") else "")
        if diagnostic.get("urn"):
            self.result.unplaced.setdefault(address_of(diagnostic["urn"]), []).append(message)
        else:
            self.result.complaints.append(message)

    def _finish(self) -> None:
        """In a preview the engine tells of a failed step only by its error."""
        self.result.finished = True
        for address, messages in self.result.unplaced.items():
            begun = self._begun.get(address)
            if begun is None:  # the engine's own: the stack, the provider
                self.result.complaints.extend(messages)
            elif address not in self.result.failures:
                self.result.failures[address] = replace(begun, moment=Moment.FAILED, error="\n".join(messages))
        self.result.unplaced.clear()

    def _steps(self, event: Mapping[str, Json]) -> Iterator[Step]:
        for moment in Moment:
            metadata = event.get(moment, {}).get("metadata")
            if metadata is None or not metadata["type"].startswith(PREFIX):
                continue
            address = address_of(metadata["urn"])
            op = Op.REFRESH if self._only_refreshes else Op(metadata["op"])
            error = self._error(address, metadata) if moment is Moment.FAILED else ""
            old, new = _state(metadata["old"]), _state(metadata["new"])
            formerly = address_of((metadata["old"] or {}).get("urn") or metadata["urn"])
            yield Step(
                moment,
                op,
                address,
                metadata["type"],
                old,
                new,
                error,
                formerly=formerly if formerly != address else "",
                begun=bool((metadata["old"] or {}).get("initErrors")),
            )

    def _error(self, address: str, metadata: Mapping[str, Json]) -> str:
        """The reasons that the provider gave, else what the engine said about the resource."""
        reasons = (
            (metadata["new"] or {}).get("initErrors")
            or self.result.unplaced.get(address)
            or ["the engine gave no reason"]
        )
        return "\n".join(reasons)

    def _keep(self, step: Step) -> None:
        result = self.result
        if step.moment is Moment.BEGIN:
            self._begun[step.address] = step
        if step.moment is Moment.FAILED:
            result.failures[step.address] = step
        elif step.op is Op.REFRESH:
            if step.moment is Moment.END:
                result.refreshed[step.address] = step
        elif step.op is Op.SAME and not step.formerly:
            if step.moment is Moment.END:
                result.kept.add(step.address)
        elif step.op is not Op.OTHER:
            known = result.steps.get(step.address)
            # Of a replacement, removing the old one says nothing about the new one.
            if known is None or step.op is not Op.DELETE_REPLACED:
                result.steps[step.address] = step
            if step.moment is Moment.END and step.op not in (Op.DELETE_REPLACED, Op.REPLACE):
                result.done.add(step.address)


def _state(metadata: Mapping[str, Json] | None) -> State | None:
    if metadata is None:
        return None
    return State(
        plain(metadata.get("inputs") or {}, unknown=UNKNOWN), plain(metadata.get("outputs") or {}, unknown=UNKNOWN)
    )
