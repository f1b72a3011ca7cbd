"""What happens while the engine works, as typed events. Rooms below `reports` emit them; only `reports` draws."""

from __future__ import annotations

from dataclasses import dataclass

from swarmctl.plans.model import Action


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """A stretch of work began, such as "reading the world"; `total` is 0 when it is not known."""

    title: str
    total: int = 0


@dataclass(frozen=True, slots=True)
class PhaseEnded:
    """It ended."""

    title: str
    seconds: float


@dataclass(frozen=True, slots=True)
class StepStarted:
    """The engine began to change one resource."""

    address: str
    node: str
    action: Action
    limit: float = 0.0
    """Seconds that it may take; 0 when that is not known."""


@dataclass(frozen=True, slots=True)
class StepNotBegun:
    """It was not begun after all: the run is being stopped."""

    address: str


@dataclass(frozen=True, slots=True)
class StepEnded:
    """It is done; `error` says why when it failed."""

    address: str
    node: str
    action: Action
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """Something to tell the user while work goes on."""

    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Downloaded:
    """Bytes fetched of `total` (0 when unknown), or steps of a build."""

    title: str
    done: int
    total: int


Event = PhaseStarted | PhaseEnded | StepStarted | StepNotBegun | StepEnded | Note | Downloaded
