"""Every interleaving of two runs with a crash and a stop: one writer, nothing lost, nothing twice, all heals by itself.

And that the search would find it otherwise: each thing that protects is taken away once, and must be missed.
"""

from __future__ import annotations

import dataclasses

import pytest

from tests.model.search import Found, search
from tests.model.spine import THINGS, Model, Rules

pytestmark = pytest.mark.slow
ALL, LESS = frozenset(THINGS), frozenset({1})
LOST = "is in the world, and neither the state nor a journal knows of it"


def told(found: Found) -> str:
    """The problem with the way to it, a line per state."""
    lines = [
        ", ".join(f"{run.at.name} {run.token}{' stopped' * run.stopped}{' crashed' * run.crashed}" for run in it.runs)
        for it in found.way
    ]
    return "\n".join([found.problem, *lines])


@pytest.mark.parametrize("far", [True, False], ids=["other machines", "one machine"])
@pytest.mark.parametrize("second", [ALL, LESS], ids=["wants the same", "wants less"])
def test_no_interleaving_breaks_it(far: bool, second: frozenset[int]) -> None:
    found = search(Model((ALL, second), far))
    print(f"{found.states} states, {found.settled} put right by one more run")
    assert not found.problem, told(found)
    assert found.states > 3000
    assert found.settled > 1000


@pytest.mark.soak
@pytest.mark.parametrize("far", [True, False])
def test_nor_do_two_crashes_and_two_stops(far: bool) -> None:
    found = search(Model((ALL, LESS), far), crashes=2, stops=2)
    print(f"{found.states} states, {found.settled} put right by one more run")
    assert not found.problem, told(found)


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("fenced", "changes a machine that run 2 has taken over"),
        ("journaled", LOST),
        ("compared", "publishes over run 2"),
        ("closed", LOST),
        ("reads_fence", LOST),
        ("begins_guarded", LOST),
    ],
)
def test_without_any_one_rule_the_search_finds_what_it_is_there_for(rule: str, problem: str) -> None:
    assert rule in {field.name for field in dataclasses.fields(Rules)}
    found = search(Model((ALL, LESS), True, Rules(**{rule: False})))
    assert problem in found.problem
    assert found.way
