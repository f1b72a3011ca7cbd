"""The search through every state of the model, breadth first: the first broken invariant has the shortest way to it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from swarmctl.state import journal
from swarmctl.state.journal import CREATE, Intent
from tests.model.spine import THINGS, URNS, At, Broken, Model, Run, State, begun, recorded


@dataclass(frozen=True)
class Found:
    """What a search has come to."""

    states: int
    settled: int
    """States from which a last run was made to put everything right."""
    problem: str = ""
    way: tuple[State, ...] = ()
    """From the beginning to the problem."""


def search(model: Model, crashes: int = 1, stops: int = 1) -> Found:
    """Look at every state that two runs, this many crashes and this many stops can come to."""
    first = State(runs=tuple(Run() for _ in model.wanted), crashes=crashes, stops=stops)
    came: dict[State, State | None] = {first: None}
    pending = deque([first])
    settled = 0
    state = first
    try:
        while pending:
            state = pending.popleft()
            after = list(model.steps(state))
            if quiet(state):
                settled += 1
                after += settle(model, state)
            for it in after:
                if it not in came:
                    came[it] = state
                    check(it)
                    pending.append(it)
    except Broken as broken:
        return Found(len(came), settled, str(broken), way(came, state))
    return Found(len(came), settled)


def check(state: State) -> None:
    """What holds at any time. Raises `Broken`."""
    for thing in THINGS:
        if state.world[thing].there and thing not in recorded(state.published) | journaled(state):
            raise Broken(f"thing {thing} is in the world, and neither the state nor a journal knows of it")


def journaled(state: State) -> frozenset[int]:
    """Things that a journal names which the next run will replay."""
    lines = [line for folder in state.folders for line in folder.lines.splitlines()]
    urns = {it.urn for it in map(journal.decode, lines) if isinstance(it, Intent) and it.op == CREATE}
    return frozenset(thing for thing in THINGS if URNS[thing] in urns)


def quiet(state: State) -> bool:
    """Nobody works: each is over, has crashed, or is stopped."""
    return all(run.crashed or run.stopped or run.at is At.OVER for run in state.runs)


def settle(model: Model, state: State) -> list[State]:
    """One more run, undisturbed, must put everything right. What is stopped may go on after it."""
    after = []
    for wanted in (frozenset(THINGS), frozenset({1}), frozenset[int]()):
        if len(state.runs) > len(model.wanted):
            break  # it was settled before
        last = replace(model, wanted=(*model.wanted, wanted))
        index = len(model.wanted)
        now: State | None = replace(state, runs=(*state.runs, Run()), crashes=0, stops=0)
        while now is not None and now.runs[index].at is not At.OVER:
            now = last.step(now, index)
        if now is None:
            raise Broken("the lease is stuck")
        there = frozenset(thing for thing in THINGS if now.world[thing].there)
        if now.publisher != now.runs[index].token:
            raise Broken("the last run was cut off")
        if there != wanted or recorded(now.published) != wanted or begun(now.published) or now.folders:
            raise Broken(f"wanted {set(wanted)}, there is {set(there)}, recorded {set(recorded(now.published))}")
        after.append(now)
    return after


def way(came: dict[State, State | None], state: State) -> tuple[State, ...]:
    """How a state was come to."""
    found: list[State] = []
    it: State | None = state
    while it is not None:
        found.insert(0, it)
        it = came[it]
    return tuple(found)
