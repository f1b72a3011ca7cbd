"""Clocks that are far off are kept in mind until they are told, and right ones are not."""

from __future__ import annotations

import time

from swarmctl.backends import clocks


def test_what_is_far_off_is_told_once_and_what_was_set_right_not_at_all() -> None:
    clocks.take()
    now = time.time()
    for node, clock in (("n1", now - 365 * 86400), ("n2", now + 7200), ("n3", now - 600), ("n4", None)):
        clocks.see(node, clock)
    assert clocks.take("n1") == [f"n1: its clock is 365 days behind; {clocks.MEND}"]
    clocks.see("n5", now + 7200)
    clocks.see("n5", now)
    assert clocks.take() == [f"n2: its clock is 2.0 hours ahead; {clocks.MEND}"]
    assert clocks.take() == []


def test_of_many_machines_the_first_are_named_and_the_computers_own_clock_is_in_doubt() -> None:
    clocks.take()
    for number in range(9):
        clocks.see(f"n{number}", time.time() - 7200)
    said = clocks.take()
    assert [text[:3] for text in said[:-1]] == [f"n{number}:" for number in range(5)]
    assert said[-1] == "the clocks of 4 more machines are far off: see whether this computer's own is right"


def test_what_comes_one_machine_at_a_time_is_counted_beyond_the_first() -> None:
    told: list[str] = []
    few = clocks.Few(told.append)
    for number in range(1000):
        few(f"nodepool/metal[n{number}]: n{number}: its clock is 2.0 hours ahead; {clocks.MEND}")
        few("something else")
    few.end()
    assert [text for text in told if "its clock" in text] == [
        f"nodepool/metal[n{number}]: n{number}: its clock is 2.0 hours ahead; {clocks.MEND}" for number in range(5)
    ]
    assert told.count("something else") == 1000
    assert told[-1] == "the clocks of 995 more machines are far off: see whether this computer's own is right"
    few = clocks.Few(told.append)
    told.clear()
    few.end()
    assert told == []
