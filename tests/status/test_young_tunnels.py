"""Tunnels that are just being made: who sends first, and how long silence is waited for."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from swarmctl.operations.settling import JITTER, KEEPALIVE_TIMEOUT, LONGEST, NEVER, REKEY_TIMEOUT, REPLACED
from swarmctl.operations.status import MAX_PINGED, measure
from swarmctl.operations.status_model import Status
from swarmctl.plans.events import Event, Note
from tests.status.test_status import link, node, see
from tests.status.world import NOW, World, declared

ENDS = frozenset({"control-0", "workers-0"})
ALL = ("control-0", "control-1", "workers-0", "workers-1", "workers-2")
DEAF = {("workers-0", "10.88.0.1"), ("workers-0", "fd88::1"), ("control-0", "10.88.0.3"), ("control-0", "fd88::3")}


def ages(age: int, *nodes: str) -> dict[str, int]:
    return dict.fromkeys(nodes or ALL, age)


def opened(world: World) -> list[tuple[str, str]]:
    """(opener, other end) of what was pinged before every node pinged all others."""
    began = next(place for place, (_, addresses) in enumerate(world.pinged) if any(":" in each for each in addresses))
    return sorted((sender, world.owner(address)) for sender, addresses in world.pinged[:began] for address in addresses)


@pytest.mark.parametrize("age", [-1, 165, 500])
def test_a_tunnel_without_a_session_is_opened_from_one_end_before_all_probe(age: int) -> None:
    world = World(declared(), ages=ages(age))
    assert see(world).healthy
    assert opened(world) == sorted((one, other) for one in ALL for other in ALL if one < other)


@pytest.mark.parametrize("trouble", [{}, {"ages": ages(164)}, {"ages": ages(-1, "workers-0")}])
def test_nothing_is_opened_where_at_most_one_end_would_begin(trouble: dict[str, Any]) -> None:
    world = World(declared(), **trouble)
    see(world)
    assert opened(world) == []


def test_sessions_that_are_there_cost_one_call_for_facts_and_one_for_probes() -> None:
    world = World(declared())
    see(world)
    assert set(Counter(world.asked).values()) == {1}
    facts = [place for place, (_, what) in enumerate(world.asked) if what == "facts"]
    assert max(facts) < len(ALL)


def test_facts_are_read_again_only_where_a_tunnel_had_no_session() -> None:
    world = World(declared(), ages={"workers-0": -1})
    see(world)
    assert {name for name, what in world.asked if world.asked.count((name, "facts")) == 2} == {"workers-0"}


def test_the_end_that_knows_where_the_other_is_opens() -> None:
    world = World(declared(), ages=ages(-1), nowhere={"control-1", "workers-0"})
    see(world)
    pairs = opened(world)
    assert ("workers-1", "workers-2") in pairs
    assert ("control-1", "workers-1") in pairs  # and not workers-1, that doesn't know where control-1 is
    assert ("workers-0", "workers-1") in pairs
    assert ("control-0", "control-1") not in pairs
    assert ("control-1", "control-0") in pairs
    assert not {("control-1", "workers-0"), ("workers-0", "control-1")} & set(pairs)


def test_tunnels_to_a_hub_are_opened_once_each() -> None:
    world = World(declared(hubs="control"), ages=ages(-1))
    see(world)
    hubs, spokes = ALL[:2], ALL[2:]
    assert opened(world) == sorted([(hub, spoke) for hub in hubs for spoke in spokes] + [hubs])


def test_a_tunnel_whose_interface_is_down_is_not_opened() -> None:
    world = World(declared(), ages=ages(-1), down={"control-0"})
    see(world)
    assert not any("control-0" in pair for pair in opened(world))


def test_in_a_large_mesh_where_one_end_pings_nothing_needs_opening() -> None:
    stack = declared(pools={"workers": (2 * MAX_PINGED + 1, "us", "worker")})
    world = World(stack, ages={machine.name: -1 for machine in stack.machines})
    see(world)
    assert max(Counter(sender for sender, _ in world.pinged).values()) == 1


def test_an_answer_that_comes_too_late_is_asked_for_again_at_once() -> None:
    both = {("workers-0", "workers-1"), ("workers-1", "workers-0")}
    world = World(declared(), young=both)
    status = see(world)
    assert all(link.reachable for link in status.links)
    assert all(flow.ok for flow in status.flows)
    assert len(status.flows) == 184
    assert world.slept == [0.0]
    assert {name for name, _ in world.asked if world.asked.count((name, "probe")) == 2} == {"workers-0", "workers-1"}


@pytest.mark.parametrize(
    ("age", "heals"),
    [
        (0, KEEPALIVE_TIMEOUT + REKEY_TIMEOUT),
        (0, KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + JITTER),
        (12, KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + JITTER),
        (-1, REKEY_TIMEOUT),
        (-1, NEVER),
    ],
    ids=["one way", "one way, longest jitter", "one way since before it was used", "no session", "none twice"],
)
def test_silence_that_wireguard_mends_is_waited_for(age: int, heals: float) -> None:
    world = World(declared(), ages=ages(age, *ENDS), heals={ENDS: heals})
    assert see(world).healthy
    assert heals <= world.passed <= heals + REKEY_TIMEOUT


def test_a_second_handshake_that_leaves_a_session_one_way_is_waited_for() -> None:
    world = World(
        declared(),
        ages=ages(-1, *ENDS),
        deafened={ENDS: REKEY_TIMEOUT},
        heals={ENDS: REKEY_TIMEOUT + KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + JITTER},
    )
    assert see(world).healthy
    assert world.passed <= LONGEST


@pytest.mark.parametrize(("age", "longest"), [(0, REPLACED), (12, REPLACED), (-1, NEVER)])
def test_silence_that_goes_on_is_told_when_wireguard_has_had_its_time(age: int, longest: float) -> None:
    world = World(declared(), deaf=DEAF, ages=ages(age, *ENDS))
    status = see(world)
    assert link(status, "workers-0", "control-0").reachable is False
    assert any("control-0" in reason for reason in node(status, "workers-0").reasons)
    assert longest <= world.passed < longest + 1


def test_handshakes_that_never_end_are_not_waited_for_without_end() -> None:
    class Restless(World):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            self.deafened = {ENDS: self.passed}

    world = Restless(declared(), deaf=DEAF, ages=ages(0, *ENDS))
    assert not see(world).healthy
    assert world.passed <= LONGEST < 30


@pytest.mark.parametrize(
    "trouble",
    [
        {"ages": {"workers-0": 60}},
        {"ages": {"workers-0": 18}},
        {"ages": {"workers-0": -1}, "dropped": {("control-0", "workers-0")}},
        {"gone": {"control-0"}, "ages": {"workers-0": -1}},
        {"unreachable": {"control-0"}, "ages": {"workers-0": -1}},
        {"down": {"control-0"}, "ages": {"workers-0": -1}},
    ],
    ids=[
        "an old session",
        "made before REPLACED",
        "removed at the other end",
        "the other machine is gone",
        "it can't be read",
        "its interface is down",
    ],
)
def test_silence_that_will_not_end_by_itself_is_not_waited_for(trouble: dict[str, Any]) -> None:
    deaf = {("workers-0", "10.88.0.1"), ("workers-0", "fd88::1")}
    world = World(declared(), deaf=deaf, **trouble)
    status = see(world)
    assert link(status, "workers-0", "control-0").reachable is False
    assert world.slept == []


def test_waiting_is_told_once_and_counts_as_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarmctl.backends.clocks.time.time", lambda: float(NOW))
    world, told = World(declared(), ages=ages(-1, *ENDS), heals={ENDS: NEVER}), list[Event]()
    status: Status = measure(
        world.stack, probe=True, open_=world.open, emit=told.append, sleep=world.sleep, clock=world.clock
    )
    assert [event.text for event in told if isinstance(event, Note)] == [
        "a tunnel that is just being made doesn't carry traffic yet: waiting up to 28 s for WireGuard's next handshake"
    ]
    assert status.seconds == world.passed == sum(world.slept)
    assert all(before <= REPLACED and after <= REPLACED for before, after in pairwise(world.slept))
