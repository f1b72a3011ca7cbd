"""Another run takes over in between: between a look and the lock, a lock and a write, a reading and a late intent."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swarmctl.errors import LeaseLost
from swarmctl.state import journal, lease, lease_files, lease_rules, runs
from swarmctl.state.holder import me
from swarmctl.state.journal import Journal, JournalFailed
from swarmctl.state.lease import Timing
from swarmctl.state.lease_rules import Party, Record
from swarmctl.state.model import Applied, PlanMark
from swarmctl.state.store import Store
from tests.state.published import BASE, checkpoint, leased, names, resource
from tests.state.test_store import cut_off

WHOLE = Applied("digest", complete=True, versions={"swarmctl": "1"})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store("lab", f"file://{tmp_path}")


def publish(store: Store, token: int, based_on: int, *resources: str, applied: Applied | None = WHOLE) -> None:
    store.publish(leased(store, token), based_on, checkpoint(*map(resource, resources)), applied=applied)


def before(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, happens: Callable[[], object]) -> None:
    """Let something happen once, right before this function is called."""
    real = getattr(owner, name)

    def called(*words: Any, **options: Any) -> Any:
        monkeypatch.setattr(owner, name, real)
        happens()
        return real(*words, **options)

    monkeypatch.setattr(owner, name, called)


def test_a_run_that_still_works_somewhere_begins_nothing_after_its_journal_was_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.begin(leased(store, 7), operation="update")
    late = Journal(run.journal)
    late.done(late.intent("create", f"{BASE}::swarm:mesh:Peers::mesh/a", {"n": 1}), {"key": "a"})
    refused: list[JournalFailed] = []
    read = journal.read

    def reading(path: Path) -> list[journal.Record]:
        records = read(path)
        with pytest.raises(JournalFailed, match="another run has taken the place of this one") as caught:
            late.intent("create", f"{BASE}::swarm:mesh:Peers::mesh/late", {})
        refused.append(caught.value)
        return records

    monkeypatch.setattr(journal, "read", reading)
    store.recover(leased(store, 8))

    assert len(refused) == 1
    assert names(store) == {"a"}


def test_a_run_whose_lease_is_taken_before_it_has_its_folder_gets_none(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = leased(store, 7)
    before(monkeypatch, store, "require_room", lambda: leased(store, 8))
    with pytest.raises(LeaseLost):
        store.begin(mine, operation="update")
    assert not store.runs_folder.exists()


def test_nobody_takes_the_lease_while_a_run_gets_its_folder(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def somebody() -> None:
        with pytest.raises(BlockingIOError):
            held(store.folder)

    before(monkeypatch, runs, "begin", somebody)
    store.begin(leased(store, 7), operation="update")


def held(folder: Path) -> None:
    """Take the flock if it is free."""
    import fcntl

    with (folder / lease_files.LOCK).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("based_on", [0, 1, 3, 4])
def test_a_state_of_any_other_generation_is_not_overwritten(store: Store, based_on: int) -> None:
    """Of a later one: somebody has published since. Of an earlier one: a backup was put back by hand."""
    publish(store, 7, 0, "a")
    publish(store, 8, 1, "b")
    mine = leased(store, 9)
    with pytest.raises(LeaseLost, match=f"is generation 2 by now, and this run began from {based_on}"):
        store.publish(mine, based_on, checkpoint(), applied=None)
    assert names(store) == {"b"}
    store.publish(mine, 2, checkpoint(), applied=None)
    assert names(store) == set()


def test_after_a_run_that_was_cut_off_not_all_is_applied_whatever_was_before(store: Store) -> None:
    publish(store, 7, 0, "a")
    cut_off(store, 8, "b")
    seen = store.current()
    assert seen is not None
    assert seen.applied == replace(WHOLE, complete=False), "who only looks knows it, too"
    store.recover(leased(store, 9))
    found = store.load()
    assert found is not None
    assert found.applied == replace(WHOLE, complete=False)


def test_after_a_state_was_restored_not_all_of_it_is_applied(store: Store) -> None:
    publish(store, 7, 0, "a")
    copy = store.load()
    assert copy is not None
    publish(store, 8, 1, "b", applied=replace(WHOLE, graph="another"))
    made = store.replace(leased(store, 9), copy)
    assert made == store.load()
    assert names(store) == {"a"}
    assert made.applied == replace(WHOLE, complete=False)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_plan_that_was_carried_out_stays_so_when_a_state_from_before_is_restored(store: Store, damaged: bool) -> None:
    mine = leased(store, 7)
    store.publish(mine, 0, checkpoint(resource("a")), applied=WHOLE, plans=[PlanMark("first", finished=True)])
    copy = store.load()
    assert copy is not None
    both = [PlanMark("first", finished=True), PlanMark("second", finished=True)]
    store.publish(mine, 1, checkpoint(resource("b")), applied=WHOLE, plans=both)
    store.publish(mine, 2, checkpoint(resource("c")), applied=WHOLE, plans=both)
    if damaged:
        store.file.write_bytes(b"?")
    made = store.replace(leased(store, 9), copy)
    assert {mark.id for mark in made.plans if mark.finished} == {"first", "second"}


@pytest.mark.parametrize("runs", [0, 1])
def test_a_state_that_cannot_be_read_is_shown_as_the_next_run_will_have_it(store: Store, runs: int) -> None:
    """So that what is planned from it fits what is there when it is carried out."""
    publish(store, 7, 0, "a")
    publish(store, 8, 1, "b")
    if runs:
        cut_off(store, 9, "c")
    store.file.write_bytes(b"?")
    seen = store.current()
    store.recover(leased(store, 10))
    found = store.load()
    assert seen is not None
    assert found is not None
    assert (seen.generation, seen.checkpoint) == (found.generation, found.checkpoint)


# The lease itself, of this process.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "stack"


def other(folder: Path) -> None:
    """Another one has the lease now."""
    record = lease_files.read(folder)
    assert record is not None
    lease_files.write(folder, Record(record.token + 1, Party("other", me())), sync=True)


def test_a_lease_that_is_taken_between_the_look_and_the_lock_guards_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lease.acquire(folder, me(), timing=Timing(ttl=600)) as mine:
        before(monkeypatch, lease, "locked", lambda: other(folder))
        with pytest.raises(LeaseLost, match=f"token {mine.token + 1}"), mine.guard():
            pytest.fail("it would have published")


@pytest.fixture
def left(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Stands for the engine of run 7, which goes on although nobody holds the lease."""
    run = folder / "runs" / "7"
    run.mkdir(parents=True)
    code = "import time; print(flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-S", "-c", code], env={"SWARMCTL_RUN": str(run)}, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_what_works_on_although_the_lease_is_free_is_ended_before_it_is_taken(
    folder: Path, left: subprocess.Popen[bytes]
) -> None:
    lease_files.write(folder, Record(7), sync=True)
    with lease.acquire(folder, me(), timing=Timing(ttl=0.4, patience=0.2)) as found:
        assert left.poll() == -signal.SIGKILL
        assert found.token > 7


@pytest.mark.slow
def test_a_holder_that_cannot_reach_the_state_for_its_time_to_live_takes_it_for_lost(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another machine its beat has then not changed for as long, and somebody may have taken it."""
    ttl = 1.0

    def unreachable(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with lease.acquire(folder, me(), timing=Timing(ttl=ttl)) as found:
        with monkeypatch.context() as patch:
            patch.setattr(lease_files, "read", unreachable)
            time.sleep(0.4 * ttl)
            assert not found.lost.is_set(), "not for a moment's sake"
        time.sleep(0.4 * ttl)
        found.check()
        with monkeypatch.context() as patch:
            patch.setattr(lease_files, "read", unreachable)
            assert found.lost.wait(20 * ttl)
        with pytest.raises(LeaseLost, match=r"could not be reached for \d+ s \(Input/output error\)"):
            found.check()
        record = lease_files.read(folder)
        assert lease_rules.owns(record, found.token), "nobody has taken it: it stops all the same"
        with pytest.raises(LeaseLost), found.guard():
            pytest.fail("it would have published")


@pytest.mark.slow
def test_a_holder_that_cannot_beat_and_sees_that_the_lease_is_its_own_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise TimeoutError("somebody does not let go of the lock")

    with lease.acquire(folder, me(), timing=Timing(ttl=0.6)) as found:
        with monkeypatch.context() as patch:
            patch.setattr(lease, "locked", refused)
            assert not found.lost.wait(1.2)
        found.check()
