"""When an engine is given up, and when there is hope."""

from __future__ import annotations

from swarmctl.engine.events import Moment, Op, Step
from swarmctl.engine.watchdog import ENDING, GRACE, QUIET, Watchdog
from swarmctl.graph.model import Timeouts
from tests.engine.fake_kind import TOKEN


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def watchdog(clock: Clock, *, changing: bool = True) -> Watchdog:
    return Watchdog(lambda address: Timeouts(create=100, update=50, delete=20, read=10), changing=changing, clock=clock)


def step(op: Op, moment: Moment = Moment.BEGIN, address: str = "test/a") -> Step:
    return Step(moment, op, address, TOKEN, None, None)


def test_a_step_may_take_its_time_and_a_little_more() -> None:
    for op, limit in ((Op.CREATE, 100), (Op.UPDATE, 50), (Op.DELETE_REPLACED, 20), (Op.REFRESH, 10)):
        clock = Clock()
        dog = watchdog(clock)
        dog.on_step(step(op))
        clock.now = limit + GRACE
        assert dog.overdue(0, finished=False) == ""
        clock.now += 1
        assert dog.overdue(0, finished=False) == f"test/a did not answer within the {limit} s that it may take"


def test_a_step_that_has_ended_or_failed_is_waited_for_no_longer() -> None:
    clock = Clock()
    dog = watchdog(clock)
    for moment in (Moment.END, Moment.FAILED):
        dog.on_step(step(Op.CREATE))
        dog.on_step(step(Op.CREATE, moment))
    clock.now = 1000
    assert dog.overdue(0, finished=False) == ""


def test_what_only_looks_is_given_up_only_when_it_is_silent() -> None:
    clock = Clock()
    dog = watchdog(clock, changing=False)
    dog.on_step(step(Op.REFRESH))
    clock.now = 1000
    assert dog.overdue(GRACE, finished=False) == ""
    assert "did not answer" in dog.overdue(GRACE + 1, finished=False)


def test_silence_counts_while_nothing_is_waited_for() -> None:
    clock = Clock()
    dog = watchdog(clock)
    assert dog.overdue(QUIET, finished=False) == ""
    assert "has told nothing" in dog.overdue(QUIET + 1, finished=False)
    dog.on_step(step(Op.CREATE))
    assert dog.overdue(QUIET + 1, finished=False) == ""


def test_an_engine_that_is_done_has_to_end() -> None:
    dog = watchdog(Clock())
    assert dog.overdue(ENDING, finished=True) == ""
    assert "did not end" in dog.overdue(ENDING + 1, finished=True)
