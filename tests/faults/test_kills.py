"""kill -9 of the command line, the engine and the provider: the next apply converges by itself.

Every kill is of a process that is alive, in a run that has not ended; one that came too late does not count and is
tried again. After each: the world is what is declared, nothing was made twice, nothing is left over, nobody is at work
any more, and there is nothing to do. In between the declarations may change, and the store may get lost.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable

import pytest

from tests.faults.stack import HEAL, Moment, Stack, Watched

pytestmark = [pytest.mark.integration, pytest.mark.slow]

VICTIMS = ("cli", "engine", "provider")
THINGS = 12


def journaled(lines: int) -> Moment:
    """So many records stand in the run's journal."""
    return lambda run: sum(len(it.read_bytes().splitlines()) for it in run.lab.store.glob("runs/*/journal")) >= lines


def changed(count: int) -> Moment:
    """So many changes were made in the world, by this run or before."""
    return lambda run: run.lab.changes() >= count


def running(what: str, phase: str) -> Moment:
    """It is there, in this phase."""
    return lambda run: phase in run.err and run.find(what)


POINTS: dict[str, tuple[str, Moment]] = {
    "cli, it compares": ("cli", running("engine", "comparing")),
    "engine, it compares": ("engine", running("engine", "comparing")),
    "provider, it compares": ("provider", running("provider", "comparing")),
    "cli, the plan is shown": ("cli", lambda run: f"Plan: {THINGS} to create" in run.out),
    "cli, the run has a folder": ("cli", lambda run: list(run.lab.store.glob("runs/*/run.json"))),
    "provider, the first intent": ("provider", journaled(1)),
    "cli, the first change": ("cli", changed(1)),
    "engine, half of the changes": ("engine", changed(THINGS // 2)),
    "provider, half of the changes": ("provider", changed(THINGS // 2)),
    "cli, the last change": ("cli", changed(THINGS)),
    "engine, the last change": ("engine", changed(THINGS)),
    # Once that is made it may be gone.
    "provider, the last change": ("provider", changed(THINGS - 1)),
}

OFTEN = {"provider, it compares", "cli, the plan is shown", "provider, the first intent", "engine, half of the changes"}
OFTEN |= {"cli, the last change", "provider, the last change"}
"""Those that every run of the tests has; `make soak` has them all."""
ALL = [pytest.param(*POINTS[at], id=at, marks=() if at in OFTEN else pytest.mark.soak) for at in POINTS]


@pytest.mark.parametrize(("victim", "moment"), ALL)
def test_kill_9_at_a_chosen_point_heals(stack: Stack, victim: str, moment: Moment) -> None:
    stack.declare(web={"count": THINGS, "slow": 100})
    run = stack.watch("apply", "--yes")
    run.until(moment)
    run.kill(victim)
    run.end()
    heal(stack)
    stack.assert_converged()
    stack("destroy", "--yes")
    stack.assert_gone()


def heal(stack: Stack, *args: str) -> None:
    """The very next command does it, without anybody's hand."""
    started = time.monotonic()
    stack(*(args or ("apply", "--yes")))
    assert time.monotonic() - started < HEAL


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in (1, 2))])
def test_kill_9_at_random_moments_heals(stack: Stack, seed: int) -> None:
    assert rounds(stack, random.Random(seed), kills=4) == 4


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(1000, 1050))
def test_500_kills_at_random_moments_heal(stack: Stack, seed: int) -> None:
    assert rounds(stack, random.Random(seed), kills=10) == 10


def rounds(stack: Stack, chance: random.Random, kills: int) -> int:
    """Kill so often, heal and look after each; returns how many live processes were killed."""
    killed = 0
    stack.declare(web={"count": 6}, app={"count": 3, "after": "web"})
    took = 1.5
    while killed < kills:
        story = chance.choice(STORIES)
        took, hit = story(stack, chance, took)
        killed += hit
        stack.assert_converged()
    stack("destroy", "--yes")
    stack.assert_gone()
    return killed


def kill_somewhere(stack: Stack, chance: random.Random, took: float, *args: str) -> tuple[float, bool]:
    """Start it and kill one of its processes within the time that such a run takes; returns how long it takes, and
    whether the victim was alive."""
    victim = chance.choice(VICTIMS)
    run = stack.watch(*args)
    started = time.monotonic()
    moment = started + chance.uniform(0.05, took)
    hit = False
    while run.process.poll() is None:
        if time.monotonic() >= moment and run.find(victim):
            # Between the look and the blow it may have ended; its id is not given to another as long as we are its
            # parent, and for the others a later look tells.
            hit = try_to_kill(run, victim)
            break
        time.sleep(0.002)
    run.end()
    return (took if hit else max(0.6, 0.9 * (time.monotonic() - started))), hit


def try_to_kill(run: Watched, victim: str) -> bool:
    """Kill it if it is alive and the run has not come to its end."""
    try:
        run.kill(victim)
    except (AssertionError, ProcessLookupError):
        return False
    run.process.wait(60)
    # One that had done its work already, so that the run ended well all the same, does not count.
    return run.process.returncode != 0


def change(stack: Stack, chance: random.Random, *, growing: bool = False) -> None:
    """Declare something else: more or less things, other versions, other sizes; with `growing` nothing leaves."""
    declared = {name: dict(spec) for name, spec in stack.declared.items()}
    web, app = declared["web"], declared.get("app")
    web["version"] = web.get("version", 1) + 1
    web["slow"] = chance.choice([0, 5, 20])
    count = web["count"] + (chance.randint(1, 4) if growing else chance.choice([-2, -1, 1, 3]))
    web["count"] = max(2, min(20, count))
    if chance.random() < 0.3:
        web["size"] = web.get("size", 1) + 1
    if app is not None and not growing and chance.random() < 0.3:
        del declared["app"]
    elif app is None and chance.random() < 0.5:
        declared["app"] = {"count": 3, "after": "web", "slow": 5}
    stack.declare(**declared)


Story = Callable[[Stack, random.Random, float], tuple[float, bool]]


def apply_again(stack: Stack, chance: random.Random, took: float) -> tuple[float, bool]:
    """Killed in an apply; the same is applied again."""
    change(stack, chance)
    result = kill_somewhere(stack, chance, took, "apply", "--yes")
    heal(stack)
    return result


def apply_something_else(stack: Stack, chance: random.Random, took: float) -> tuple[float, bool]:
    """Killed in an apply; by the next one what it made may have left the declarations."""
    change(stack, chance)
    result = kill_somewhere(stack, chance, took, "apply", "--yes")
    change(stack, chance)
    heal(stack)
    return result


def apply_without_the_store(stack: Stack, chance: random.Random, took: float) -> tuple[float, bool]:
    """Killed in an apply, and then the folder with the state is lost. What nothing declares any more nobody would
    know, so nothing leaves here; what is there is adopted. What the killed run left running may still be at work."""
    change(stack, chance, growing=True)
    result = kill_somewhere(stack, chance, took, "apply", "--yes")
    if stack.store.exists():
        stack.lose_the_store()
    heal(stack)
    return result


def destroy_and_apply(stack: Stack, chance: random.Random, took: float) -> tuple[float, bool]:
    """Killed in a destroy, and applied again."""
    result = kill_somewhere(stack, chance, took, "destroy", "--yes")
    heal(stack)
    return result


def destroy_twice(stack: Stack, chance: random.Random, took: float) -> tuple[float, bool]:
    """Killed in a destroy, destroyed, and applied."""
    result = kill_somewhere(stack, chance, took, "destroy", "--yes")
    heal(stack, "destroy", "--yes")
    stack.assert_gone()
    stack("apply", "--yes")
    return result


def kill_twice(stack: Stack, chance: random.Random, took: float) -> tuple[float, bool]:
    """Killed, and the one that heals is killed, too."""
    change(stack, chance)
    kill_somewhere(stack, chance, took, "apply", "--yes")
    result = kill_somewhere(stack, chance, took, "apply", "--yes")
    heal(stack)
    return result


STORIES: tuple[Story, ...] = (
    apply_again,
    apply_again,
    apply_something_else,
    apply_something_else,
    apply_without_the_store,
    destroy_and_apply,
    destroy_twice,
    kill_twice,
)


def test_the_harness_sees_a_thing_that_was_made_twice_and_one_that_nobody_declares(stack: Stack) -> None:
    """The control: the checks above do find what they are there for."""
    stack.declare(web={"count": 2})
    stack("apply", "--yes")
    (line,) = [it for it in stack.world.effects() if it["op"] == "create" and it["address"] == "web[0]"]
    log = stack.root / "world" / "effects.log"
    healthy = log.read_bytes()
    for wrong in ({"address": "web[0]"}, {"address": "web[9]"}, {"token": 1, "op": "update"}):
        log.write_bytes(healthy + json.dumps(line | wrong).encode() + b"\n")
        del stack.world  # it has read the log as it was
        with pytest.raises(AssertionError):
            stack.assert_converged()
    log.write_bytes(healthy)
    del stack.world
    stack.assert_converged()
