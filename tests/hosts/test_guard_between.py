"""A guarded change that is cut off, overtaken by its deadline, or fails: the node ends as before or as after it."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmctl.hosts import guard
from swarmctl.hosts.guard import Change
from swarmctl.kinds.mesh import peer_commands, peers
from swarmctl.provider import guards
from tests.hosts.guarding import OLD, SHELL, Node

EVERY = ("chmod", "cp", "date", "flock", "ip", "mkdir", "mv", "nft", "rm", "sync", "wg")
"""Programs that a change runs: each call of one is a boundary."""
KILLER = """\
#!/bin/sh
if [ "${COUNTED:-}" ] && [ -e "$W/victim" ]; then
  echo >>"$W/count"
  if [ "$(grep -c '' "$W/count")" -eq "$(cat "$W/when")" ]; then
    kill -9 $(cat "$W/victim")
    [ ! -e "$W/all" ] || exit 1
  fi
fi
exec PROGRAM "$@"
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    made.watch()
    yield made
    made.end()


def begin(node: Node, script: str, *, token: int = 7) -> subprocess.Popen[str]:
    """Start a change of the firewall and return when its first line has been run."""
    text = guard.change(
        Change("firewall", 10, f'echo half >"$W/table"\n{script}'), token, folder=str(node.folder), proc=str(node.root)
    )
    run = subprocess.Popen([SHELL, "-eu", "-s"], stdin=subprocess.PIPE, env=node.env, text=True, start_new_session=True)
    assert run.stdin is not None
    with run.stdin as stream:
        stream.write(text)
    until(lambda: node.table == "half\n")
    return run


def until(what: object, seconds: float = 8) -> None:
    end = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


SLOW = """\
trap '' TERM HUP
timeout 60 sleep 60 & sleep 2
echo late >"$W/table"
wait
"""


def test_at_the_deadline_a_change_that_still_goes_on_is_ended_before_it_is_undone(node: Node) -> None:
    run = begin(node, SLOW)
    node.up(1009)
    node.soon()
    assert node.table == OLD
    assert run.wait(5) == -signal.SIGKILL
    time.sleep(2.2)
    assert node.table == OLD, "it went on beside its undoing"
    assert node.rearm() == guard.Answer("none", ("firewall",))


def test_a_change_that_takes_longer_than_its_deadline_is_put_off_while_it_goes_on(node: Node) -> None:
    run = begin(node, 'until [ -e "$W/go" ]; do sleep 0.05; done\necho new >"$W/table"\n')
    for now in (1008, 1016, 1024):
        node.up(now)
        assert node.rearm().word == "armed"
        time.sleep(0.2)
    (node.root / "go").touch()
    assert run.wait(5) == 0
    assert node.confirm().word == "confirmed"
    assert node.table == "new\n"


def test_an_undo_ends_a_change_that_still_goes_on(node: Node) -> None:
    run = begin(node, SLOW)
    assert node.undo() == guard.Answer("undone", ("firewall",))
    assert run.wait(5) == -signal.SIGKILL
    assert node.table == OLD


def test_it_is_confirmed_when_it_has_come_to_its_end(node: Node) -> None:
    run = begin(node, 'sleep 0.5\necho new >"$W/table"\n')
    assert node.confirm().word == "confirmed"
    assert run.wait(5) == 0
    assert node.table == "new\n"


def test_what_fails_is_undone_at_once_and_its_run_is_told(node: Node) -> None:
    node.firewall("first")
    text = 'echo half >"$W/table"\nfalse\necho new >"$W/table"\n'
    it = guard.change(Change("firewall", 10, text), 7, folder=str(node.folder), proc=str(node.root))
    assert node.run(it, fails=True) == "guarded\n"
    assert node.table == OLD, "the run's first change stayed"
    assert node.rearm() == node.confirm() == guard.Answer("none", ("firewall",))


def test_a_run_that_was_undone_changes_nothing_more_there(node: Node) -> None:
    node.firewall("new")
    node.up(1009)
    node.soon()
    it = guard.change(
        Change("firewall", 10, 'echo more >"$W/table"\n'), 7, folder=str(node.folder), proc=str(node.root)
    )
    assert node.run(it, fails=True) == ""
    assert node.table == OLD
    assert node.confirm() == guard.Answer("none", ("firewall",))
    assert node.firewall("newer", token=8) == "guarded\n"


def test_an_end_that_is_over_is_neither_put_off_nor_confirmed(tmp_path: Path) -> None:
    node = Node(tmp_path)
    for ask in (node.rearm, node.confirm):
        node.watch()
        node.firewall("new")
        node.end()
        node.up(float((node.root / "uptime").read_text().split()[0]) + 9)
        assert ask() == guard.Answer("none", ("firewall",))
        assert node.table == OLD
        node.undo()
        (node.folder / "undone").unlink()


def test_the_timer_looks_again_under_the_lock(node: Node) -> None:
    """Who puts it off has the lock when the timer sees the old deadline."""
    run = begin(node, 'until [ -e "$W/go" ]; do sleep 0.05; done\necho new >"$W/table"\n')
    deadline = node.folder / "deadline"
    words = deadline.read_text().split()
    with (node.folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        node.up(1009)
        time.sleep(0.5)
        deadline.write_text(" ".join([*words[:3], "1018", words[4]]) + "\n")
    time.sleep(0.5)
    (node.root / "go").touch()
    assert run.wait(5) == 0, "the timer has ended it"
    assert node.table == "new\n"
    assert node.pending


def test_what_was_killed_in_the_middle_is_undone_as_soon_as_its_run_puts_it_off(node: Node) -> None:
    run = begin(node, "sleep 60\n")
    assert node.rearm().word == "armed"
    os.killpg(run.pid, signal.SIGKILL)
    run.wait(5)
    assert node.rearm() == guard.Answer("none", ("firewall",))
    assert node.table == OLD


def test_the_timer_looks_again_when_it_has_ended_the_change(node: Node) -> None:
    """Somebody else's undo or confirmation has come first."""
    node.firewall("new")
    with (node.folder / "change").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        node.up(1009)
        time.sleep(0.5)
        deadline = node.folder / "deadline"
        words = deadline.read_text().split()
        deadline.write_text(" ".join([*words[:3], "1018", words[4]]) + "\n")
    time.sleep(0.5)
    assert node.table == "new\n"


def test_copies_of_a_change_that_never_began_are_not_brought_back(node: Node) -> None:
    (node.folder / "touched").mkdir(parents=True, exist_ok=True)
    (node.folder / "touched/firewall").write_text("table inet swarmctl\ndelete table inet swarmctl\nstale\n")
    node.firewall("new")
    node.undo()
    assert node.table == OLD


def test_one_change_waits_for_another_of_the_same_node(node: Node) -> None:
    first = begin(node, 'sleep 0.5\necho first >"$W/table"\n')
    node.firewall("second")
    assert first.wait(5) == 0
    assert node.table == "second\n"
    assert node.confirm().word == "confirmed"


def kill_at(node: Node, when: int, everything: bool) -> bool:
    """Kill a change before its call of that number; whether it came so far."""
    for name in ("count", "victim", "all"):
        (node.root / name).unlink(missing_ok=True)
    (node.root / "when").write_text(str(when))
    if everything:
        (node.root / "all").touch()
    script = "nft -f - <<END\n1\n2\nhalf\nEND\nnft -f - <<END\n1\n2\nnew\nEND\n"
    it = Change("firewall", 10, script + 'rm "$W/there"\n', {"file.there": str(node.root / "there")})
    text = guard.change(it, 7, folder=str(node.folder), proc=str(node.root))
    run = subprocess.Popen(
        [SHELL, "-eu", "-s"],
        stdin=subprocess.PIPE,
        env={**node.env, "COUNTED": "1"},
        text=True,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    (node.root / "victim").write_text(f"-{run.pid}" if everything else str(run.pid))
    assert run.stdin is not None
    with run.stdin as stream:
        stream.write(text)
    status = run.wait(20)
    (node.root / "victim").unlink()
    return status != 0


def seen(node: Node) -> tuple[str, bool]:
    return node.table, (node.root / "there").exists()


@pytest.mark.parametrize("everything", [False, True], ids=["its shell", "all of it"])
def test_killed_before_any_of_its_commands_it_is_as_before_or_as_after(node: Node, everything: bool) -> None:
    """The run goes on, or dies and the timer or the next run acts: never what is between stays."""
    tmp_path = node.root
    for name in EVERY:
        tool = tmp_path / "bin" / name
        real = str(tool.rename(tmp_path / f"bin/real-{name}")) if tool.exists() else shutil.which(name)
        tool.write_text(KILLER.replace("PROGRAM", str(real)))
        tool.chmod(0o755)
    ends, when, reached = [], 0, True
    while reached:
        when += 1
        (tmp_path / "table").write_text(OLD)
        (tmp_path / "there").write_text("x")
        shutil.rmtree(node.folder / "touched", ignore_errors=True)
        (node.folder / "undone").unlink(missing_ok=True)
        reached = kill_at(node, when, everything)
        word = ""
        if when % 4 == 0 and node.pending:
            word = "timer"
            node.up(float((tmp_path / "uptime").read_text().split()[0]) + 9)
            node.soon()
        elif when % 4 == 1:
            word = node.undo().word
        else:
            word = (node.rearm, node.confirm)[when % 2]().word
            word = node.confirm().word if word == "armed" else word
        assert not node.pending, (when, word)
        assert seen(node) == (("new\n", False) if word == "confirmed" else (OLD, True)), (when, word)
        ends.append(word)
    assert len(ends) > 20
    assert {"undone", "timer", "none", "confirmed"} >= set(ends)


def test_a_change_may_take_as_long_as_its_names_do() -> None:
    rounds = -(-1000 // peer_commands.at_once(1000))
    assert rounds * peer_commands.LOOKUP < peers.TIMEOUT
    assert peers.TIMEOUT + guard.TURN < guards.CHANGE_TIMEOUT
