"""A step has its time, is tried again where that may help, and ends once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swarmctl.backends.base import Fenced, ForeignStack, HostGone, HostUnreachable
from swarmctl.errors import SwarmError
from swarmctl.provider import again
from swarmctl.provider import steps as steps_
from swarmctl.provider.steps import Cancelled, Step, Steps, TimedOut
from swarmctl.state.journal import Intent, Journal, Result, read

URN = "urn:pulumi:lab::swarmctl::swarm:test:File::test/a"


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "FIRST_WAIT", 0.01)


class Work:
    """Fails as often as it is told to."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> dict[str, Any]:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return {"key": "k"}


def run(steps: Steps, step: Step, work: Callable[[], Any]) -> Any:
    return asyncio.run(steps.run(step, work))


def test_what_may_pass_is_tried_again_and_each_try_is_told(journal: Journal) -> None:
    told: list[tuple[str, str]] = []
    work = Work(HostUnreachable("workers-0 does not answer", "Look at it."), HostUnreachable("still not"))

    outputs = run(Steps(journal, lambda *note: told.append(note)), Step("create", URN), work)

    assert outputs == {"key": "k"}
    assert work.calls == 3
    assert [urn for urn, _ in told] == [URN, URN]
    assert told[0][1].startswith("workers-0 does not answer; trying again in 0.0 s (2/5)")
    assert told[1][1].startswith("still not; trying again in")
    assert read(journal.path) == [Intent(1, "create", URN, {}), Result(1, {"key": "k"})], "one step, however many tries"


def test_a_machine_that_is_down_is_told_once_whatever_is_on_it(journal: Journal) -> None:
    told: list[tuple[str, str]] = []
    steps = Steps(journal, lambda *note: told.append(note))

    def down() -> Work:
        return Work(*[HostUnreachable("n1 refuses connections")] * 2)

    async def stage() -> None:
        steps.begin()
        await asyncio.gather(*(steps.run(Step("read", f"{URN}-{number}"), down()) for number in range(4)))
        await steps.run(Step("read", URN), Work(HostUnreachable("n2 refuses connections")))

    async def both() -> None:
        await stage()
        await stage()

    asyncio.run(both())
    assert [text.partition(";")[0] for _, text in told] == ["n1 refuses connections", "n2 refuses connections"] * 2


@pytest.mark.parametrize(("op", "tries"), [("create", 5), ("update", 5), ("delete", 5), ("read", 3)])
def test_it_is_not_tried_for_ever(op: str, tries: int) -> None:
    work = Work(*(HostUnreachable(f"no answer to the {n}.") for n in range(1, 9)))
    with pytest.raises(HostUnreachable, match=f"no answer to the {tries}."):
        run(Steps(), Step(op, URN), work)
    assert work.calls == tries


@pytest.mark.parametrize(
    "error",
    [SwarmError("no"), Fenced("a newer run"), ForeignStack("another's"), HostGone("gone"), OSError(5, "x"), KeyError()],
)
def test_what_does_not_pass_is_not_tried_again(error: Exception) -> None:
    work = Work(error)
    with pytest.raises(type(error)):
        run(Steps(), Step("update", URN), work)
    assert work.calls == 1


def test_a_try_that_fails_for_good_ends_it() -> None:
    work = Work(HostUnreachable("not now"), SwarmError("never"), HostUnreachable("not now"))
    with pytest.raises(SwarmError, match="never"):
        run(Steps(), Step("update", URN), work)
    assert work.calls == 2


def test_each_wait_is_about_twice_as_long_as_the_one_before() -> None:
    waits: list[float] = []
    stopped = threading.Event()
    stopped.wait = lambda timeout=None: waits.append(timeout or 0) or False  # type: ignore[func-returns-value,method-assign]
    work = Work(*(HostUnreachable("no") for _ in range(9)))

    with pytest.raises(HostUnreachable):
        again.trying(work, HostUnreachable("no"), tries=5, seconds=30, stopped=stopped, tell=lambda why, when: None)

    assert [round(wait / again.FIRST_WAIT) // 2 * 2 for wait in waits[1:]] == [2, 4, 8]
    assert 1 <= waits[0] / again.FIRST_WAIT <= 1.5


def test_at_its_limit_a_step_fails_whatever_its_thread_does(journal: Journal) -> None:
    go_on = threading.Event()
    began = time.monotonic()

    async def both() -> None:
        steps = Steps(journal)
        stuck = asyncio.create_task(steps.run(Step("create", URN, limit=0.1), lambda: go_on.wait(60) or {}))
        assert await steps.run(Step("update", URN), dict) == {}, "others go on"
        with pytest.raises(TimedOut, match=r"^test/a: create took longer than its time limit of 0.1 s") as caught:
            await stuck
        assert "read back by the next run" in caught.value.hint
        go_on.set()
        await asyncio.sleep(0.05)

    asyncio.run(both())

    assert time.monotonic() - began < 30, "not until its thread has ended"
    results = [record for record in read(journal.path) if isinstance(record, Result)]
    assert len(results) == 2, "what the thread came to later counts no more"
    late = next(it for it in results if it.error)
    assert late.left
    assert "time limit" in late.error


def test_a_step_has_600_seconds_and_reading_60_where_nothing_is_declared() -> None:
    limits = {op: Step(op, URN).seconds for op in ("create", "update", "delete", "read")}
    assert limits == {"create": 600, "update": 600, "delete": 600, "read": 60}
    assert Step("create", URN, limit=5).seconds == 5


def test_what_was_given_up_is_not_tried_again() -> None:
    work = Work(*(HostUnreachable("no") for _ in range(9)))

    def slow() -> Any:
        time.sleep(0.1)
        return work()

    with pytest.raises(TimedOut):
        run(Steps(), Step("create", URN, limit=0.15), slow)
    time.sleep(0.3)
    assert work.calls <= 2


def test_after_a_cancellation_nothing_begins_and_nothing_is_tried_again(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(again, "FIRST_WAIT", 3.0)

    async def cancelled() -> None:
        steps = Steps(journal)
        failing = asyncio.create_task(
            steps.run(Step("create", URN), Work(HostUnreachable("no"), HostUnreachable("no")))
        )
        await asyncio.sleep(0.1)
        steps.cancel()
        with pytest.raises(Cancelled):
            await steps.run(Step("delete", URN), dict)
        with pytest.raises(HostUnreachable):
            await failing
        steps.begin()
        assert await steps.run(Step("update", URN), dict) == {}

    began = time.monotonic()
    asyncio.run(cancelled())
    assert time.monotonic() - began < 2, "it did not wait for the next try"
    assert [(it.n, it.op) for it in read(journal.path) if isinstance(it, Intent)] == [(1, "create"), (2, "update")]


@pytest.mark.parametrize("op", ["create", "update", "delete"])
def test_what_is_cancelled_before_its_thread_has_begun_it_is_not_begun(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, op: str
) -> None:
    """It waits for a thread, as all do for a moment: nothing of it is written down, nothing of it is done."""
    work = Work()

    async def cancelled() -> None:
        steps = Steps(journal)
        submit = steps._threads.submit

        def late(*call: Any) -> None:
            steps.cancel()
            submit(*call)

        monkeypatch.setattr(steps._threads, "submit", late)
        with pytest.raises(Cancelled, match="not begun"):
            await steps.run(Step(op, URN), work)

    asyncio.run(cancelled())
    assert work.calls == 0
    assert read(journal.path) == []


def test_what_is_cancelled_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async def cancelled() -> None:
        steps = Steps()
        steps.cancel()
        assert await steps.run(Step("read", URN), lambda: "read") == "read"

    asyncio.run(cancelled())


def test_what_is_given_up_while_its_intent_is_being_written_is_not_begun(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine has its answer by then, and may have begun what must not go beside it."""
    work, written = Work(), threading.Event()
    intent = journal.intent

    def slow(*words: Any, **more: Any) -> int:
        assert given_up.wait(5)
        n = intent(*words, **more)
        written.set()
        return n

    given_up = threading.Event()
    monkeypatch.setattr(journal, "intent", slow)

    async def both() -> None:
        steps = Steps(journal)
        with pytest.raises(TimedOut):
            await steps.run(Step("create", URN, limit=0.05), work)
        given_up.set()
        await asyncio.to_thread(written.wait, 5)
        steps._threads.shutdown(wait=True)

    asyncio.run(both())
    assert work.calls == 0
    assert [type(record) for record in read(journal.path)][:1] == [Intent]
    assert not any(isinstance(record, Result) and record.done for record in read(journal.path))


def test_no_try_begins_when_its_patience_is_over() -> None:
    """However many tries are left: what takes so long to fail has waited for the host already."""
    work = Work(*(HostUnreachable("no") for _ in range(9)))

    def slow() -> Any:
        time.sleep(0.2)
        return work()

    with pytest.raises(HostUnreachable):
        again.trying(slow, HostUnreachable("no"), tries=50, seconds=0.3, stopped=threading.Event(), tell=print)
    assert 1 <= work.calls <= 2


@pytest.mark.parametrize(("limit", "patience"), [(0.0, 0.3), (0.3, 30.0)])
def test_a_step_is_tried_as_long_as_its_patience_and_its_own_limit_allow(
    monkeypatch: pytest.MonkeyPatch, limit: float, patience: float
) -> None:
    monkeypatch.setattr(steps_, "PATIENCE", patience)
    seconds: list[float] = []
    monkeypatch.setattr(again, "trying", lambda work, failed, **how: seconds.append(how["seconds"]))

    def slow() -> Any:
        time.sleep(0.1)
        raise HostUnreachable("no")

    run(Steps(), Step("create", URN, limit=limit), slow)
    assert 0 < seconds[0] <= 0.2, "counted from the beginning of the first try"


def test_what_left_nothing_is_written_down_so(journal: Journal) -> None:
    steps = Steps(journal)
    for error in (HostGone("gone"), ForeignStack("another's"), Fenced("a newer run"), SwarmError("half-way")):
        with pytest.raises(SwarmError):
            run(steps, Step("create", URN), Work(error))
    left = [record.left for record in read(journal.path) if isinstance(record, Result)]
    assert left == [False, False, True, True]


def test_a_result_that_cannot_be_written_down_is_told_and_stays(journal: Journal) -> None:
    """The step counts as begun, which the next run reads back."""
    told: list[str] = []

    def work() -> dict[str, Any]:
        journal.close()
        return {"key": "k"}

    outputs = run(Steps(journal, lambda urn, text: told.append(text)), Step("create", URN), work)

    assert outputs == {"key": "k"}
    assert read(journal.path) == [Intent(1, "create", URN, {})]
    assert len(told) == 1


def test_more_can_hang_than_the_engine_ever_asks_for_at_once() -> None:
    release = threading.Event()

    async def many() -> None:
        steps = Steps()
        stuck = [steps.run(Step("create", URN, limit=0.3), lambda: release.wait(5)) for _ in range(100)]
        free = steps.run(Step("read", URN, limit=5), lambda: "read")
        *given_up, last = await asyncio.gather(*stuck, free, return_exceptions=True)
        assert last == "read"
        assert all(isinstance(error, TimedOut) for error in given_up)

    try:
        asyncio.run(many())
    finally:
        release.set()
