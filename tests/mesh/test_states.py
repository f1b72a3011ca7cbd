"""Machines that are declared isolated or lost: what becomes of them in the graph, and the firewall that shuts one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from swarmctl import backends
from swarmctl.backends import ways
from swarmctl.backends.base import HostGone
from swarmctl.declarations.declaration import Inventory
from swarmctl.graph.model import Address, Graph, LostMachine, Machine, MeshMember
from swarmctl.kinds.node_pool.resources import MACHINE
from swarmctl.kinds.security_policy.resources import FIREWALL
from swarmctl.kinds.security_policy.words import in_words
from swarmctl.mesh import firewall, isolation, nft
from tests.mesh.builder import compiled, declare, fake_backend, lab

__all__ = ["fake_backend"]

POLICY = Address("securitypolicy", "baseline", "guests-0")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDIhSHbcJi4NE1CVRWGFFogg08vC1QIVc/DhVX6GYQX1"
GUEST = {"backend": "lab", "stack": "lab", "node": "guests-0"}


@pytest.fixture(autouse=True)
def _no_ways_stay() -> Iterator[None]:
    yield
    ways.declare("lab", [])


def guests(state: str | None, *more: Any) -> Inventory:
    """The lab, and a pool of one machine in a state."""
    spec = {"region": "eu", "lab": {"count": 1}, **({"state": state} if state else {})}
    return Inventory([*lab(), declare("NodePool", "guests", spec, {"role": "worker"}), *more])


@pytest.mark.usefixtures("fake_backend")
def test_an_isolated_machine_stays_and_leaves_its_mesh() -> None:
    before, graph = compiled(guests(None)), compiled(guests("isolated"))
    (machine,) = (it for it in graph.exported(Machine) if it.name == "guests-0")
    assert machine.state == "isolated"
    assert machine.address in graph.resources
    assert "guests-0" in {it.node for it in before.exported(MeshMember)}
    assert "guests-0" not in {it.node for it in graph.exported(MeshMember)}
    for resource in graph.resources.values():
        assert "guests-0" not in resource.inputs.get("peers", {})
        assert resource.address.kind != "mesh" or resource.node != "guests-0"
    assert "guests-0" not in graph.resources[Address("mesh", "backbone", "rotation")].inputs["nodes"]


def test_a_machine_that_is_silent_at_its_new_address_changes_nothing_on_the_others() -> None:
    def metal(address: str) -> Inventory:
        hosts = [{"name": f"n{ordinal}", "address": f"203.0.113.{ordinal}", "hostKeys": [KEY]} for ordinal in (1, 2)]
        hosts.append({"name": "n3", "address": address, "hostKeys": [KEY]})
        pool = declare("NodePool", "metal", {"region": "eu", "ssh": {"hosts": hosts}}, {"role": "head"})
        return Inventory([*(it for it in lab() if it.kind != "NodePool"), pool])

    def others(graph: Graph) -> dict[Address, Any]:
        return {address: it.inputs for address, it in graph.resources.items() if it.node in ("n1", "n2")}

    before = compiled(metal("203.0.113.3"))
    assert others(compiled(metal("203.0.113.99"), before)) != others(before)
    ways.silence("lab", [{"backend": "ssh", "stack": "lab", "node": "n3"}])
    try:
        left = compiled(metal("203.0.113.99"), before)
    finally:
        ways.silence("lab", ())
    assert others(left) == others(before)
    assert left.resources[Address("nodepool", "metal", "n3")].inputs["address"] == "203.0.113.99"


def test_an_address_that_is_declared_for_a_machine_that_is_not_there_yet_is_nobody_elses() -> None:
    def metal(*fixed: dict[str, Any]) -> Inventory:
        hosts = [{"name": f"n{it}", "address": f"203.0.113.{it}", "hostKeys": [KEY]} for it in (1, 2, 3)]
        pool = declare("NodePool", "metal", {"region": "eu", "ssh": {"hosts": hosts}}, {"role": "head"})
        mesh = {"cidrs": ["10.88.0.0/16"], "addresses": list(fixed)}
        return Inventory([*(it for it in lab(mesh=mesh) if it.kind != "NodePool"), pool])

    def addresses(graph: Graph) -> dict[str, str]:
        return {it.node: it.addresses[0] for it in graph.exported(MeshMember)}

    wanted = addresses(compiled(metal()))["n1"]
    declared = metal({"node": "n3", "addresses": [wanted]})
    ways.absent("lab", [{"backend": "ssh", "stack": "lab", "node": "n3"}])
    try:
        before = compiled(declared)
    finally:
        ways.absent("lab", ())
    assert addresses(before).keys() == {"n1", "n2"}
    assert addresses(compiled(declared, before)) == {**addresses(before), "n3": wanted}


@pytest.mark.usefixtures("fake_backend")
def test_its_firewall_is_shut_in_place_and_says_so() -> None:
    old = compiled(guests(None)).resources[POLICY].inputs
    new = compiled(guests("isolated")).resources[POLICY].inputs
    assert dict(new["rules"]) == {"out-loopback": 'oifname "lo" accept', "loopback": 'iifname "lo" accept'}
    assert not any(str(base).endswith("accept") for base in new["chains"].values())
    assert "guests-0 is isolated" in FIREWALL.impact(old, new).text
    assert "guests-0 is isolated" in FIREWALL.impact(None, new).text
    assert FIREWALL.impact(new, new).text == ""
    assert "guests-0 is isolated" not in FIREWALL.impact(new, old).text
    assert FIREWALL.guarded(old, new)
    assert compiled(guests("isolated")).resources[POLICY].pool == "", "a rollout would hold it up"


@pytest.mark.usefixtures("fake_backend")
def test_what_else_is_on_an_isolated_machine_stays_as_it_is() -> None:
    baseline = declare("HostBaseline", "usual", {"nodes": {}, "sysctl": {"vm.swappiness": "1"}})
    graph = compiled(guests("isolated", baseline))
    frozen = {str(address) for address in graph.frozen}
    assert frozen
    assert {graph.resources[address].node for address in graph.frozen} == {"guests-0"}
    assert {graph.resources[address].address.kind for address in graph.frozen} == {"hostbaseline"}
    assert graph.notes == ["guests-0 is isolated: what else is declared for it is neither made nor changed meanwhile"]
    assert not compiled(guests(None, baseline)).frozen


@pytest.mark.usefixtures("fake_backend")
def test_a_lost_machine_is_known_by_name_alone_and_never_asked() -> None:
    before = compiled(guests(None)).resources[Address("nodepool", "guests", "0")].inputs
    assert not ways.is_lost(GUEST)
    graph = compiled(guests("lost"))
    assert [it.name for it in graph.exported(LostMachine)] == ["guests-0"]
    assert not [address for address, it in graph.resources.items() if it.node == "guests-0"]
    assert ways.is_lost(GUEST)
    host = backends.open_host(GUEST)
    for call in (
        lambda: host.run(["true"]),
        lambda: host.get("/x"),
        host.services,
        host.logs,
        lambda: host.exec(["x"]),
    ):
        with pytest.raises(HostGone, match="guests-0 is declared lost"):
            call()
    assert "keys that are still on it open nothing" in MACHINE.impact(before, None).text
    assert FIREWALL.impact({"node": "guests-0", "host": GUEST, "chains": {}, "rules": {}}, None).text == ""
    compiled(guests(None))
    assert not ways.is_lost(GUEST)


def test_what_is_lost_is_told_to_other_processes_and_is_no_known_machine() -> None:
    way = {"backend": "ssh", "stack": "lab", "node": "n1", "hostKeys": []}
    ways.record("lab", [{"host": way, "hostKeys": []}])
    try:
        assert "n1" in ways.known("ssh", "lab")
        ways.declare("lab", [], [way])
        assert "n1" not in ways.known("ssh", "lab")
        told = ways.dump()
        ways.declare("lab", [])
        assert not ways.is_lost(way)
        ways.load(told)
        assert ways.is_lost(way)
    finally:
        ways.record("lab", [])


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        ((), {"management", "out-management"}),
        (("203.0.113.0/28", "192.0.2.1/32"), {"management:ip", "out-management:ip"}),
        (("2001:db8::/64",), {"management:ip6", "out-management:ip6"}),
    ],
)
def test_only_management_gets_in_and_only_answers_get_out(sources: Sequence[str], names: set[str]) -> None:
    rules = isolation.rules([22, 2222], sources)
    assert {name for name in rules if "management" in name} == names
    for name, text in rules.items():
        assert (firewall.chain(name) == "output") is name.startswith("out-")
        assert text.endswith(" accept")
        if name.startswith("out-management"):
            assert "tcp sport { 22, 2222 } tcp flags ack" in text  # nothing that begins a connection
            assert not sources or " daddr " in text


def test_the_rules_are_read_back_as_they_are_written() -> None:
    out = [
        {"match": {"op": "==", "left": _payload("ip", "daddr"), "right": {"prefix": {"addr": "10.0.0.0", "len": 8}}}},
        {"match": {"op": "==", "left": _payload("tcp", "sport"), "right": 22}},
        {"match": {"op": "in", "left": _payload("tcp", "flags"), "right": "ack"}},
        {"accept": None},
    ]
    listing = [
        {"table": {"family": "inet", "name": "swarmctl"}},
        {"chain": {"family": "inet", "table": "swarmctl", "name": "policy-baseline"}},
        {
            "rule": {
                "family": "inet",
                "table": "swarmctl",
                "chain": "output",
                "comment": "out-management:ip",
                "expr": out,
            }
        },
    ]
    table = nft.parse({"nftables": listing})
    assert table is not None
    assert table.rules == {"out-management:ip": isolation.rules([22], ["10.0.0.0/8"])["out-management:ip"]}


def _payload(protocol: str, field: str) -> Mapping[str, Any]:
    return {"payload": {"protocol": protocol, "field": field}}


def test_what_may_leave_an_isolated_machine_in_words() -> None:
    words = {name: in_words(text, {}) for name, text in isolation.rules([22], ["203.0.113.0/28", "::1/128"]).items()}
    assert words["out-loopback"] == "everything to the node itself"
    assert words["out-management:ip"] == "answers of tcp/22 to 203.0.113.0/28"
    assert words["management:ip6"] == "tcp/22 from ::1/128"
    assert in_words(isolation.rules([22, 2222], ())["out-management"], {}) == "answers of tcp/22, 2222"
