"""The provider makes guarded changes and puts them off while its run lives."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from swarmctl.backends.base import CommandFailed, Completed, Fenced, HostUnreachable
from swarmctl.hosts import guard
from swarmctl.provider.guards import Guards, TimerFailed, make

CHANGE = guard.Change("firewall", 1, "echo changed\n")
NAME = {"backend": "lab", "node": "a"}


class Node:
    """Answers a change and what puts it off."""

    name = "a"

    def __init__(self, *answers: str, status: int = 0, error: Exception | None = None) -> None:
        self.answers = list(answers)
        self.status = status
        self.error = error
        self.started = 0
        self.arms = "armed\n"
        self.pause = 0.0
        self.armed: list[float] = []

    def start_service(self, name: str, argv: Sequence[str]) -> None:
        assert name == guard.SERVICE
        self.started += 1

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0, check: bool = True) -> Completed:
        text = stdin.decode()
        if "echo changed" not in text:
            self.armed.append(time.monotonic())
            if self.error is not None:
                raise self.error
            time.sleep(self.pause)
            return Completed(tuple(argv), 0, self.arms.encode(), b"")
        answer = self.answers.pop(0) if self.answers else "guarded\nchanged\n"
        return Completed(tuple(argv), self.status, answer.encode(), b"first\nlast words\n")


def until(what: Callable[[], Any], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_the_change_printed_is_returned() -> None:
    node: Any = Node()
    assert make(node, CHANGE, 7) == "changed\n"
    assert node.started == 1


def test_a_timer_that_has_just_ended_is_started_again() -> None:
    node: Any = Node("no-timer\n")
    make(node, CHANGE, 7)
    assert node.started == 2


def test_without_a_timer_nothing_counts_as_changed() -> None:
    node: Any = Node(*["no-timer\n"] * 3)
    with pytest.raises(TimerFailed, match="nothing was changed"):
        make(node, CHANGE, 7)


def test_a_change_that_fails_says_its_last_words() -> None:
    node: Any = Node(status=3)
    with pytest.raises(CommandFailed, match="firewall ended with status 3: last words"):
        make(node, CHANGE, 7)


def test_it_is_put_off_again_and_again_within_its_span_while_the_run_lives() -> None:
    node: Any = Node()
    lives = [True]
    guards = Guards(alive=lambda: lives[0], tick=0.02)
    guards.change(NAME, node, CHANGE, 7)
    until(lambda: len(node.armed) >= 3)
    assert all(0.2 < after - before < 0.9 for before, after in zip(node.armed, node.armed[1:], strict=False))
    lives[0] = False
    time.sleep(0.1)
    told = len(node.armed)
    time.sleep(0.8)
    assert len(node.armed) == told


@pytest.mark.parametrize(("error", "again"), [(HostUnreachable("silent"), True), (Fenced("overtaken"), False)])
def test_a_node_that_is_silent_is_asked_again_and_one_of_another_run_is_not(error: Exception, again: bool) -> None:
    node: Any = Node(error=error)
    lives = [True]
    guards = Guards(alive=lambda: lives[0], tick=0.02)
    guards.change(NAME, node, CHANGE, 7)
    until(lambda: node.armed)
    time.sleep(0.9)
    lives[0] = False
    assert (len(node.armed) > 1) is again


def test_nodes_that_are_silent_keep_no_other_waiting() -> None:
    silent: list[Any] = [Node() for _ in range(40)]
    lives = [True]
    guards = Guards(alive=lambda: lives[0], tick=0.02)
    for number, one in enumerate(silent):
        one.pause = 2.0
        guards.change({"node": f"silent-{number}"}, one, CHANGE, 7)
    node: Any = Node()
    guards.change(NAME, node, CHANGE, 7)
    until(lambda: len(node.armed) >= 4)
    lives[0] = False
    assert all(after - before < 0.9 for before, after in zip(node.armed, node.armed[1:], strict=False))
    assert {len(one.armed) for one in silent} == {1}, "it is asked again before it has answered"


def test_a_node_of_another_run_is_forgotten_and_one_with_nothing_yet_is_not() -> None:
    nodes: dict[str, Any] = {"other": Node(), "none": Node()}
    lives = [True]
    guards = Guards(alive=lambda: lives[0], tick=0.02)
    for word, node in nodes.items():
        node.arms = f"{word}\n"
        guards.change({"node": word}, node, CHANGE, 7)
    until(lambda: len(nodes["none"].armed) >= 3)
    lives[0] = False
    assert len(nodes["other"].armed) == 1
