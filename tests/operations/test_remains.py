"""What exists and what the state knows, compared: on a world of plain data."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

from swarmctl.backends.base import Backend, Fence, HostGone, HostUnreachable, Owner
from swarmctl.graph.model import Address, Graph, Ref, Resource
from swarmctl.hosts.facts import Facts, Interface
from swarmctl.hosts.readings import Reading
from swarmctl.kinds.base import MACHINE, ChangeKind, Effect, Hosts, Observed
from swarmctl.kinds.mesh import marks as mesh_marks
from swarmctl.operations import remains
from swarmctl.operations.doctor_stack import Examination
from swarmctl.operations.remains import Finding, Standing
from swarmctl.reports import remains as report
from swarmctl.state.checkpoint import Recorded, Snapshot

STACK = "core-abc"
FENCE = Fence(STACK, 7, "me@here")
THING = "swarm:test:Thing"
KEYS = "/etc/swarmctl/mesh"


@dataclass
class Fake:
    """A world: machines, and things on them by (node, name)."""

    machines: list[str] = field(default_factory=list)
    things: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()
    """Machines that are not whole."""
    silent: frozenset[str] = frozenset()
    facts_of: dict[str, Facts] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    done: list[object] = field(default_factory=list)
    name = "fake"
    fence = FENCE

    # the backend
    def owner(self, stack: str, node: str) -> Owner:
        return Owner(stack, "ann@laptop", 3)

    def host_of(self, stack: str, node: str) -> Mapping[str, Any]:
        return {"backend": self.name, "stack": stack, "node": node}

    def remains(self, stack: str) -> list[str]:
        return self.left

    def clear(self, stack: str, fence: Fence) -> None:
        self.done.append(("clear", stack, fence))

    def delete_machine(self, inputs: Mapping[str, Any], fence: Fence) -> None:
        self.done.append(("delete machine", inputs["node"], inputs["host"], fence))

    # the way to hosts
    def facts(self, host: Mapping[str, Any]) -> Facts:
        if host["node"] in self.silent:
            raise HostUnreachable(f"{host['node']} does not answer")
        return self.facts_of.get(host["node"], Facts(host["node"], 0, {}, {}, {"nftables": []}, {}))

    def look(self, host: Mapping[str, Any], reading: Reading[Any]) -> Any:
        """No baseline has been here."""
        if host["node"] in self.silent:
            raise HostUnreachable(f"{host['node']} does not answer")
        return SimpleNamespace(records=())

    # both resource types
    def read(self, hosts: Hosts, inputs: Mapping[str, Any]) -> Observed | None:
        node = inputs["node"]
        if node in self.silent:
            raise HostUnreachable(f"{node} does not answer")
        if node not in self.machines:
            raise HostGone(f"{node} is gone")
        if "thing" in inputs:
            found = self.things.get((node, inputs["thing"]))
            return None if found is None else Observed({**inputs, **found}, {"id": f"{node}-{inputs['thing']}"})
        return None if node in self.broken else Observed(inputs, {"identity": f"identity of {node}"})

    def effects(self, old: Any, new: Mapping[str, Any]) -> Sequence[Effect]:
        what = f"thing {new['thing']}" if "thing" in new else f"machine {new['node']}"
        return [Effect(ChangeKind.ADD, what)] * new.get("entries", 1)

    def delete(self, hosts: Hosts, inputs: Mapping[str, Any]) -> None:
        assert hosts.fence is FENCE
        self.done.append(("delete", inputs["node"], inputs.get("thing") or inputs["keyPath"]))

    @property
    def world(self) -> remains.World:
        backend = cast(Backend, _Backend(self))
        return remains.World(cast(Hosts, self), {"fake": backend}, lambda token: cast(Any, self))


class _Backend:
    """The backend's face of the world: there `machines` is a method."""

    def __init__(self, fake: Fake) -> None:
        self._machines = fake.machines
        self.name, self.owner, self.host_of, self.remains = fake.name, fake.owner, fake.host_of, fake.remains
        self.clear, self.delete_machine = fake.clear, fake.delete_machine

    def machines(self, stack: str, besides: Collection[str] = ()) -> list[str]:
        assert stack == STACK
        return self._machines


def machine(node: str) -> Resource:
    host = {"backend": "fake", "stack": STACK, "node": node}
    return Resource(Address("nodepool", "pool", node), MACHINE, {"node": node, "host": host, "region": "eu"}, node=node)


def thing(node: str, name: str, **inputs: Any) -> Resource:
    made = {"node": node, "thing": name, "machine": Ref(Address("nodepool", "pool", node), "identity"), **inputs}
    return Resource(Address("test", name, node), THING, made, node=node)


def graph(*resources: Resource) -> Graph:
    made = Graph(STACK)
    for resource in resources:
        made.add(resource)
    return made


def recorded(*resources: Resource) -> Snapshot:
    return Snapshot({str(it.address): Recorded(it.type, it.inputs, {"identity": "known"}) for it in resources})


def standings(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    return [(it.standing.value, it.address or it.node or it.what) for it in findings]


def test_a_world_that_is_as_the_state_has_it_has_nothing_to_tell() -> None:
    fake = Fake(["a"], {("a", "x"): {}})
    declared = (machine("a"), thing("a", "x"))
    assert remains.examine(graph(*declared), recorded(*declared), fake.world) == []


def test_without_a_state_what_is_declared_and_exists_can_be_taken_over_with_its_outputs() -> None:
    fake = Fake(["a"], {("a", "x"): {"size": 5}})
    # Declared in an order in which they can't be made.
    declared = graph(thing("a", "x", size=3), machine("a"), machine("b"), thing("b", "y"))
    found = remains.examine(declared, Snapshot(), fake.world)
    assert standings(found) == [("unknown", "nodepool/pool[a]"), ("unknown", "test/x[a]")]
    assert found[0].owner == "ann@laptop"
    adopted = remains.adopted(found)
    assert adopted["test/x[a]"].inputs == {"node": "a", "thing": "x", "machine": "identity of a", "size": 5}
    assert adopted["test/x[a]"].outputs == {"id": "a-x"}
    assert fake.done == []


def test_what_depends_on_what_is_not_there_is_not_recorded() -> None:
    fake = Fake(["a"], {("a", "x"): {}})
    other = replace(thing("a", "x"), inputs={"node": "a", "thing": "x", "of": Ref(Address("test", "gone"), "id")})
    found = remains.examine(graph(machine("a"), other), recorded(machine("a")), fake.world)
    assert [(it.address, it.adopts, it.why) for it in found] == [("test/x[a]", None, "it depends on what is not there")]


def test_a_thing_of_nothing_is_not_spoken_of() -> None:
    fake = Fake(["a"], {("a", "x"): {"entries": 0}})
    assert remains.examine(graph(machine("a"), thing("a", "x")), recorded(machine("a")), fake.world) == []


def test_a_machine_that_is_not_whole_is_told_and_not_recorded() -> None:
    fake = Fake(["a"], broken=frozenset("a"))
    (found,) = remains.examine(graph(machine("a")), Snapshot(), fake.world)
    assert (found.standing, found.adopts, found.why) == (
        Standing.UNKNOWN,
        None,
        "it is not whole: apply makes it anew in its place",
    )


def test_machines_that_nobody_declares_are_found_by_their_marks() -> None:
    fake = Fake(["a", "stray"])
    (found,) = remains.examine(graph(machine("a")), recorded(machine("a")), fake.world)
    assert (found.node, found.backend, found.declared, found.adopts) == ("stray", "fake", False, None)
    assert found.removal is not None
    found.removal(FENCE)
    assert fake.done == [("delete machine", "stray", fake.host_of(STACK, "stray"), FENCE)]


def test_what_is_recorded_and_gone_is_told_once_per_machine() -> None:
    fake = Fake(["a"])
    known = (machine("a"), thing("a", "x"), machine("b"), thing("b", "y"))
    found = remains.examine(graph(machine("a")), recorded(*known), fake.world)
    assert standings(found) == [("missing", "nodepool/pool[b]"), ("missing", "test/x[a]")]
    assert "with everything on it" in found[0].what
    assert not any(it.declared for it in found)


def test_what_does_not_answer_is_neither_there_nor_gone() -> None:
    fake = Fake(["a"], {("a", "x"): {}}, silent=frozenset("a"))
    found = remains.examine(graph(machine("a"), thing("a", "x")), recorded(thing("a", "x")), fake.world)
    assert [it.standing for it in found] == [Standing.UNREADABLE], "once, not for everything that is on it"
    assert {it.why for it in found} == {"a does not answer"}
    assert remains.removable(found) == []
    assert remains.adopted(found) == {}


def interface(name: str, alias: str) -> Interface:
    return Interface(name, True, 1420, (), alias)


def test_interfaces_and_keys_that_nobody_knows_are_found_on_machines_that_stay() -> None:
    links = {it.name: it for it in (interface("wg0", "swarmctl:mine"), interface("wg1", "swarmctl:old"))}
    links["eth0"] = interface("eth0", "")
    keys = dict.fromkeys([f"{KEYS}/mine/private.key", f"{KEYS}/old/private.key", f"{KEYS}/lost/private.key"], "0600")
    fake = Fake(["a"], facts_of={"a": Facts("a", 0, links, {}, {"nftables": []}, {}, key_files=keys)})
    mine = Resource(
        Address("mesh", "mine", "a"),
        mesh_marks.TYPE,
        {"node": "a", "interface": "wg0", "keyPath": f"{KEYS}/mine/private.key", "thing": "wg0"},
        node="a",
    )
    fake.things["a", "wg0"] = {}
    found = remains.examine(graph(machine("a"), mine), recorded(machine("a"), mine), fake.world)
    assert [(it.node, it.what) for it in found] == [
        ("a", "interface wg1 of the mesh old"),
        ("a", "key of the mesh lost, without its interface"),
    ]
    for one in remains.removable(found):
        assert one.removal is not None
        one.removal(FENCE)
    assert {it[2] for it in cast(Any, fake.done)} == {f"{KEYS}/old/private.key", f"{KEYS}/lost/private.key"}


def test_a_mark_that_leads_elsewhere_is_told_and_never_removed() -> None:
    links = {"wg7": interface("wg7", "swarmctl:../../victim/data\x1b[2J")}
    fake = Fake(["a"], facts_of={"a": Facts("a", 0, links, {}, {"nftables": []}, {})})
    # Also where the state knows interfaces: by a mark without sense it is none of them.
    mine = Resource(Address("mesh", "mine", "a"), mesh_marks.TYPE, {"node": "a", "thing": "wg0"}, node="a")
    fake.things["a", "wg0"] = {}
    found = remains.examine(graph(machine("a"), mine), recorded(machine("a"), mine), fake.world)
    assert [(it.node, it.removal, it.adopts) for it in found] == [("a", None, None)]
    assert remains.removable(found) == []
    text = report.render(Examination("core", tuple(found)), color=False)
    assert "interface wg7 with the alias 'swarmctl:../../victim/data" in text
    assert "swarmctl makes no such mark: it is left alone" in text
    assert "--remove" not in text
    assert "\x1b" not in text


def test_a_firewall_that_nobody_knows_is_found() -> None:
    table = {"nftables": [{"table": {"family": "inet", "name": "swarmctl"}}]}
    fake = Fake(["a"], facts_of={"a": Facts("a", 0, {}, {}, table, {})})
    (found,) = remains.examine(graph(machine("a")), recorded(machine("a")), fake.world)
    assert found.what == "firewall that does not say of which policy it is"


def test_things_go_before_the_machines_that_stay_without_them_and_leftovers_last() -> None:
    fake = Fake(["a", "b"], {("a", "x"): {}, ("b", "y"): {}}, left=["a process"])
    declared = graph(machine("a"), thing("a", "x"), machine("b"), thing("b", "y"))
    found = remains.examine(declared, recorded(machine("a")), fake.world)
    going = remains.removable(found)
    assert [it.address or it.what for it in going] == ["test/x[a]", "nodepool/pool[b]", "a process"]
    for one in going:
        assert one.removal is not None
        one.removal(FENCE)
    assert [cast(Any, it)[:2] for it in fake.done] == [("delete", "a"), ("delete machine", "b"), ("clear", STACK)]


def test_the_report_says_what_there_is_and_how_to_go_on() -> None:
    fake = Fake(["a", "stray\x1b[1m"], {("a", "x"): {}})
    found = tuple(remains.examine(graph(machine("a"), thing("a", "x")), recorded(thing("b", "y")), fake.world))
    text = report.render(Examination("core", found), color=False)
    assert "3 things of core exist and no state knows them" in text
    assert "nodepool/pool[a]  machine a\n" in text
    assert "last changed by ann@laptop" in text
    assert "1 thing of core is in the state and does not exist" in text
    assert "doctor --stack --adopt   record the 2 that are declared as found" in text
    assert "doctor --stack --remove  take all of them away" in text
    assert "\x1b" not in text
    after = report.render(Examination("core", found, adopted=frozenset(["nodepool/pool[a]"])), color=False)
    assert "ok nodepool/pool[a]  machine a: adopted" in after
    assert "1 thing recorded as found" in after
    assert "All of core that exists is in the state" in report.render(Examination("core", ()), color=False)


def test_all_is_well_when_everything_that_was_found_was_dealt_with() -> None:
    one, two = Finding(Standing.UNKNOWN, "one", "test/x[a]"), Finding(Standing.UNKNOWN, "two")
    assert not Examination("core", (one, two), frozenset(["test/x[a]"])).well
    assert Examination("core", (one, two), frozenset(["test/x[a]"]), (two,)).well
    missing = Finding(Standing.MISSING, "three", "test/z[a]")
    assert not Examination("core", (missing,)).well
