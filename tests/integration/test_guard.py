"""Changes that undo themselves: cut off, killed, restarted, or confirmed.

pytest -s tests/integration/test_guard.py    prints how long each takes; bench/guard.py measures it
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from shlex import quote

import pytest

from tests.integration import lab as labs
from tests.integration.guarding import (
    MORE,
    NETWORK,
    NODES,
    NOWHERE,
    POOL,
    SLACK,
    WITHIN,
    killed,
    peers,
    pending,
    reached,
    seen,
    table,
    until,
)
from tests.integration.underlay import Underlay
from tests.integration.watching import Watched, again

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("guard")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, engine: object) -> Iterator[labs.Lab]:
    made = labs.make(tmp_path_factory.mktemp("guard"))
    (made.stack / "pools.yaml").write_text(POOL)
    try:
        (made.stack / "network.yaml").write_text(NETWORK)
        made("apply", "--yes")
        yield made
    finally:
        again(made, "destroy", "--yes")
        labs.assert_nothing_left(made)


@pytest.fixture
def lab(whole: labs.Lab) -> labs.Lab:
    """As it was declared at first, whatever the test before has done."""
    (whole.stack / "network.yaml").write_text(NETWORK)
    whole("apply", "--yes")
    return whole


def test_a_good_change_is_confirmed_and_leaves_nothing_pending(lab: labs.Lab) -> None:
    lab.edit("network.yaml", MORE, "")
    assert lab("plan", "--format", "json").json["changes"][0]["guarded"].endswith(f"within {WITHIN} s")
    started = time.monotonic()
    lab("apply", "--yes")
    print(f"\na good change of 3 nodes, one after the other: {time.monotonic() - started:.1f} s")
    assert [node for node in NODES if pending(lab, node)] == []
    time.sleep(WITHIN + 1)
    assert "more" not in table(Underlay.of(lab), NODES[0])
    assert "guard" not in lab.on(NODES[0], "ps -e -o args | grep '[s]warmctl-guard' || :")
    lab("plan", "--detailed-exitcode")


def test_a_change_that_cuts_nodes_off_is_undone_by_its_own_run(lab: labs.Lab) -> None:
    under = Underlay.of(lab)
    assert reached(under)
    before, had = seen(under), [peers(lab, node) for node in NODES]
    lab.edit("network.yaml", "#endpoints", NOWHERE)
    started = time.monotonic()
    run = lab("apply", "--yes", code=1)
    print(f"\ncut off and back again: {time.monotonic() - started:.1f} s")
    assert "does not reach" in run.err
    until(lambda: reached(under), SLACK + 5)
    assert (seen(under), [peers(lab, node) for node in NODES]) == (before, had)
    for how in ((), ("--no-refresh",)):
        assert lab("plan", *how, "--detailed-exitcode", "--format", "json", code=20).json["summary"]["update"] == 6
    lab("drift")


@pytest.mark.parametrize(
    "victim", ["provider", *(pytest.param(one, marks=pytest.mark.soak) for one in ("cli", "engine"))]
)
def test_whoever_is_killed_the_nodes_are_back_in_time(lab: labs.Lab, victim: str) -> None:
    under = Underlay.of(lab)
    before = seen(under)
    lab.edit("network.yaml", MORE, "")
    run = killed(lab, victim)
    died = time.monotonic()
    run.end()
    until(lambda: seen(under) == before, WITHIN + SLACK, lambda: f"{run.err}\n{before}\n{seen(under)}")
    print(f"\nkill -9 of the {victim}: all nodes are back after {time.monotonic() - died:.1f} s")
    assert time.monotonic() - died < WITHIN + SLACK
    assert (
        lab("plan", "--no-refresh", "--detailed-exitcode", "--format", "json", code=20).json["summary"]["update"] == 3
    )
    again(lab, "apply", "--yes")
    assert "more" not in table(under, NODES[0])
    lab("plan", "--detailed-exitcode")


def test_a_node_that_is_restarted_comes_back_with_what_it_had(lab: labs.Lab) -> None:
    under = Underlay.of(lab)
    before, had = seen(under), [peers(lab, node) for node in NODES]
    lab.edit("network.yaml", MORE, "")
    run = killed(lab, "cli")
    died = time.monotonic()
    node = NODES[0]  # the canary
    under.reboot(node)
    run.end()
    assert table(under, node) == ""
    until(lambda: table(under, node) == before[0], WITHIN + SLACK)
    print(f"\nkill -9 of the cli, restart of {node}: back {time.monotonic() - died:.1f} s after the kill")
    until(lambda: reached(under), 10)
    assert peers(lab, node) == had[0]
    again(lab, "apply", "--yes")
    lab("plan", "--detailed-exitcode")


def test_a_new_run_undoes_at_once_what_a_dead_one_left(lab: labs.Lab) -> None:
    lab.edit("network.yaml", f"{WITHIN}s", "5m")
    lab("apply", "--yes")
    now = (lab.stack / "network.yaml").read_text()
    lab.edit("network.yaml", MORE, "")
    killed(lab, "cli").end()
    told = lab("drift", code=None)
    assert "undoes itself in" in told.err
    assert "undoes itself in" in lab("status", code=None).out
    (lab.stack / "network.yaml").write_text(now)
    run2 = lab("apply", "--yes")
    assert "had not confirmed its changes: undone on" in run2.err
    assert "more" in table(Underlay.of(lab), NODES[0])
    assert [node for node in NODES if pending(lab, node)] == []


def test_two_nodes_with_one_key_are_named_and_nothing_is_changed(lab: labs.Lab) -> None:
    """As after cloning a machine, or when root of a node lies."""
    under = Underlay.of(lab)
    had = [peers(lab, node) for node in NODES]
    file = "/etc/swarmctl/mesh/backbone/private.key"
    keys = [lab.on(node, f"cat {file}").strip() for node in NODES]
    try:
        lab.on(NODES[1], f"echo '{keys[0]}' >{file}")
        run = lab("apply", "--yes", code=None)
        print(run.code, run.out, run.err)
        assert run.code
        assert f"{NODES[0]} and {NODES[1]} have the same WireGuard key" in run.err + run.out
        assert [peers(lab, node) for node in NODES] == had
        assert reached(under)
    finally:
        lab.on(NODES[1], f"echo '{keys[1]}' >{file}")
    lab("apply", "--yes")
    assert reached(under)


SLOW = "/usr/local/sbin/nft"


@contextmanager
def slow(lab: labs.Lab, node: str, seconds: float) -> Iterator[None]:
    """A node whose firewall takes long to change, but not to be brought back."""
    real = lab.on(node, "command -v nft").strip()
    assert real != SLOW
    text = f"""#!/bin/sh\n[ "$1 $2" != '-f -' ] || sleep {seconds}\nexec {real} "$@"\n"""
    lab.on(node, f"mkdir -p {SLOW.rpartition('/')[0]}; printf %s {quote(text)} >{SLOW}; chmod +x {SLOW}")
    assert lab.on(node, "command -v nft").strip() == SLOW
    try:
        yield
    finally:
        lab.on(node, f"rm {SLOW}")


def test_a_change_may_take_longer_than_the_time_to_confirm_it(lab: labs.Lab) -> None:
    lab.edit("network.yaml", MORE, "")
    with slow(lab, NODES[0], WITHIN + 4):
        lab("apply", "--yes")
    assert ["more" in it for it in seen(Underlay.of(lab))] == [False] * 3
    assert [node for node in NODES if pending(lab, node)] == []


def test_what_a_dead_run_left_going_on_is_ended_before_it_is_undone(lab: labs.Lab) -> None:
    under = Underlay.of(lab)
    before = table(under, NODES[0])
    lab.edit("network.yaml", MORE, "")
    with slow(lab, NODES[0], WITHIN + 3):
        run = Watched(lab, "apply", "--yes")
        try:
            run.until(lambda run: pending(lab, NODES[0]))
            run.kill("cli")
        finally:
            run.end()
        died = time.monotonic()
        until(lambda: not pending(lab, NODES[0]), WITHIN + SLACK)
        time.sleep(max(0, died + WITHIN + 4 - time.monotonic()))
        assert table(under, NODES[0]) == before
        assert "sleep" not in lab.on(NODES[0], f"ps -e -o args | grep '[s]leep {WITHIN + 3}' || :")
    again(lab, "apply", "--yes")
    assert "more" not in table(under, NODES[0])
