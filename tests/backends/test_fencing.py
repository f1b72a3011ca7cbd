"""Fences on real nodes: whoever is over does nothing any more, whenever it was stopped and goes on."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from swarmctl.backends.base import (
    Fence,
    Fenced,
    ForeignStack,
    Host,
    HostGone,
    HostUnreachable,
    Placement,
    StillChanging,
)
from swarmctl.backends.lab import marks
from swarmctl.hosts import fence as fences
from swarmctl.processes import Process

from . import labs

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
OTHER = Fence("other-xyz", 99, "bob@desk")


def of(token: int) -> Fence:
    """All of them the same person's, as it is most often: the token alone tells which is newer."""
    return Fence(labs.STACK, token, "ann@laptop")


def fenced(placement: Placement, token: int) -> Host:
    return labs.backend.open_host(placement.host, of(token))


def log(placement: Placement) -> list[int]:
    """What the runs left on the node, in order."""
    return [int(line) for line in (labs.host(placement).get("/srv/log") or b"").split()]


def effect(token: int) -> list[str]:
    return ["sh", "-c", f"echo {token} >>/srv/log"]


def test_an_older_run_changes_nothing_by_any_call(placement: Placement) -> None:
    new, old = fenced(placement, 2), fenced(placement, 1)
    new.put("/srv/file", b"new")
    new.start_service("one", ["sleep", "6543"])
    calls: list[Callable[[], object]] = [
        lambda: old.run(effect(1)),
        lambda: old.put("/srv/file", b"old"),
        lambda: old.remove("/srv/file"),
        lambda: old.start_service("one", ["sleep", "1"]),
        lambda: old.start_service("two", ["sleep", "1"]),
        lambda: old.stop_service("one"),
        lambda: old.run(["cat", "/srv/file"]),
        lambda: labs.backend.read_machine(placement.inputs, of(1)),
        lambda: labs.backend.create_machine(placement.inputs, of(1)),
        lambda: labs.backend.update_machine(placement.inputs, placement.inputs, of(1)),
        lambda: labs.backend.delete_machine(placement.inputs, of(1)),
    ]
    for call in calls:
        with pytest.raises(Fenced, match=r"newer run \(ann@laptop, token 2\)"):
            call()
    labs.backend.read_machine(placement.inputs, of(2))
    with pytest.raises(Fenced, match="the lab of trial"):
        labs.backend.sweep(labs.STACK, of(1))
    assert log(placement) == []
    assert new.get("/srv/file") == b"new"
    assert [(it.name, it.running) for it in new.services()] == [("one", True)]
    assert labs.backend.owner(labs.STACK, placement.name).token == 2


def test_another_stacks_node_is_not_touched(placement: Placement) -> None:
    fenced(placement, 1).put("/srv/file", b"ours")
    stranger = labs.backend.open_host(placement.host, OTHER)
    for call in (
        lambda: stranger.run(effect(99)),
        lambda: stranger.put("/srv/file", b"theirs"),
        lambda: labs.backend.delete_machine(placement.inputs, OTHER),
    ):
        with pytest.raises(ForeignStack, match=r"belongs to the stack trial \(ann@laptop\), not to other-xyz"):
            call()
    assert labs.host(placement).get("/srv/file") == b"ours"
    assert log(placement) == []


def test_a_labs_folder_that_came_from_another_stack_is_not_touched(placement: Placement) -> None:
    mine, copied = marks.Lab(labs.STACK), marks.Lab("copied")
    copied.folder.mkdir()
    shutil.copy(mine.folder / "fabric.json", copied.folder)
    inputs = {**placement.inputs, "host": {**placement.host, "stack": "copied"}}
    for call in (
        lambda: labs.backend.create_machine(inputs),
        lambda: labs.backend.read_machine(inputs),
        lambda: labs.backend.delete_machine(inputs),
        lambda: labs.backend.sweep("copied"),
        lambda: labs.backend.open_host(inputs["host"]).run(["true"]),
    ):
        with pytest.raises(ForeignStack, match="belongs to the stack trial, not to copied"):
            call()
    labs.host(placement).run(["true"])
    shutil.rmtree(copied.folder)


def test_a_node_is_guarded_from_its_first_moment_on_and_after_it_was_made_anew(lab: None) -> None:
    (placement,) = labs.place(labs.pool())
    keeper, placement_ = labs.place(labs.pool("keeper"), labs.pool())
    labs.backend.create_machine(keeper.inputs, of(1))
    labs.backend.create_machine(placement_.inputs, of(1))
    labs.backend.delete_machine(placement_.inputs, of(2))
    with pytest.raises(Fenced):
        labs.backend.create_machine(placement_.inputs, of(1))
    assert labs.backend.machines(labs.STACK) == [keeper.name]
    labs.backend.create_machine(placement_.inputs, of(2))
    with pytest.raises(Fenced):
        fenced(placement_, 1).run(effect(1))
    assert placement.name == placement_.name


def test_root_of_a_node_cannot_reach_what_guards_it(placement: Placement) -> None:
    fenced(placement, 2).run(effect(2))
    script = "rm -rf /var/lib/swarmctl; mkdir -p /var/lib/swarmctl; printf 'trial\\n0\\nme\\n' >/var/lib/swarmctl/owner"
    labs.host(placement).run(["sh", "-c", script])
    said = labs.host(placement).run(["sh", "-c", "find / -xdev -name 'owner*' -path '*trial*' 2>/dev/null || :"]).text
    assert said == ""
    with pytest.raises(Fenced):
        fenced(placement, 1).run(effect(1))


def test_no_descriptor_of_the_lock_reaches_a_command(placement: Placement) -> None:
    host = fenced(placement, 1)
    assert host.run(["sh", "-c", "ls /proc/self/fd | tr '\\n' ' '"]).text == "0 1 2 3 "  # the last one is ls's own
    host.run(["sh", "-c", "sleep 77 >/dev/null 2>&1 &"])
    host.start_service("one", ["sleep", "78"])
    started = time.monotonic()
    fenced(placement, 2).run(["true"])
    assert time.monotonic() - started < 30, "nobody who would hold it waits that long"


def test_a_command_of_a_run_that_is_gone_ends_by_itself(placement: Placement) -> None:
    with pytest.raises(HostUnreachable, match=r"sh did not end within 0.3 s"):
        fenced(placement, 1).run(["sh", "-c", "sleep 4711 & sleep 4712"], timeout=0.3)
    assert "471" not in labs.host(placement).run(["ps", "ax", "-o", "args"]).text


def test_a_node_that_goes_away_meanwhile_is_told_as_gone(placement: Placement) -> None:
    host = fenced(placement, 1)
    labs.backend.delete_machine(placement.inputs)
    with pytest.raises(HostGone):
        host.run(["true"])
    host.stop_service("one")


CLIENT = """
import sys
from swarmctl import backends
from swarmctl.backends.base import Fence, Fenced
host = backends.open_host(eval(sys.argv[1]), Fence("trial", int(sys.argv[2]), "ann@laptop"))
count = 0
try:
    while True:
        host.run(["sh", "-c", f"{sys.argv[3]}; echo {sys.argv[2]} >>/srv/log"])
        count += 1
        print(count, flush=True)
except Fenced as error:
    print(error, flush=True)
"""


def client(placement: Placement, token: int, before: str = ":") -> subprocess.Popen[str]:
    """A run of its own, which changes the node again and again until it is fenced."""
    argv = [sys.executable, "-c", CLIENT, repr(dict(placement.host)), str(token), before]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def inside(placement: Placement) -> list[Process]:
    """The processes that carry a call into the node out."""
    return [process for process in marks.tagged(marks.Lab(labs.STACK).tag) if process not in labs.holders()]


def test_a_run_that_is_stopped_before_the_takeover_and_goes_on_afterwards_does_nothing(placement: Placement) -> None:
    with client(placement, 1) as old:
        assert old.stdout is not None
        assert old.stdout.readline() == "1\n"
        old.send_signal(signal.SIGSTOP)
        fenced(placement, 2).run(effect(2))
        seen = log(placement)
        old.send_signal(signal.SIGCONT)
        assert "newer run (ann@laptop, token 2)" in old.stdout.read()
    assert log(placement) == seen
    assert seen[-1] == 2


def test_a_call_that_is_stopped_inside_before_the_takeover_does_nothing_afterwards(placement: Placement) -> None:
    """It has begun on the node and waits for the lock, where it is stopped; then another run takes over."""
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(fenced(placement, 2).run, ["sh", "-c", "until [ -e /srv/end ]; do sleep 0.05; done"])
        assert labs.soon(lambda: bool(inside(placement)))
        (holder,) = inside(placement)
        newest = threads.submit(fenced(placement, 3).run, effect(3))
        assert labs.soon(lambda: len(inside(placement)) > 1)
        waiting = next(process for process in inside(placement) if process != holder)
        os.kill(waiting.pid, signal.SIGSTOP)
        labs.host(placement).put("/srv/end", b"")
        first.result()
        fenced(placement, 4).run(effect(4))
        os.kill(waiting.pid, signal.SIGCONT)
        with pytest.raises(Fenced):
            newest.result()
    assert log(placement) == [4]


def test_a_call_that_is_stopped_while_it_works_is_waited_for(
    placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadPoolExecutor(2) as threads:
        old = threads.submit(fenced(placement, 1).run, ["sh", "-c", "echo >/srv/begun; sleep 2; echo 1 >>/srv/log"])
        assert labs.soon(lambda: labs.host(placement).get("/srv/begun") is not None)
        (working,) = inside(placement)
        os.kill(working.pid, signal.SIGSTOP)
        monkeypatch.setattr(fences, "WAIT", 0.2)
        with pytest.raises(StillChanging, match="ann@laptop, token 1"):
            fenced(placement, 2).run(effect(2))
        monkeypatch.setattr(fences, "WAIT", 20)
        new = threads.submit(fenced(placement, 2).run, effect(2))
        time.sleep(0.3)
        assert not new.done()
        os.kill(working.pid, signal.SIGCONT)
        old.result()
        new.result()
    assert log(placement) == [1, 2]


def test_a_call_of_a_run_that_was_stopped_meanwhile_goes_to_its_end(placement: Placement) -> None:
    """It has all of its input with it: the node is not kept waiting for a caller that does nothing."""
    host = dict(placement.host)
    script = f"""
import os, signal, subprocess
from swarmctl import backends
from swarmctl.backends.base import Fence
from swarmctl.backends.lab import launch
def stop(*_, **__):
    os.kill(os.getpid(), signal.SIGSTOP)
launch.converse = stop
backends.open_host({host!r}, Fence("trial", 1, "ann@laptop")).run(["sh", "-s"], stdin=b"echo 1 >>/srv/log")
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.DEVNULL) as old:
        try:
            assert labs.soon(lambda: log(placement) == [1])
            assert old.poll() is None
            fenced(placement, 2).run(effect(2))
            assert log(placement) == [1, 2]
        finally:
            old.kill()


def race(placement: Placement, trials: int, act: Callable[[int], bool], first: int = 0) -> list[int]:
    """Pairs of runs of which the second takes over at a random moment; returns the tokens in the order of effects.

    `act` leaves a token on the node and says whether it was allowed to.
    """
    chance = random.Random(4)

    def keep_on(token: int) -> None:
        while act(token):
            pass

    for trial in range(first, first + trials):
        older = threading.Thread(target=keep_on, args=(2 * trial + 1,))
        older.start()
        time.sleep(chance.uniform(0, 0.06))
        assert act(2 * trial + 2)
        older.join()
    return log(placement)


def under_the_lock(placement: Placement) -> Callable[[int], bool]:
    def act(token: int) -> bool:
        try:
            fenced(placement, token).run(effect(token))
        except Fenced:
            return False
        return True

    return act


@pytest.mark.parametrize(
    "trials", [pytest.param(50, marks=pytest.mark.slow), pytest.param(1000, marks=[pytest.mark.soak])]
)
def test_of_two_runs_the_older_one_never_acts_after_the_newer_one(placement: Placement, trials: int) -> None:
    seen = race(placement, trials, under_the_lock(placement))
    assert seen == sorted(seen)
    assert {token for token in seen if token % 2 == 0} == {2 * trial + 2 for trial in range(trials)}
    assert len({token for token in seen if token % 2}) > trials / 10


@pytest.mark.slow
def test_a_check_before_the_call_and_not_under_the_nodes_lock_loses_the_race(placement: Placement) -> None:
    """Keeps the test above honest: what only the provider compares, an older run does after a newer one has begun."""
    highest = [0]

    def act(token: int) -> bool:
        if highest[0] > token:
            return False
        highest[0] = token
        labs.host(placement).run(effect(token))
        return True

    for block in range(20):
        seen = race(placement, 10, act, first=10 * block)
        if seen != sorted(seen):
            return
    raise AssertionError("200 races, and nobody lost one")
