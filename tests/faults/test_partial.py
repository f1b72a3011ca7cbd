"""One thing fails, the others go on; what failed is said, what was done is recorded, the next apply goes on there."""

from __future__ import annotations

import pytest

from tests.faults.stack import Stack

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def ops(stack: Stack, address: str) -> list[str]:
    """What has happened to one thing, in order."""
    return [line["op"] for line in stack.world.effects() if line["address"] == address]


def test_one_fails_and_the_others_go_on(stack: Stack) -> None:
    failing = {"create": [2, 5]}
    stack.declare(web={"count": 8, "fail": failing}, app={"count": 8, "after": "web"})
    run = stack("apply", "--yes", code=7)
    there = {f"web[{it}]" for it in range(8)} - {"web[2]", "web[5]"}
    there |= {f"app[{it}]" for it in range(8)} - {"app[2]", "app[5]"}
    assert stack.world.things().keys() == there
    for address in ("web[2]", "web[5]"):
        assert f"costless/{address}" in run.err
        assert ops(stack, address) == ["fail"], "what is not transient is not tried again"
    assert "does not want to create" in run.err
    assert "Ask it nicely" in run.err
    before = stack.changes()

    stack.declare(web={"count": 8}, app={"count": 8, "after": "web"})
    stack("apply", "--yes")
    assert stack.changes() == before + 4, "only what was missing was made"
    stack.assert_converged()


@pytest.mark.parametrize("step", ["update", "delete"])
def test_a_failed_change_is_taken_up_by_the_next_apply(stack: Stack, step: str) -> None:
    stack.declare(web={"count": 4, "fail": {step: [1, 3], "times": 1}})
    stack("apply", "--yes")
    if step == "update":
        stack.declare(web={"count": 4, "version": 2, "fail": {step: [1, 3], "times": 1}})
    else:
        stack.declare(web={"count": 1, "fail": {step: [1, 3], "times": 1}})
    run = stack("apply", "--yes", code=7)
    assert "costless/web[1]" in run.err
    assert "costless/web[3]" in run.err
    stack("apply", "--yes")
    stack.assert_converged()
    assert ops(stack, "web[1]") == ["create", "fail", step]


def test_what_is_transient_is_tried_again(stack: Stack) -> None:
    stack.declare(web={"count": 3, "fail": {"create": [1], "times": 2, "transient": True}})
    run = stack("apply", "--yes")
    assert ops(stack, "web[1]") == ["fail", "fail", "create"]
    assert "trying again" in run.err
    stack.assert_converged()


def test_what_stays_transient_fails_in_the_end(stack: Stack) -> None:
    stack.declare(web={"count": 3, "fail": {"create": [1], "transient": True}})
    run = stack("apply", "--yes", code=7)
    assert "costless/web[1]" in run.err
    assert len(stack.world.things()) == 2
    assert set(ops(stack, "web[1]")) == {"fail"}
    assert 3 <= len(ops(stack, "web[1]")) <= 6


def test_a_step_that_takes_longer_than_it_may_is_given_up(stack: Stack) -> None:
    stack.declare(web={"count": 2, "slow": 4000, "timeout": 1}, app={"count": 1})
    run = stack("apply", "--yes", code=7)
    assert "took longer than its time limit of 1 s" in run.err
    assert "app[0]" in stack.world.things()
    stack.declare(web={"count": 2}, app={"count": 1})
    stack("apply", "--yes")
    stack.assert_converged()


def test_a_failed_destroy_leaves_what_is_still_there_and_is_taken_up_again(stack: Stack) -> None:
    stack.declare(web={"count": 3, "fail": {"delete": [1], "times": 1}})
    stack("apply", "--yes")
    run = stack("destroy", "--yes", code=7)
    assert "costless/web[1]" in run.err
    assert stack.world.things().keys() == {"web[1]"}
    stack("destroy", "--yes")
    stack.assert_gone()
