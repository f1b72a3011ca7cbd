"""Rollouts on the real engine: batches one after the other, a stop that others don't notice, and going on after it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarmctl.graph.model import Graph, Rollout
from tests.engine.world import World, file, graph, token

pytestmark = pytest.mark.integration


def fleet(*, rollout: Rollout, value: int, fail: str = "") -> Graph:
    """A file on each of six nodes, a second one that needs it and those of all others, and a node of another pool."""
    nodes = [f"n-{ordinal}" for ordinal in range(6)]
    firsts = [
        file(f"a-{node}", node=node, value=value, **({"fail": "update"} if node == fail else {})) for node in nodes
    ]
    seconds = [file(f"b-{node}", node=node, **{other: token(f"a-{other}") for other in nodes}) for node in nodes]
    made = graph(*firsts, *seconds, replace(file("other", node="m", value=value), pool="q"))
    made.rollouts["p"] = rollout
    return made


def values(world: World) -> list[int]:
    return [world.inputs(f"a-n-{ordinal}")["value"] for ordinal in range(6)]


def test_a_stopped_rollout_leaves_the_rest_of_its_pool_and_goes_on_in_the_next_run(world: World) -> None:
    rollout = Rollout(canary=1, batch=2, max_failures=0)
    assert world.update(fleet(rollout=rollout, value=1)).failures == ()
    assert len(world.files()) == 13

    stopped = world.update(fleet(rollout=rollout, value=2, fail="n-2"), changing={f"test/a-n-{n}" for n in range(6)})
    assert [failure.address for failure in stopped.failures] == ["test/a-n-2"]
    assert values(world) == [2, 2, 1, 1, 1, 1]
    assert world.inputs("other")["value"] == 2
    left = {one.address: one.reason for one in stopped.skipped if one.address.startswith("test/a")}
    assert set(left) == {"test/a-n-3", "test/a-n-4", "test/a-n-5"}
    assert set(left.values()) == {
        "the rollout of the NodePool p was stopped: n-2 failed, and no node may fail (maxFailures)"
    }

    again = world.update(fleet(rollout=rollout, value=2))
    assert (again.failures, again.skipped) == ((), ())
    assert values(world) == [2] * 6
    assert world.deletions() == [], "nothing was taken for removed from the declarations"


def test_failures_within_the_limit_stop_nothing(world: World) -> None:
    rollout = Rollout(canary=2, batch=1, max_failures=1)
    world.update(fleet(rollout=rollout, value=1))
    outcome = world.update(fleet(rollout=rollout, value=2, fail="n-1"))
    assert [failure.address for failure in outcome.failures] == ["test/a-n-1"]
    assert values(world) == [2, 1, 2, 2, 2, 2]
