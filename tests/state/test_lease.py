"""The lease, with real processes: what dies heals, what is stopped is ended or cut off, who waits is served in turn."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swarmctl.errors import ExitCode, SwarmError
from swarmctl.state import files, lease, lease_files, lease_queue, lease_rules
from swarmctl.state.files import DiskFull
from swarmctl.state.holder import me
from swarmctl.state.lease import LeaseLost, LockHeld, Timing, Waiting
from swarmctl.state.lease_rules import Party, Record
from swarmctl.state.model import Holder
from tests.state.lease_child import SHORT, Child, children

pytestmark = pytest.mark.slow
Start = Callable[..., Child]
ROOT = Path(__file__).parents[2]
LONG = Timing(ttl=20.0, patience=20.0)
"""For what has to happen at once, however busy the machine is."""


@pytest.fixture(autouse=True)
def _shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that machines share, or all other boots were earlier ones of this machine."""
    monkeypatch.setattr("swarmctl.state.holder.one_machine", lambda folder: False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "stack"


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    with children() as made:

        def one(timeout: float = 0.0, far: str = "", timing: Timing = SHORT) -> Child:
            made.append(Child(folder, timeout, far, timing))
            return made[-1]

        yield one


def take(folder: Path, timeout: float = 0.0, heard: list[Waiting] | None = None, timing: Timing = SHORT) -> lease.Lease:
    hear = heard.append if heard is not None else lambda waiting: None
    return lease.acquire(folder, me(), timeout=timeout, timing=timing, on_wait=hear)


def record(folder: Path) -> Record:
    found = lease_files.read(folder)
    assert found is not None
    return found


def until(what: Callable[[], object], patience: float = 10.0) -> None:
    deadline = time.monotonic() + patience
    while not what():
        assert time.monotonic() < deadline, "it does not come to it"
        time.sleep(0.01)


def engine(folder: Path, token: int, code: str = "import time; time.sleep(60)") -> subprocess.Popen[bytes]:
    """Stands for the engine of a run."""
    run = folder / "runs" / str(token)
    run.mkdir(parents=True, exist_ok=True)
    code = f"print(flush=True); {code}"
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", code], env={"SWARMCTL_RUN": str(run)}, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    return process


def test_it_is_taken_kept_and_given_back_and_tokens_only_grow(folder: Path) -> None:
    with take(folder) as first:
        before = record(folder)
        until(lambda: record(folder).owner and record(folder).owner != before.owner)
        first.check()
        assert lease.holds(folder, first.token)
    assert record(folder) == Record(first.token, None, SHORT.ttl)
    assert not lease.holds(folder, first.token)
    with take(folder) as second:
        assert second.token > first.token


def test_a_clock_that_is_set_back_gives_out_no_token_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with take(folder) as first:
        pass
    for now in (0, 10**18, 5):
        monkeypatch.setattr(time, "time_ns", lambda now=now: now)
        with take(folder) as second:
            assert second.token == first.token + 1
        first = second


def test_the_store_can_name_the_least_token_when_the_record_was_lost(folder: Path) -> None:
    with lease.acquire(folder, me(), timing=SHORT, floor=10**15) as found:
        assert found.token == 10**15 + 1


def test_one_that_does_not_wait_is_told_at_once_who_holds_it(folder: Path, start: Start) -> None:
    holder = start(timing=LONG)
    holder.taken()
    begun = time.monotonic()
    with pytest.raises(LockHeld, match=rf"`swarmctl.*` \(.*@.*, process {holder.pid}, since .*\) works") as caught:
        take(folder, timing=LONG)
    assert time.monotonic() - begun < LONG.ttl / 2
    assert caught.value.exit_code is ExitCode.LOCK_HELD
    assert "--lock-timeout" in caught.value.hint


def test_a_holder_that_was_killed_is_healed_at_once(folder: Path, start: Start) -> None:
    holder = start(timing=LONG)
    token = holder.taken()
    holder.kill()
    begun = time.monotonic()
    with take(folder, timing=LONG) as found:
        assert found.token > token
    assert time.monotonic() - begun < LONG.ttl / 2, "it waited for the time to live of a process that is gone"


@pytest.mark.parametrize(("code", "killed"), [("time.sleep(0.2)", False), ("time.sleep(60)", True)])
def test_what_a_killed_run_has_started_may_end_by_itself_for_a_while(
    folder: Path, start: Start, code: str, killed: bool
) -> None:
    holder = start()
    left = engine(folder, holder.taken(), f"import time; {code}")
    holder.kill()
    heard: list[Waiting] = []
    with take(folder, heard=heard):
        assert left.poll() == (-signal.SIGKILL if killed else 0)
    assert "is gone; what it has started gets a moment to end" in heard[0].text


def test_what_was_left_and_is_stopped_cannot_end_and_is_not_waited_for(folder: Path, start: Start) -> None:
    holder = start()
    left = engine(folder, holder.taken())
    left.send_signal(signal.SIGSTOP)
    holder.kill()
    begun = time.monotonic()
    with lease.acquire(folder, me(), timing=Timing(ttl=SHORT.ttl, patience=60)):
        assert left.wait() == -signal.SIGKILL
    assert time.monotonic() - begun < 30


def test_processes_of_another_stack_are_left_alone(folder: Path, start: Start, tmp_path: Path) -> None:
    holder = start()
    other = engine(tmp_path / "stack-2", holder.taken())
    holder.kill()
    with take(folder):
        assert other.poll() is None
    other.kill()
    other.wait()


def test_a_holder_on_this_machine_that_is_stopped_is_ended_before_another_takes_over(
    folder: Path, start: Start
) -> None:
    holder = start()
    token = holder.taken()
    holder.stop()
    with pytest.raises(LockHeld):  # not for its time to live yet
        take(folder)
    with take(folder, timeout=20) as found:
        assert found.token > token
        holder.process.join(5)
        assert holder.process.exitcode == -signal.SIGKILL


def test_a_holder_elsewhere_that_was_stopped_notices_and_writes_nothing(folder: Path, start: Start) -> None:
    holder = start(far="mars")
    token = holder.taken()
    holder.stop()
    with take(folder, timeout=20) as found:
        assert found.token > token
        holder.go_on()
        assert holder.ask("lost") == ("lost", True)
        said, why = holder.ask("check")
        assert said == "LeaseLost"
        assert f"process {os.getpid()}" in why
        assert f"token {found.token}" in why
        assert holder.ask("release")[0] == "released"
        found.check()
        mine = record(folder).owner
        assert mine is not None
        assert mine.holder == found.holder


def test_one_elsewhere_that_works_is_not_taken_from_and_its_sign_of_life_is_waited_for(
    folder: Path, start: Start
) -> None:
    holder = start(far="mars")
    holder.taken()
    heard: list[Waiting] = []
    with pytest.raises(LockHeld, match="works on this stack"):
        take(folder, heard=heard)
    assert "looking for a sign of life of" in heard[0].text
    with pytest.raises(LockHeld):
        take(folder, timeout=3 * SHORT.ttl)
    assert holder.ask("check")[0] == "ours"


def test_one_elsewhere_that_is_gone_is_healed_by_a_run_that_does_not_wait(folder: Path, start: Start) -> None:
    holder = start(far="mars")
    holder.taken()
    holder.kill()
    begun = time.monotonic()
    with take(folder):
        assert SHORT.ttl * 0.9 < time.monotonic() - begun < 10 * SHORT.ttl


def test_after_a_reboot_nothing_is_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = replace(me(), boot="the one before")
    folder.mkdir()
    lease_files.write(folder, Record(7, Party("x", before), ttl=1000.0), sync=True)
    monkeypatch.setattr("swarmctl.state.holder.one_machine", lambda folder: True)
    with take(folder) as found:
        assert found.token > 7


def test_those_who_wait_are_served_in_their_order_and_who_dies_or_is_stopped_is_passed_over(
    folder: Path, start: Start
) -> None:
    longer = Timing(ttl=2.0)  # on a busy machine one that waits may not run for a while, and would lose its place
    holder = start(timing=longer)
    holder.taken()
    waiting = []
    for far in ("", "", "", "mars", ""):
        waiting.append(start(timeout=60, far=far, timing=longer))
        until(lambda: len(record(folder).queue) == len(waiting))
    first, dies, sleeps, away, last = waiting
    assert [party.holder.pid for party in record(folder).queue] == [child.pid for child in waiting]
    dies.kill()
    sleeps.stop()
    with pytest.raises(LockHeld, match="works on this stack") as caught:
        take(folder)
    assert "this one is number 5" in caught.value.hint
    holder.ask("release")
    assert first.taken() < (token := first.ask("release")[1]) + 1
    assert away.taken() > token
    assert away.ask("check")[0] == "ours"
    away.ask("release")
    assert last.taken() > token
    last.ask("release")
    sleeps.go_on()
    assert sleeps.taken() > token


def test_who_waits_is_told_for_whom_how_long_and_who_is_served_before(folder: Path, start: Start) -> None:
    holder = start()
    holder.taken()
    start(timeout=60)
    until(lambda: len(record(folder).queue) == 1)
    heard: list[Waiting] = []
    with pytest.raises(LockHeld) as caught:
        take(folder, timeout=0.3, heard=heard)
    assert heard[0].holder is not None
    assert heard[0].holder.pid == holder.pid
    assert "for 0 s at most; 1 other is served before" in heard[0].text
    assert "--lock-timeout" not in caught.value.hint
    assert len(record(folder).queue) == 1, "who has given up still stands in the queue"


def test_one_elsewhere_that_died_waiting_is_not_in_the_way_of_runs_that_do_not_wait(folder: Path, start: Start) -> None:
    holder = start()
    holder.taken()
    dies = start(timeout=60, far="mars")
    until(lambda: record(folder).queue)
    dies.kill()
    holder.ask("release")
    with take(folder):
        assert record(folder).queue == ()


def test_a_free_lease_is_not_snatched_from_those_who_wait(folder: Path) -> None:
    waiter = Party("w", me(), 1, time.monotonic(), lease_queue.clock())
    folder.mkdir()
    lease_files.write(folder, Record(7, None, queue=(waiter,)), sync=True)
    with pytest.raises(LockHeld, match="is about to work on this stack: it was waiting first"):
        take(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema": "swarmctl/lease/v1", "token": "x"}', b"\0" * 300])
def test_an_unreadable_record_has_its_time_to_live_and_then_a_higher_token(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / lease_files.FILE).write_bytes(content)
    begun = time.monotonic()
    with lease.acquire(folder, me(), timing=Timing(ttl=0.2), floor=10**15) as found:
        assert time.monotonic() - begun >= 0.2
        assert found.token > 10**15


def test_a_holder_whose_record_was_spoilt_or_removed_stops(folder: Path) -> None:
    for spoil in (lambda file: file.write_bytes(b"?"), lambda file: file.unlink()):
        with lease.acquire(folder, me(), timing=Timing(ttl=0.2)) as found:
            spoil(folder / lease_files.FILE)
            assert found.lost.wait(5)
            with pytest.raises(LeaseLost, match="has lost the lease"), found.guard():
                pytest.fail("it would have published")


def test_within_the_guard_nobody_takes_the_lease_and_beside_it_a_lost_one_publishes_nothing(
    folder: Path, start: Start
) -> None:
    holder = start(far="mars")
    holder.taken()
    holder.kill()
    with take(folder, timeout=10) as found:
        with found.guard():
            other = start(timeout=30, far="venus")
            with pytest.raises(AssertionError, match="it says nothing"):
                other.says(patience=3 * SHORT.ttl)
            found.check()
    assert other.taken() > found.token
    with pytest.raises(LeaseLost), found.guard():
        pytest.fail("it would have published")


def test_one_that_is_stopped_just_while_it_writes_the_record_does_not_lock_out_the_others(
    folder: Path, start: Start
) -> None:
    bystander = start()
    bystander.taken()
    # It holds the flock from here on, and never lets go of it by itself.
    program = "import sys, time; from pathlib import Path; from swarmctl.state.lease_files import locked\n"
    program += "with locked(Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    writer = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    writer.stdout.close()
    writer.send_signal(signal.SIGSTOP)
    with lease_files.locked(folder, ttl=0.3):
        assert writer.wait() == -signal.SIGKILL
    assert bystander.ask("check")[0] == "ours", "who could not beat meanwhile was taken for hung"


def test_a_full_disk_is_told_and_keeps_nobody_from_looking(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with take(folder) as found:
        with monkeypatch.context() as patch:
            patch.setattr(lease_files, "write", full)
            time.sleep(2 * SHORT.ttl)
            assert not found.lost.is_set(), "nobody has taken it"
            with pytest.raises(LockHeld):
                take(folder)
        found.check()
    monkeypatch.setattr(files, "write", full)
    with pytest.raises(DiskFull):
        take(folder)


def test_a_full_disk_kills_no_holder_that_cannot_beat_on_it(
    folder: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = start()
    holder.taken()
    holder.stop()
    time.sleep(1.5 * SHORT.ttl)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lease_files, "write", full)
    with pytest.raises(DiskFull):
        take(folder)
    holder.go_on()
    assert holder.ask("check")[0] == "ours"


def test_a_holder_that_this_user_may_not_end_is_named(
    folder: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> bool:
        raise PermissionError

    holder = start()
    holder.taken()
    holder.stop()
    monkeypatch.setattr("swarmctl.processes.Process.ends_by", refused)
    with pytest.raises(LockHeld, match="this user may not end it") as caught:
        take(folder, timeout=30)
    assert f"End process {holder.pid}" in caught.value.hint


def test_the_thread_that_beats_does_not_keep_a_process_alive(folder: Path) -> None:
    program = "import sys; from pathlib import Path; from swarmctl.state import holder, lease\n"
    program += "print(lease.acquire(Path(sys.argv[1]), holder.me()).token)"
    ended = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, timeout=20, check=True)
    with take(folder) as found:
        assert found.token > int(ended.stdout)


def test_who_is_interrupted_while_waiting_leaves_the_queue(folder: Path, start: Start) -> None:
    start().taken()

    def interrupt(waiting: Waiting) -> None:
        assert len(record(folder).queue) == 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lease.acquire(folder, me(), timeout=60, timing=SHORT, on_wait=interrupt)
    assert record(folder).queue == ()


def test_a_store_that_is_destroyed_while_others_wait_is_made_anew_for_them(folder: Path) -> None:
    found = take(folder)
    waiter = threading.Thread(target=lambda: take(folder, timeout=20).release())
    waiter.start()
    until(lambda: record(folder).queue)
    with found.guard():
        for file in folder.iterdir():
            file.unlink()
    found.release()
    waiter.join()
    assert record(folder).token > found.token


def test_two_threads_of_one_process_do_not_hold_it_both(folder: Path) -> None:
    with take(folder), pytest.raises(LockHeld):
        take(folder)


# Looking, and releasing by hand.


def test_the_status_of_a_lease(folder: Path, start: Start) -> None:
    assert lease.status(folder) is None
    holder = start()
    token = holder.taken()
    waiter = start(timeout=60, far="mars")
    until(lambda: record(folder).queue)
    found = lease.status(folder, watch=1.0)
    assert found is not None
    assert found.holder is not None
    seen = (found.holder.pid, found.token, found.life, found.here)
    assert seen == (holder.pid, token, lease_rules.Life.WORKING, True)
    assert [it.holder.host for it in found.queue] == ["mars"]
    waiter.kill()
    holder.stop()
    time.sleep(1.2 * SHORT.ttl)
    assert lease.status(folder).life is lease_rules.Life.STUCK  # type: ignore[union-attr]
    holder.kill()
    assert lease.status(folder).life is lease_rules.Life.GONE  # type: ignore[union-attr]


def test_the_lease_of_one_that_is_gone_is_released_and_of_one_that_lives_is_not(folder: Path, start: Start) -> None:
    assert lease.release(folder).holder is None
    holder = start()
    token = holder.taken()
    left = engine(folder, token)
    with pytest.raises(LockHeld, match="works on this stack") as caught:
        lease.release(folder, timing=SHORT)
    assert "--force" in caught.value.hint
    assert holder.ask("check")[0] == "ours"
    holder.kill()
    released = lease.release(folder, timing=SHORT)
    assert released.holder is not None
    assert (released.holder.pid, released.ended, released.elsewhere) == (holder.pid, False, False)
    assert left.wait() == -signal.SIGKILL
    assert record(folder).owner is None
    assert record(folder).token > token


@pytest.mark.parametrize("stopped", [False, True])
def test_force_ends_one_that_lives_on_this_machine(folder: Path, start: Start, stopped: bool) -> None:
    holder = start()
    holder.taken()
    if stopped:
        holder.stop()
    released = lease.release(folder, force=True, timing=SHORT)
    assert released.ended
    holder.process.join(5)
    assert holder.process.exitcode in (-signal.SIGTERM, -signal.SIGKILL)
    assert record(folder).owner is None


def test_force_cuts_off_one_that_lives_elsewhere(folder: Path, start: Start) -> None:
    holder = start(far="mars")
    holder.taken()
    released = lease.release(folder, force=True, timing=SHORT)
    assert (released.ended, released.elsewhere) == (False, True)
    assert holder.ask("lost") == ("lost", True)
    assert "or by force" in holder.ask("check")[1]


def test_errors_of_the_lease_are_the_users_to_read() -> None:
    nobody = Holder(host="", boot="", namespace="", pid=0, start=0, user="", command="", since=0)
    error = lease_queue.lease_words.held(Record(1, Party("x", nobody)), lease_rules.Life.UNSEEN, (), waits=False)
    assert isinstance(error, SwarmError)
    assert "a run that is not known: the record of the lease could not be read" in error.message


# Races.


def test_two_hundred_races_have_never_two_writers_and_leave_no_lease_stuck(tmp_path: Path) -> None:
    found = races(tmp_path, 200)
    assert found["problems"] == []
    assert found["ended"]["0"] > 100  # the faults ended less than half of the contenders, a busy machine some more


@pytest.mark.soak
def test_a_thousand_races_have_never_two_writers_and_leave_no_lease_stuck(tmp_path: Path) -> None:
    assert races(tmp_path, 1000, "--seed", str(time.time_ns()))["problems"] == []


@pytest.mark.parametrize(
    ("without", "found"), [("fenced", "changes the machine after"), ("guarded", "publishes after")]
)
def test_the_races_do_find_two_writers_where_nothing_holds_them_back(tmp_path: Path, without: str, found: str) -> None:
    batches = (races(tmp_path, 50, "--without", without, "--seed", seed)["problems"] for seed in "12345")
    assert any(found in problem for problems in batches for problem in problems)


def races(folder: Path, count: int, *more: str) -> dict[str, Any]:
    """In a process without threads, which can fork."""
    command = [sys.executable, "-m", "tests.state.lease_races", "--races", str(count), *more]
    env = {**os.environ, "TMPDIR": str(folder)}
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True, timeout=280)
    assert ended.stderr == ""
    document: dict[str, Any] = json.loads(ended.stdout)
    return document


def test_the_next_token_can_be_asked_to_be_greater_whether_or_not_anybody_holds_it(folder: Path) -> None:
    ahead = 10**15
    assert lease.release(folder, force=True, floor=ahead).raised == ahead
    with take(folder) as taken:  # and given back: what is released by force is ended, and this is our own process
        assert taken.token == ahead + 1
    assert lease.release(folder, force=True, floor=ahead).raised == 0, "greater anyway"
    assert record(folder).token == ahead + 1
    released = lease.release(folder, force=True, floor=0)
    assert (released.holder, released.raised) == (None, 0)


def test_one_that_is_released_by_force_is_below_the_token_that_was_asked_for(folder: Path, start: Start) -> None:
    holder = start(far="mars")
    holder.taken()
    assert lease.release(folder, force=True, floor=10**15, timing=SHORT).elsewhere
    assert record(folder).token == 10**15
    assert record(folder).owner is None
