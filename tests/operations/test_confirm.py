"""What of a run's guarded changes stays: judged by who answers, before and after."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from swarmctl.engine.guarded import Made, made, settled
from swarmctl.graph.model import Address, Graph, Machine, MeshMember
from swarmctl.hosts.guard import Answer
from swarmctl.operations import reach
from swarmctl.operations.confirm import Judge
from swarmctl.operations.guards import Told
from swarmctl.operations.reach import Pair
from swarmctl.plans.model import Action, Change, Plan
from swarmctl.state.checkpoint import Recorded, Snapshot
from swarmctl.state.journal import Intent, Record, Result
from swarmctl.state.replay import urn
from tests.operations.world import Lease

NODES = ("a", "b", "c")
URN = urn("lab", "swarm:mesh:Peers", "mesh/m[a/peers]")
INPUTS = {"node": "a", "host": {"node": "a"}, "confirmWithin": 30}


def member(node: str, *peers: str, mesh: str = "m", forwards: bool = False) -> MeshMember:
    number = ord(node) - 96
    return MeshMember(
        node,
        mesh,
        "wg0",
        (f"10.88.0.{number}",),
        ("10.88.0.0/16",),
        51820,
        peers,
        forwards,
        Address("mesh", mesh, node),
    )


def graph(*members: MeshMember) -> Graph:
    made = Graph("lab")
    for node in NODES:
        made.export(Machine(node, Address("nodepool", "p", node), "p", "core", "", {}, (), {"node": node}))
    for one in members:
        made.export(one)
    return made


FULL = (member("a", "b", "c"), member("b", "a", "c"), member("c", "a", "b"))
EVERY = {Pair("m", one, other) for one in NODES for other in NODES if one != other}


class World:
    """Nodes that answer as they are told to, and what they were told."""

    def __init__(self, answers: Mapping[str, Mapping[str, Told]] | None = None) -> None:
        self.answers = answers or {}
        self.told: list[tuple[str, list[str]]] = []
        self.asked: list[reach.Addresses] = []
        """At which addresses each measurement was."""

    def tell(self, names: Iterable[str], script: Callable[[str], str], *, done: bool) -> dict[str, Told]:
        names = list(names)
        usual = {"arm": "armed", "confirm": "confirmed", "undo": "undone"}
        text = script(names[0]) if names else ""
        what = "arm" if "echo armed" in text else "confirm" if "echo confirmed" in text else "undo"
        if names:
            self.told.append((what, names))
        return {name: self.answers.get(what, {}).get(name, Told(Answer(usual[what]))) for name in names}


class Clock:
    """Time goes on only while somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("swarmctl.operations.confirm.time.monotonic", lambda: self.now)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def judge(world: World, rounds: list[set[Pair]], members: tuple[MeshMember, ...] = FULL) -> Judge:
    """`rounds`: what is reached, at first and then at every measurement; the last one stays."""

    def measure(wanted: Collection[Pair], addresses: reach.Addresses, hosts: Mapping[str, Any]) -> set[Pair]:
        world.asked.append(dict(addresses))
        found = rounds[0] if len(rounds) == 1 else rounds.pop(0)
        return set(wanted) & found

    recorded = {
        f"mesh/m[{node}]": Recorded("swarm:mesh:Interface", {"node": node, "addresses": ["10.88.0.1/16"]}, {})
        for node in NODES
    }
    changes = tuple(Change(f"mesh/m[{it}/peers]", "t", Action.UPDATE, it, guarded="x") for it in NODES)
    fence: Any = lambda: Lease  # noqa: E731 - has a token, which is all that is asked of it
    return Judge(
        graph(*members),
        Snapshot(digest="", resources=recorded),
        Plan("lab", changes, 0),
        fence,
        lambda event: None,
        measure,
        lambda hosts, fence: world,  # type: ignore[arg-type,return-value]
        lambda seconds: None,
    )


def changed(*nodes: str, seconds: int = 30) -> list[Made]:
    return [Made(f"mesh/m[{node}/peers]", node, {"node": node}, seconds) for node in nodes]


def test_what_answers_as_before_is_confirmed() -> None:
    world = World()
    it = judge(world, [EVERY])
    it.look()
    assert it.settle(changed(*NODES), True) == []
    assert it.undone == ()
    assert world.told == [("arm", ["a", "b", "c"]), ("confirm", ["a", "b", "c"])]


def test_a_handshake_may_take_a_few_measurements() -> None:
    it = judge(World(), [EVERY, set(), EVERY - {Pair("m", "a", "b")}, EVERY])
    it.look()
    assert it.settle(changed(*NODES), True) == []


def test_who_is_cut_off_is_undone_with_all_of_its_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarmctl.operations.confirm.PATIENCE", 0)
    world = World()
    it = judge(world, [EVERY, EVERY - {Pair("m", "a", "b"), Pair("m", "b", "a")}])
    it.look()
    assert it.settle(changed(*NODES), True) == [f"mesh/m[{node}/peers]" for node in NODES]
    assert world.told[-1] == ("undo", ["a", "b", "c"])
    reasons = {one.node: one.reason for one in it.undone}
    assert reasons["a"] == "does not reach b any more"
    assert reasons["c"] == "undone together with the others of its mesh"


def test_who_did_not_answer_before_need_not_now() -> None:
    it = judge(World(), [EVERY - {Pair("m", "a", "b")}, EVERY - {Pair("m", "a", "b")}])
    it.look()
    assert it.settle(changed("a"), True) == []


def test_whom_the_declaration_parts_need_not_answer() -> None:
    members = (member("a"), member("b", "c"), member("c", "b"))
    it = judge(World(), [{Pair("m", "b", "c"), Pair("m", "c", "b")}], members)
    it._before = set(EVERY)
    assert it.settle(changed(*NODES), True) == []


@pytest.mark.parametrize("seconds", [12, 30, 60])
def test_waiting_is_over_in_time_to_undo_and_puts_it_off_meanwhile(clock: Clock, seconds: int) -> None:
    world = World()
    it = judge(world, [EVERY, set()])
    it.sleep = clock.sleep
    it.look()
    assert len(list(it.settle(changed(*NODES, seconds=seconds), True))) == 3
    assert 0.6 * seconds <= clock.now <= 0.75 * seconds
    armed = [what for what, _ in world.told[:-1]]
    assert armed == ["arm"] * len(armed)
    assert len(armed) > seconds / 2, "it is not put off while it waits"


def test_it_is_measured_at_the_old_addresses_before_and_at_the_new_ones_after() -> None:
    world = World()
    it = judge(world, [EVERY])
    it.look()
    it.settle(changed(*NODES), True)
    before, after = world.asked
    assert before["m", "b"] == ["10.88.0.1"]
    assert after["m", "b"] == ("10.88.0.2",)


def test_a_run_that_broke_off_is_undone_unmeasured() -> None:
    world = World()
    it = judge(world, [EVERY])
    assert len(list(it.settle(changed(*NODES), False))) == 3
    assert world.told == [("undo", ["a", "b", "c"])]


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (Told(Answer(""), "a: no answer"), "does not answer any more: a: no answer"),
        (Told(Answer("none", ("firewall",))), "it failed there, or nobody confirmed it in time"),
        (Told(Answer("failed", ("firewall",))), "it failed there, or nobody confirmed it in time"),
        (Told(Answer("other")), "was changed by another run"),
    ],
)
def test_a_node_that_does_not_wait_for_this_run_any_more(told: Told, reason: str) -> None:
    it = judge(World({"arm": {"a": told}}), [EVERY])
    it.look()
    assert len(list(it.settle(changed(*NODES), True))) == 3
    assert it.undone[0].reason == reason


def test_a_change_that_never_began_is_nothing_to_undo() -> None:
    it = judge(World({"arm": {"a": Told(Answer("none"))}, "confirm": {"a": Told(Answer("none"))}}), [EVERY])
    it.look()
    assert it.settle(changed("a", "b"), True) == []


def test_other_meshes_stay() -> None:
    other = (member("a", "b"), member("b", "a"), member("c", mesh="n"))
    world = World({"arm": {"c": Told(Answer("other"))}})
    it = judge(world, [EVERY], other)
    assert it.settle(changed("a", "b", "c"), True) == ["mesh/m[c/peers]"]
    assert world.told[1:] == [("confirm", ["a", "b"]), ("undo", ["c"])]


def test_a_confirmation_that_does_not_arrive_is_told() -> None:
    it = judge(World({"confirm": {"b": Told(Answer(""), "b is gone")}}), [EVERY])
    it.look()
    assert it.settle(changed(*NODES), True) == ["mesh/m[b/peers]"]
    assert it.undone[0].reason == "could not be told that its change stays: b is gone"


def test_before_a_change_nodes_are_asked_at_the_addresses_that_were_applied_and_after_it_at_the_declared_ones() -> None:
    it = judge(World(), [EVERY])
    asked: list[list[str]] = []

    def measure(wanted: Collection[Pair], addresses: reach.Addresses, hosts: Mapping[str, Any]) -> set[Pair]:
        asked.append([*addresses["m", "b"]])
        return set(wanted)

    applied = Recorded("swarm:mesh:Interface", {"node": "b", "addresses": ["10.77.0.9/16", "fd77::9/64"]}, {})
    it.snapshot = replace(it.snapshot, resources={**it.snapshot.resources, "mesh/m[b]": applied})
    it.measure = measure
    it.look()
    assert it.settle(changed(*NODES), True) == []
    assert asked == [["10.77.0.9", "fd77::9"], ["10.88.0.2"]]


def test_pairs_are_with_tunnels_first_and_both_ways() -> None:
    hub = member("a", *[f"n{number}" for number in range(50)], forwards=True)
    spokes = [MeshMember(f"n{it}", "m", "wg0", ("x",), (), 1, ("a",), False, hub.address) for it in range(50)]
    found = reach.pairs([hub, *spokes], ["n0"])
    assert Pair("m", "n0", "a") in found
    assert Pair("m", "a", "n0") in found
    assert len(found) == 2 * (1 + reach.MOST // 2)
    assert reach.joined("n0", {it.node: it for it in [hub, *spokes]}) == {"a", *(f"n{it}" for it in range(1, 50))}


def test_only_guarded_changes_of_a_journal_count() -> None:
    records: list[Record] = [
        Intent(1, "update", URN, INPUTS, INPUTS, guarded=True),
        Result(1, {}),
        Intent(2, "update", URN.replace("[a", "[b"), {**INPUTS, "node": "b"}, INPUTS),
    ]
    assert made(records) == [Made("mesh/m[a/peers]", "a", {"node": "a"}, 30)]
    asked: list[bool] = []

    def settle(found: Any, orderly: bool) -> list[str]:
        asked.append(orderly)
        return []

    settled(records, settle, (), orderly=True)
    settled(records[:1], settle, (), orderly=True)
    settled(records, settle, ["mesh/m[z]"], orderly=True)
    settled(records, settle, ["mesh/m[b/peers]"], orderly=True)
    assert asked == [True, False, False, True]
    assert settled(records, None, (), orderly=True) == {"mesh/m[a/peers]"}
