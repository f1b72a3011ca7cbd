"""Rotation as far as it is computed: who is due, who begins a handshake, which routes lead where, what a plan says."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from swarmctl.backends.base import HostGone, HostUnreachable
from swarmctl.graph.model import Address, Graph
from swarmctl.hosts.facts import Facts, Interface, KeyTrail, Peer, Route, WireGuard
from swarmctl.kinds.base import Impact, words
from swarmctl.kinds.mesh.resources import INTERFACE, PEERS, ROTATION
from swarmctl.kinds.mesh.rotation import due, routes, scripts
from swarmctl.kinds.mesh.rotation.due import NotRotated
from swarmctl.kinds.mesh.rotation.survey import Link, Survey
from tests.mesh.builder import compiled, fake_backend, lab
from tests.mesh.fakes import KEY_PATH, FakeHosts

__all__ = ["fake_backend"]

DAY = 86400
NOW = 1_800_000_000


def key(text: str) -> str:
    """A public key that stands for itself."""
    return base64.b64encode(text.encode().ljust(32, b".")).decode()


def node(
    number: int,
    *peers: int,
    following: bool = False,
    second: bool = False,
    made: int = NOW,
    generation: int = 0,
    networks: dict[int, tuple[str, ...]] | None = None,
    endpoints: dict[int, str] | None = None,
) -> Facts:
    """`n-NUMBER` at 172.30.0.NUMBER with 10.88.0.NUMBER/16 and these peers."""

    def other(peer: int) -> Peer:
        at = (endpoints or {}).get(peer, f"172.30.0.{peer}:51820")
        return Peer(key(f"n-{peer}"), at, (networks or {}).get(peer, (f"10.88.0.{peer}/32",)), 25, 0, 0, 0)

    links = {
        "eth0": Interface("eth0", True, 1500, (f"172.30.0.{number}/24",)),
        "wg0": Interface("wg0", True, 1420, (f"10.88.0.{number}/16",), "swarmctl:backbone"),
    }
    tunnels = {"wg0": WireGuard("wg0", key(f"n-{number}"), 51820, {key(f"n-{peer}"): other(peer) for peer in peers})}
    if second:
        links["wg0-n"] = Interface("wg0-n", True, 1420, (), "swarmctl-rotation:backbone")
        tunnels["wg0-n"] = WireGuard("wg0-n", key(f"n-{number}"), 51821, {})
    return Facts(
        hostname=f"n-{number}",
        now=NOW,
        interfaces=links,
        wireguard=tunnels,
        nftables={"nftables": []},
        sysctl={},
        key_files={KEY_PATH: "0600"},
        public_keys={KEY_PATH: key(f"n-{number}")},
        key_trails={KEY_PATH: KeyTrail(made, generation, key(f"next-{number}") if following else "")},
        routes=(Route("unicast", "10.88.0.0/16", "wg0", "main", None, gateway=False),),
    )


def inputs(*numbers: int, every: int = 0, **changes: Any) -> dict[str, Any]:
    nodes = {
        f"n-{it}": {"host": {"backend": "lab", "node": f"n-{it}"}, "generation": 0, "key": "installed"}
        for it in numbers
    }
    given = {
        "mesh": "backbone",
        "interface": "wg0",
        "nextInterface": "wg0-n",
        "listenPort": 51820,
        "nextPort": 51821,
        "keyPath": KEY_PATH,
        "rotateEvery": every,
        "nodes": nodes,
    }
    return {**given, **changes}


def survey(*facts: Facts) -> Survey:
    found = {it.hostname: it for it in facts}
    return Survey(inputs(*(int(name[2:]) for name in found)), found)


class Many(FakeHosts):
    """Hosts by node; None: the machine is gone, an error: it is raised."""

    def __init__(self, nodes: dict[str, Facts | Exception | None]) -> None:
        super().__init__(None)
        self.nodes = nodes

    def facts(self, host: Any) -> Facts:
        found = self.nodes[host["node"]]
        if isinstance(found, Exception):
            raise found
        if found is None:
            raise HostGone("it is gone")
        return found


def test_links_that_a_rotation_is_about_end_at_a_node_with_a_next_key() -> None:
    seen = survey(node(1, 2, 3, following=True), node(2, 1, 3), node(3, 1, 2))
    assert seen.rotating() == {"n-1"}
    assert seen.links(seen.rotating()) == [Link("n-1", "n-2"), Link("n-1", "n-3")]
    assert seen.goal("n-1") == key("next-1")
    assert seen.goal("n-2") == key("n-2")


def test_a_tunnel_that_only_one_end_knows_is_none() -> None:
    assert survey(node(1, 2, following=True), node(2)).links({"n-1"}) == []


def test_a_node_that_was_restarted_has_nothing_to_keep_alive() -> None:
    """Its interface is there and down: what it needs is made after the rotation, which must not wait for it."""
    one, two = node(1, 2), node(2, 1)
    assert not survey(one, two).absent(Link("n-1", "n-2"))
    down = replace(two, interfaces={**two.interfaces, "wg0": Interface("wg0", False, 1420, ())})
    assert survey(one, down).absent(Link("n-1", "n-2"))
    assert survey(one, replace(two, wireguard={})).absent(Link("n-1", "n-2"))


def test_one_end_begins_the_handshake_and_that_is_always_the_same() -> None:
    seen = survey(node(1, 2), node(2, 1))
    assert seen.initiator(Link("n-1", "n-2")) == "n-1"


def test_who_is_behind_address_translation_begins_the_handshake() -> None:
    # n-2 sees n-1 at another address than its own, behind a port that is not the one it listens on.
    seen = survey(node(1, 2), node(2, 1, endpoints={1: "203.0.113.9:33333"}))
    assert seen.second_endpoint("n-2", "n-1") == ""
    assert seen.second_endpoint("n-1", "n-2") == "172.30.0.2:51821"
    assert seen.initiator(Link("n-1", "n-2")) == "n-1"
    # The same where the translator keeps the port, and also when the names sort otherwise.
    kept = survey(node(1, 2, endpoints={2: "203.0.113.9:51820"}), node(2, 1))
    assert kept.initiator(Link("n-1", "n-2")) == "n-2"


def test_who_has_nobody_to_contact_does_not_begin() -> None:
    seen = survey(node(1, 2, endpoints={2: ""}), node(2, 1))
    assert seen.initiator(Link("n-1", "n-2")) == "n-2"


def test_a_peer_known_by_its_key_before_is_recognised() -> None:
    two = node(2, 1)
    trail = replace(two.key_trails[KEY_PATH], previous_key=key("n-2"))
    two = replace(two, public_keys={KEY_PATH: key("new-2")}, key_trails={KEY_PATH: trail})
    assert survey(node(1, 2), two).way("n-1", "n-2").entry == key("n-2")


def test_single_addresses_are_routed_over_the_second_interface() -> None:
    seen = survey(node(1, 2, 3), node(2, 1), node(3, 1))
    assert routes.wanted(seen, "n-1", {"n-2"}) == {"10.88.0.2/32": "wg0-n"}


def test_the_network_of_the_interface_is_covered_in_halves_and_others_keep_their_way() -> None:
    seen = survey(node(1, 2, 3, networks={2: ("10.88.0.0/16",)}), node(2, 1), node(3, 1))
    assert routes.wanted(seen, "n-1", {"n-2"}) == {
        "10.88.0.0/17": "wg0-n",
        "10.88.128.0/17": "wg0-n",
        "10.88.0.3/32": "wg0",
    }


def test_what_is_new_is_routed_before_what_is_old_goes_and_exceptions_come_first() -> None:
    seen = survey(node(1, 2, 3, networks={2: ("10.88.0.0/16",)}), node(2, 1), node(3, 1))
    script = routes.change(seen, "n-1", {"10.88.0.9/32": "wg0-n"}, routes.wanted(seen, "n-1", {"n-2"}))
    lines = [line for line in script.splitlines() if line.startswith("route")]
    assert lines == [
        "route replace 10.88.0.3/32 dev wg0 src 10.88.0.1 proto 186",
        "route replace 10.88.0.0/17 dev wg0-n src 10.88.0.1 proto 186",
        "route replace 10.88.128.0/17 dev wg0-n src 10.88.0.1 proto 186",
        "route del 10.88.0.9/32 dev wg0-n",
    ]


def test_both_ends_wait_when_the_first_interface_gets_its_keys() -> None:
    seen = survey(node(1, 2, following=True, second=True), node(2, 1, second=True))
    for name, other in (("n-1", key("n-2")), ("n-2", key("next-1"))):
        across = "n-2" if name == "n-1" else "n-1"
        script = scripts.anew(seen, name, [across], key=name == "n-1", waiting=True)
        assert f"peer {other} endpoint" in script
        assert "persistent-keepalive 0" in script
        assert ('private-key "$folder"/next.key' in script) == (name == "n-1")


def test_what_is_set_up_already_is_not_touched() -> None:
    one, two = node(1, 2, following=True), node(2, 1)
    peer = Peer(key("n-2"), "172.30.0.2:51821", ("10.88.0.2/32",), 0, 0, 0, 0)
    links = {**one.interfaces, "wg0-n": Interface("wg0-n", True, 1420, (), "swarmctl-rotation:backbone")}
    there = WireGuard("wg0-n", key("next-1"), 51821, {peer.public_key: peer})
    one = replace(one, interfaces=links, wireguard={**one.wireguard, "wg0-n": there})
    script = scripts.second(survey(one, two), "n-1", ["n-2"])
    assert "private-key" not in script
    assert "listen-port" not in script
    assert "wg set" not in script


def test_reading_tells_whose_key_is_due_and_why() -> None:
    hosts = Many(
        {
            "n-1": node(1, made=NOW - 31 * DAY),
            "n-2": node(2, made=NOW - 29 * DAY, generation=2),
            "n-3": node(3, following=True),
            "n-4": None,
            "n-5": HostUnreachable("n-5 does not answer"),
            "n-6": node(6, second=True),
        }
    )
    wanted = inputs(1, 2, 3, 4, 5, 6, every=30 * DAY)
    seen = ROTATION.read(hosts, wanted)
    assert seen is not None
    assert {name: (it["key"], it["generation"]) for name, it in seen.inputs["nodes"].items()} == {
        "n-1": ("made 2026-12-15, rotateEvery is 30d", 0),
        "n-2": ("installed", 2),
        "n-3": ("rotating", 0),
        "n-4": ("installed", 0),
        "n-5": ("installed", 0),
        "n-6": ("rotating", 0),
    }
    assert [".".join(it.path) for it in ROTATION.diff(seen.inputs, wanted)] == [
        "nodes.n-1.key",
        "nodes.n-3.key",
        "nodes.n-6.key",
    ]
    told = [effect.text for effect in ROTATION.effects(seen.inputs, wanted)]
    assert told[0] == "the key of n-1 was made 2026-12-15, rotateEvery is 30d: it is rotated"
    assert told[1] == "the rotation of the key of n-3 was cut off and is finished"
    assert "wg0-n on udp/51821" in told[-1]
    assert ROTATION.impact(seen.inputs, wanted) == Impact()


def test_a_mesh_that_is_not_there_yet_has_no_rotation() -> None:
    hosts = Many({"n-1": None, "n-2": None})
    assert ROTATION.read(hosts, inputs(1, 2)) is None
    assert ROTATION.create(hosts, inputs(1, 2)) == {}


def test_nodes_that_come_and_go_are_no_change_but_settings_are() -> None:
    assert list(ROTATION.diff(inputs(1, 2), inputs(2, 3))) == []
    changes = ROTATION.diff(inputs(1), inputs(1, every=DAY, nextPort=4000))
    assert [it.path for it in changes] == [("nextPort",), ("rotateEvery",)]
    assert [it.text for it in ROTATION.effects(inputs(1), inputs(1, every=DAY))] == [
        "keys are rotated by the first apply after 1d, over wg0-n on udp/51821"
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "never"), (90, "90s"), (3600, "1h"), (30 * DAY, "30d"), (DAY + 60, "1441m")]
)
def test_durations_read_as_they_are_written(seconds: int, text: str) -> None:
    assert due.duration(seconds) == text


def interface(**changes: Any) -> dict[str, Any]:
    given = {
        "machine": "one",
        "host": {"node": "n-1"},
        "node": "n-1",
        "interface": "wg0",
        "state": "up",
        "addresses": ["10.88.0.1/16"],
        "listenPort": 51820,
        "mtu": 1420,
        "keyPath": KEY_PATH,
        "keyMode": "0600",
        "key": "installed",
        "keyGeneration": 0,
        "rotateEvery": 30 * DAY,
        "forwarding": False,
    }
    return {**given, **changes}


def test_routes_and_keys_of_a_rotation_are_no_strangers_to_the_interface() -> None:
    facts = node(1, 2, following=True, second=True)
    moved = Route("unicast", "10.88.0.2/32", "wg0-n", "main", None, gateway=False)
    installed = replace(facts.wireguard["wg0"], public_key=key("next-1"))
    facts = replace(facts, routes=(*facts.routes, moved), wireguard={**facts.wireguard, "wg0": installed})
    seen = INTERFACE.read(Many({"n-1": facts}), interface())
    assert seen is not None
    assert [it.path for it in INTERFACE.diff(seen.inputs, interface())] == [("key",)]
    assert seen.inputs["key"] == "rotating"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"key": "made 2026-01-31"}, {}),
        ({"key": "rotating"}, {}),
        ({}, {"keyGeneration": 1}),
    ],
)
def test_a_rotation_renews_the_public_key_and_disrupts_nothing(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert INTERFACE.renews(interface(**old), interface(**new)) == ("publicKey",)
    assert INTERFACE.impact(interface(**old), interface(**new)) == Impact()
    assert INTERFACE.guarded(interface(**old), interface(**new)) == ""
    (effect,) = INTERFACE.effects(interface(**old), interface(**new))
    assert "the key of n-1" in effect.text


def test_other_changes_renew_no_key() -> None:
    assert INTERFACE.renews(interface(mtu=1400), interface()) == ()
    assert INTERFACE.renews(interface(key="another"), interface()) == ()


@pytest.mark.parametrize(
    ("facts", "old", "new"),
    [
        (node(1, made=NOW - 31 * DAY), {"key": "made 2026-12-15, rotateEvery is 30d"}, {}),
        (node(1, following=True), {"key": "rotating"}, {}),
        (node(1), {}, {"keyGeneration": 1}),
    ],
)
def test_an_interface_whose_key_should_have_been_rotated_says_so_and_changes_nothing(
    facts: Facts, old: dict[str, Any], new: dict[str, Any]
) -> None:
    hosts = Many({"n-1": facts})
    due.LEFT[KEY_PATH, "n-1"] = "no handshake over udp/51821"
    try:
        with pytest.raises(NotRotated, match=r"n-1 in the mesh backbone is not rotated: no handshake over udp/51821"):
            INTERFACE.update(hosts, interface(**old), interface(**new))
    finally:
        del due.LEFT[KEY_PATH, "n-1"]


def test_more_rotations_on_a_node_than_are_recorded_are_put_right() -> None:
    hosts = FakeHosts(node(1, generation=3))
    seen = INTERFACE.read(hosts, interface())
    assert seen is not None
    assert INTERFACE.update(hosts, seen.inputs, interface()) == {"publicKey": key("n-1"), "keyMade": NOW}
    assert "generation=0" in hosts.host.scripts[-1]
    assert "private-key" not in hosts.host.scripts[-1]


def test_every_interface_depends_on_the_one_rotation(fake_backend: object) -> None:
    graph = compiled(lab(mesh={"keys": {"rotateEvery": "never", "rotationPort": 7000}}))
    address = Address("mesh", "backbone", "rotation")
    rotation = graph.resources[address]
    assert rotation.inputs["rotateEvery"] == 0
    assert rotation.inputs["nextPort"] == 7000
    assert list(rotation.inputs["nodes"]) == ["control-0", "control-1", "workers-0", "workers-1", "workers-2"]
    interfaces = [it for it in graph.resources.values() if it.type == "swarm:mesh:Interface"]
    assert all(address in it.depends_on for it in interfaces)
    assert {it.inputs["rotateEvery"] for it in interfaces} == {0}
    usual = compiled(lab()).resources[address].inputs
    assert (usual["rotateEvery"], usual["nextPort"]) == (90 * DAY, 51821)


def generations(graph: Graph) -> dict[str, int]:
    nodes = graph.resources[Address("mesh", "backbone", "rotation")].inputs["nodes"]
    own = {name: graph.resources[Address("mesh", "backbone", name)].inputs["keyGeneration"] for name in nodes}
    assert own == {name: it["generation"] for name, it in nodes.items()}
    return own


def test_a_rotation_on_demand_is_one_more_than_recorded_and_stays_so(fake_backend: object) -> None:
    inventory = lab(control=1, workers=2)
    first = compiled(inventory)
    assert set(generations(first).values()) == {0}
    one = compiled(inventory, first, rotate=["workers-1"])
    assert generations(one) == {"control-0": 0, "workers-0": 0, "workers-1": 1}
    again = compiled(inventory, one, rotate=["*"])
    assert generations(again) == {"control-0": 1, "workers-0": 1, "workers-1": 2}
    assert generations(compiled(inventory, again)) == generations(again)


def test_a_peer_with_a_rotated_key_is_neither_disrupted_nor_guarded() -> None:
    from swarmctl.kinds.base import UNKNOWN

    peer = {"publicKey": "A", "endpoint": "x:1", "allowedIps": ["10.88.0.2/32"], "persistentKeepalive": 0}
    old = {"machine": "m", "interface": "wg0", "peers": {"n-2": peer}}
    new = {**old, "peers": {"n-2": {**peer, "publicKey": UNKNOWN}}}
    assert [effect.text for effect in PEERS.effects(old, new)] == ["peer n-2 has a new key"]
    assert PEERS.impact(old, new) == Impact()
    assert PEERS.guarded(old, new) == ""
    assert words(UNKNOWN) == "(known after apply)"


def test_what_is_recorded_tells_whose_key_is_overdue() -> None:
    assert due.recorded({"rotateEvery": DAY}, {"keyMade": NOW}, NOW + DAY + 1)
    assert not due.recorded({"rotateEvery": DAY}, {"keyMade": NOW}, NOW + DAY)
    assert not due.recorded({"rotateEvery": 0}, {"keyMade": NOW}, NOW + 10 * DAY)
    assert not due.recorded({"rotateEvery": DAY}, {}, NOW)
