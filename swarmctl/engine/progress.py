"""Steps of the engine as they begin and end, told as our own events; a replacement is one step."""

from __future__ import annotations

import time
from collections.abc import Callable

from swarmctl.engine import changes
from swarmctl.engine.events import Moment, Op, Step
from swarmctl.engine.watchdog import limit_of
from swarmctl.graph.model import Timeouts
from swarmctl.plans.events import Event, StepEnded, StepNotBegun, StepStarted
from swarmctl.plans.model import Action
from swarmctl.provider.steps import NOT_BEGUN


class Progress:
    """Tells `emit` of the steps of one run."""

    def __init__(
        self, emit: Callable[[Event], None], context: changes.Context, timeouts: Callable[[str], Timeouts]
    ) -> None:
        """`timeouts` by address."""
        self._emit = emit
        self._context = context
        self._timeouts = timeouts
        self._since: dict[str, float] = {}

    def on_step(self, step: Step) -> None:
        """A step began, ended or failed."""
        if step.op in (Op.REFRESH, Op.OTHER) or (step.op is Op.SAME and not step.formerly):
            return
        node = self._context.place(step).node
        action = Action.UPDATE if step.op is Op.SAME else changes.action_of(step.op)
        if step.moment is Moment.BEGIN:
            if step.address not in self._since:
                self._since[step.address] = time.monotonic()
                self._emit(StepStarted(step.address, node, action, self._limit(step, action)))
        elif step.error == NOT_BEGUN:
            self._emit(StepNotBegun(step.address))
        elif step.moment is Moment.FAILED or step.op not in (Op.DELETE_REPLACED, Op.REPLACE):
            seconds = time.monotonic() - self._since.get(step.address, time.monotonic())
            self._emit(StepEnded(step.address, node, action, seconds, step.error))

    def _limit(self, step: Step, action: Action) -> float:
        timeouts = self._timeouts(step.address)
        return timeouts.delete + timeouts.create if action is Action.REPLACE else limit_of(timeouts, step.op)
