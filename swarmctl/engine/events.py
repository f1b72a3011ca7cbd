"""The engine's events (sdk/go/common/apitype, `EngineEvent`) gathered into what happened, or would happen.

This module knows Pulumi's words and nothing of ours beyond addresses; `changes` turns what is gathered here into plans.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from typing import Any

import msgspec

from swarmctl.kinds.base import UNKNOWN
from swarmctl.provider.steps import NOT_BEGUN
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


ADOPTED = "swarm:adopted"
"""The output by which the provider tells in a preview that what would be created is there already: its inputs as they
were read."""
PREVIEW_FAILED = "Preview failed: "
"""What the engine puts before every error of a preview (sdk/go/common/diag, `GetPreviewFailedError`)."""
_REMOVING = frozenset({Op.DELETE, Op.DELETE_REPLACED})
REPLACING = frozenset({Op.REPLACE, Op.CREATE_REPLACEMENT, Op.DELETE_REPLACED})


@unique
class Moment(StrEnum):
    """When in a step an event comes."""

    BEGIN = "resourcePreEvent"
    END = "resOutputsEvent"
    FAILED = "resOpFailedEvent"


class RawState(msgspec.Struct):
    """A resource in an event (`StepEventStateMetadata`); most are never decoded further than this."""

    urn: str = ""
    inputs: msgspec.Raw = msgspec.Raw(b"null")
    outputs: msgspec.Raw = msgspec.Raw(b"null")
    initErrors: list[str] | None = None


class RawStep(msgspec.Struct):
    """`StepEventMetadata`."""

    op: str
    urn: str
    type: str
    old: RawState | None = None
    new: RawState | None = None


class RawStepEvent(msgspec.Struct):
    """One of the three that are about a resource."""

    metadata: RawStep


class RawDiagnostic(msgspec.Struct):
    """`DiagnosticEvent`."""

    message: str
    severity: str
    urn: str = ""


class RawError(msgspec.Struct):
    """`ErrorEvent`."""

    error: str = ""


class RawSummary(msgspec.Struct):
    """`SummaryEvent`: that there is one is all that matters."""


class EngineEvent(msgspec.Struct):
    """`EngineEvent`: one of these is set; of all other events nothing is."""

    diagnosticEvent: RawDiagnostic | None = None
    errorEvent: RawError | None = None
    summaryEvent: RawSummary | None = None
    resourcePreEvent: RawStepEvent | None = None
    resOutputsEvent: RawStepEvent | None = None
    resOpFailedEvent: RawStepEvent | None = None


_DECODER = msgspec.json.Decoder(EngineEvent)


def decode(text: str) -> EngineEvent:
    """One event of the engine. Raises `msgspec.DecodeError` when it is none."""
    return _DECODER.decode(text)


@dataclass(frozen=True, slots=True)
class State:
    """A resource before or after a step; unknown values are `UNKNOWN`, secrets `{"secret": true}`."""

    inputs: Mapping[str, Json]
    outputs: Mapping[str, Json]


SAME_STATE = State({}, {})
"""In place of both states of what was read back and found as it is recorded: there is nothing to tell of it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One event about one resource."""

    moment: Moment
    op: Op
    address: str
    type: str
    old: State | None
    new: State | None
    """Inputs and, in readings, outputs; of what begins and of what stays the same nothing but the place."""
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
    emptied: set[str] = field(default_factory=set)
    """Addresses at which the old one was removed to make room for another."""
    failures: dict[str, Step] = field(default_factory=dict)
    refused: dict[str, Step] = field(default_factory=dict)
    """What the provider did not begin any more, since the run is being stopped."""
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
        self,
        on_step: Callable[[Step], None],
        result: Gathered | None = None,
        *,
        only_refreshes: bool = False,
        on_note: Callable[[str], None] = lambda text: None,
        moved: Mapping[str, str] | None = None,
    ) -> None:
        """What is told is gathered in `result`; `on_note` hears what the provider has to say while a step goes on.

        `moved`: address in the state → address now. Of what moves and is made anew in one run, the engine removes the
        old one at the old address; here both are one replacement, at the new one.

        `only_refreshes`: the run is a refresh, in which the engine calls every step by its result."""
        self.result = Gathered() if result is None else result
        self._on_step = on_step
        self._only_refreshes = only_refreshes
        self._on_note = on_note
        self._moved = moved or {}
        self._begun: dict[str, RawStep] = {}

    def receive(self, event: EngineEvent) -> None:
        """One event."""
        if event.diagnosticEvent is not None:
            self._diagnose(event.diagnosticEvent)
        elif event.errorEvent is not None:
            self.result.complaints.append(event.errorEvent.error.strip())
        elif event.summaryEvent is not None:
            self._finish()
        for moment, found in (
            (Moment.BEGIN, event.resourcePreEvent),
            (Moment.END, event.resOutputsEvent),
            (Moment.FAILED, event.resOpFailedEvent),
        ):
            if found is not None and found.metadata.type.startswith(PREFIX):
                step = self._step(moment, found.metadata)
                self._keep(step, found.metadata)
                self._on_step(step)

    def _diagnose(self, diagnostic: RawDiagnostic) -> None:
        if diagnostic.severity == "info" and diagnostic.urn:
            self._on_note(f"{address_of(diagnostic.urn)}: {diagnostic.message.strip()}")
        if diagnostic.severity != "error":
            return
        message = diagnostic.message.strip().removeprefix(PREVIEW_FAILED)
        _LOG.debug("the engine: %s%s", message, f" ({diagnostic.urn})" if diagnostic.urn else "")
        if diagnostic.urn:
            self.result.unplaced.setdefault(address_of(diagnostic.urn), []).append(message)
        else:
            self.result.complaints.append(message)

    def _finish(self) -> None:
        """In a preview the engine tells of a failed step only by its error."""
        self.result.finished = True
        for address, messages in self.result.unplaced.items():
            now = self._moved.get(address, address)
            begun = self._begun.get(address) or self._begun.get(now)
            if not {address, now}.isdisjoint({*self.result.failures, *self.result.refused}):
                continue
            if begun is None:  # the engine's own: the stack, the provider
                self.result.complaints.extend(messages)
            else:
                step = replace(self._step(Moment.FAILED, begun), error="\n".join(messages))
                self.result.failures[step.address] = step
        self.result.unplaced.clear()

    def _step(self, moment: Moment, raw: RawStep) -> Step:
        told = address_of(raw.urn)
        op = Op.REFRESH if self._only_refreshes else Op(raw.op)
        address = self._moved.get(told, told) if op is Op.DELETE_REPLACED else told
        formerly = address_of((raw.old and raw.old.urn) or raw.urn)
        old, new = _states(moment, op, raw)
        return Step(
            moment,
            op,
            address,
            raw.type,
            old,
            new,
            self._error(told, raw) if moment is Moment.FAILED else "",
            formerly=formerly if formerly != address else "",
            begun=bool(raw.old and raw.old.initErrors),
        )

    def _error(self, address: str, raw: RawStep) -> str:
        """The reasons that the provider gave, else what the engine said about the resource."""
        reasons = (raw.new and raw.new.initErrors) or self.result.unplaced.get(address) or ["the engine gave no reason"]
        return "\n".join(reasons)

    def _keep(self, step: Step, raw: RawStep) -> None:
        result = self.result
        if step.moment is Moment.BEGIN:
            self._begun[step.address] = raw
            return
        self._begun.pop(step.address, None)
        if step.moment is Moment.FAILED:
            (result.refused if step.error == NOT_BEGUN else result.failures)[step.address] = step
        elif step.op is Op.REFRESH:
            result.refreshed[step.address] = step
        elif step.op is Op.SAME and not step.formerly:
            result.kept.add(step.address)
        elif step.op is not Op.OTHER:
            known = result.steps.get(step.address)
            # Of a replacement, removing the old one says nothing about the new one.
            if known is None or step.op is not Op.DELETE_REPLACED:
                result.steps[step.address] = step
            if step.op is Op.DELETE_REPLACED:
                result.emptied.add(step.address)
            elif step.op is not Op.REPLACE:
                result.done.add(step.address)


def _states(moment: Moment, op: Op, raw: RawStep) -> tuple[State | None, State | None]:
    """What is worth keeping of both sides: most of what an event holds is never asked for."""
    old, new = raw.old, raw.new
    if moment is Moment.BEGIN:
        return (_state(old) if op in _REMOVING else None), None
    if op is Op.REFRESH and moment is Moment.END:
        if old is not None and new is not None and _alike(old.inputs, new.inputs) and _alike(old.outputs, new.outputs):
            return SAME_STATE, SAME_STATE
        return _state(old, outputs=True), _state(new, outputs=True)
    if op is Op.SAME and old is not None and new is not None and old.urn in ("", new.urn):
        return SAME_STATE, SAME_STATE
    return _state(old), _state(new, outputs=new is not None and ADOPTED.encode() in bytes(new.outputs))


def _alike(one: msgspec.Raw, other: msgspec.Raw) -> bool:
    return bytes(one) == bytes(other)


def _state(raw: RawState | None, *, outputs: bool = False) -> State | None:
    return None if raw is None else State(_plain(raw.inputs), _plain(raw.outputs) if outputs else {})


def _plain(raw: msgspec.Raw) -> Mapping[str, Json]:
    found: Mapping[str, Json] = plain(msgspec.json.decode(raw) or {}, unknown=UNKNOWN)
    return found
