"""Preshared keys: what stands in the graph and in plans, and that nothing a node prints gets into another's script."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from swarmctl.backends.base import Completed
from swarmctl.graph.model import Ref
from swarmctl.hosts.facts import Facts, Peer, WireGuard
from swarmctl.kinds.base import UNKNOWN, ChangeKind
from swarmctl.kinds.mesh import taken
from swarmctl.kinds.mesh.peers import PresharedKeyMissing
from swarmctl.kinds.mesh.preshared import exchange, files, scripts, shared
from swarmctl.kinds.mesh.resources import PEERS, PRESHARED
from swarmctl.kinds.mesh.rotation.nodes import Nodes
from tests.mesh.builder import FakeBackend, compiled, lab
from tests.mesh.fakes import FakeHost, FakeHosts, facts, peer

FOLDER = files.folder("backbone")
DIGEST = "ab" * 32
SEALED = "-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5cHRpb24=\n-----END AGE ENCRYPTED FILE-----"
RECIPIENT = "age1" + "q" * 58


@pytest.fixture(autouse=True)
def backend(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = FakeBackend()
    monkeypatch.setattr("swarmctl.backends.load", lambda name: backend)


def inputs(**keys: Any) -> dict[str, Any]:
    names = sorted(keys)
    return {
        "mesh": "backbone",
        "interface": "wg0",
        "folder": FOLDER,
        "nodes": {
            name: {"host": {"backend": "lab", "node": name}, "publicKey": keys[name], "makesFor": names[number + 1 :]}
            for number, name in enumerate(names)
        },
    }


def peers(**changes: Any) -> dict[str, Any]:
    """Peers of `a`, which has the key A."""
    found = {
        name: {
            "publicKey": name.upper(),
            "endpoint": f"172.20.1.{number}:51820",
            "allowedIps": [f"10.88.0.{number}/32"],
            "persistentKeepalive": 0,
            "presharedKey": "generated",
        }
        for number, name in enumerate(("b", "c"), start=2)
    }
    own = {"folder": FOLDER, "publicKey": "A"}
    base = {"machine": "one", "host": {"node": "a"}, "node": "a", "interface": "wg0", "peers": found}
    return {**base, "presharedKeys": own, **changes}


def having(*peers: Peer, filed: tuple[str, ...] = ()) -> Facts:
    made = facts(wireguard={"wg0": WireGuard("wg0", "A", 51820, {it.public_key: it for it in peers})})
    return dataclasses.replace(made, preshared_files={files.path(FOLDER, "A", key): DIGEST for key in filed})


def known(name: str, **changes: Any) -> Peer:
    number = {"b": 2, "c": 3}[name]
    return dataclasses.replace(peer(name.upper(), f"172.20.1.{number}:51820", f"10.88.0.{number}/32"), **changes)


def test_every_tunnel_has_one_maker_and_peers_wait_for_all_of_them() -> None:
    graph = compiled(lab(control=1, workers=2, mesh={"keys": {"presharedKeys": "generated"}}))
    found = {str(it.address): it for it in graph.resources.values()}
    keys = found["mesh/backbone[preshared]"]
    assert {name: node["makesFor"] for name, node in keys.inputs["nodes"].items()} == {
        "control-0": ["workers-0", "workers-1"],
        "workers-0": ["workers-1"],
        "workers-1": [],
    }
    assert all(isinstance(node["publicKey"], Ref) for node in keys.inputs["nodes"].values())
    for name in keys.inputs["nodes"]:
        of = found[f"mesh/backbone[{name}/peers]"]
        assert keys.address in of.depends_on
        assert {it["presharedKey"] for it in of.inputs["peers"].values()} == {"generated"}


def test_without_them_nothing_of_it_is_there() -> None:
    graph = compiled(lab(control=1, workers=2))
    assert "preshared" not in repr(list(graph.resources.values())).lower()


def test_a_plan_says_whose_keys_are_made_anew_and_why() -> None:
    old, new = inputs(a="A", b="B", c="C"), inputs(a="A", b=UNKNOWN, c="C", d="D")
    said = [(it.action, it.text) for it in PRESHARED.effects(old, new)]
    assert said == [
        (ChangeKind.ADD, "preshared keys between a and d, b and d, c and d: made on the first and sealed to the other "
         "one"),
        (ChangeKind.UPDATE, "preshared keys between a and b, b and c: made anew, since a key of theirs is another"),
    ]  # fmt: skip
    assert [it.text for it in PRESHARED.effects(new, None)] == [
        "preshared keys between a and b, a and c, a and d and of 3 tunnels more: removed"
    ]


def test_what_is_not_the_same_at_both_ends_is_drift_and_used_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def apart(**keys: dict[str, str]) -> list[tuple[str, str]]:
        found = {name: dataclasses.replace(facts(), preshared_files=files) for name, files in keys.items()}
        return [(it.maker, it.other) for it in exchange.apart(wanted, found)]

    wanted = inputs(a="A", b="B", c="C")
    one, two = files.path(FOLDER, "A", "B"), files.path(FOLDER, "B", "A")
    assert apart(a={one: DIGEST}, b={two: DIGEST}) == [], "c could not be read"
    assert apart(a={one: DIGEST}, b={two: "cd" * 32}) == [("a", "b")]
    assert apart(a={one: DIGEST}, b={}, c={}) == [("a", "b"), ("a", "c"), ("b", "c")]

    known: dict[str, frozenset[str]] = {}
    monkeypatch.setattr(exchange, "APART", known)
    monkeypatch.setattr("swarmctl.kinds.mesh.preshared.shared.APART", known)
    exchange.note(FOLDER, list(exchange.links(wanted))[:1])
    hosts = FakeHosts(having(filed=("B", "C")), FakeHost())
    with pytest.raises(PresharedKeyMissing):
        PEERS.create(hosts, peers())
    assert "peer C preshared-key" in hosts.host.scripts[-1]
    assert "peer B" not in hosts.host.scripts[-1]


def test_a_peer_takes_its_key_from_its_file_before_it_knows_the_endpoint() -> None:
    hosts = FakeHosts(having(filed=("B", "C")), FakeHost())
    PEERS.create(hosts, peers())
    script = hosts.host.scripts[-1]
    assert f"peer B preshared-key {FOLDER}/A/B" in script
    assert script.index("preshared-key") < script.index("Endpoint=")


def test_a_peer_whose_key_is_not_on_both_ends_is_not_added_and_a_known_one_stays_as_it_is() -> None:
    hosts = FakeHosts(having(known("b"), filed=()), FakeHost())
    with pytest.raises(PresharedKeyMissing) as raised:
        PEERS.create(hosts, peers())
    assert raised.value.message.startswith("a has no preshared key with b, c")
    assert hosts.host.scripts == []


@pytest.mark.parametrize(
    ("state", "seen", "command"),
    [
        ({}, "missing", f"wg set wg0 peer B preshared-key {FOLDER}/A/B\n"),
        ({"preshared": True}, "another", f"wg set wg0 peer B preshared-key {FOLDER}/A/B\n"),
        ({"preshared": True, "preshared_filed": True}, "generated", ""),
    ],
)
def test_another_key_than_that_in_the_file_is_drift_and_put_right(
    state: dict[str, Any], seen: str, command: str
) -> None:
    right = {"preshared": True, "preshared_filed": True}
    hosts = FakeHosts(having(known("b", **state), known("c", **right), filed=("B", "C")), FakeHost())
    observed = PEERS.read(hosts, peers())
    assert observed is not None
    assert observed.inputs["peers"]["b"]["presharedKey"] == seen
    assert observed.inputs["peers"]["c"]["presharedKey"] == "generated"
    PEERS.create(hosts, peers())
    assert "".join(hosts.host.scripts) == command


def test_changes_of_preshared_keys_are_guarded() -> None:
    wanted = peers()
    without = {name: {k: v for k, v in it.items() if k != "presharedKey"} for name, it in wanted["peers"].items()}
    none = {k: v for k, v in wanted.items() if k != "presharedKeys"} | {"peers": without}
    assert taken.by_peers(none, wanted) == "changes the peers b, c"
    assert taken.by_peers(wanted, none) == "changes the peers b, c"
    assert taken.by_peers(wanted, wanted) == ""
    assert taken.by_peers(none, {**none, "peers": {**without, "b": {**without["b"], "publicKey": "X"}}}) == ""
    rotated = {**wanted, "peers": {**wanted["peers"], "b": {**wanted["peers"]["b"], "publicKey": UNKNOWN}}}
    assert taken.by_peers(wanted, rotated) == "changes the peer b"
    own = {**wanted, "presharedKeys": {"folder": FOLDER, "publicKey": UNKNOWN}}
    assert taken.by_peers(wanted, own) == "changes its preshared keys"
    assert [it.text for it in PEERS.effects(wanted, own)] == ["preshared keys follow the node's new key"]


def test_what_nodes_print_is_taken_only_in_its_form() -> None:
    assert scripts.recipient(f"@ recipient {RECIPIENT}\n") == RECIPIENT
    for other in ("age1x; reboot", "AGE-SECRET-KEY-1", RECIPIENT + "q", f"{RECIPIENT} -o /x"):
        assert scripts.recipient(f"@ recipient {other}\n") == ""
    assert scripts.sealed(f"@ sealed B {DIGEST}\n{SEALED}\n") == {"B": (DIGEST, SEALED)}
    for text in (f"{SEALED}\nEND\nreboot", "END\nreboot", SEALED.replace("YWdl", "$(x)"), SEALED * 20):
        assert scripts.sealed(f"@ sealed B {DIGEST}\n{text}\n") == {}
    assert scripts.sealed(f"@ sealed B 12\n{SEALED}\n") == {}
    assert scripts.opened(f"@ opened B {DIGEST}\n@ opened C 12\n@ refused D no key\n") == {"B": DIGEST}
    assert scripts.refused("@ refused D no identity matched\n") == {"D": "no identity matched"}


class Printing(FakeHosts):
    """Nodes that print what is said of them, by node and by a word of the script that they are given."""

    def __init__(self, of: dict[str, Facts], printed: dict[tuple[str, str], str]) -> None:
        super().__init__(None)
        self.of = of
        self.printed = printed
        self.told: list[tuple[str, str]] = []

    def facts(self, host: Any) -> Facts:
        return self.of[host["node"]]

    def open(self, host: Any) -> FakeHost:
        hosts, name = self, host["node"]

        class One(FakeHost):
            def run(self, argv: object, *, stdin: bytes = b"", timeout: float = 30.0, check: bool = True) -> Completed:
                script = stdin.decode()
                hosts.told.append((name, script))
                said = [text for (who, word), text in hosts.printed.items() if who == name and word in script]
                return Completed((), 0, "".join(said).encode(), b"")

        return One()


def exchanged(printed: dict[tuple[str, str], str], **keys: str) -> list[tuple[str, str]]:
    """Scripts by node, of an exchange in which nobody has a key yet."""
    wanted = inputs(**keys)
    own = {(name, "printf '@ recipient"): f"@ recipient {RECIPIENT}\n" for name in keys}
    hosts = Printing(dict.fromkeys(keys, facts()), {**own, **printed})
    exchange.Exchange(Nodes(hosts, {name: it["host"] for name, it in wanted["nodes"].items()}), wanted).run()
    return hosts.told


@pytest.mark.parametrize(("opened", "placed"), [(DIGEST, True), ("cd" * 32, False), ("", False)])
def test_the_maker_puts_a_key_in_place_only_when_the_other_end_has_opened_the_same(opened: str, placed: bool) -> None:
    said = f"@ opened A {opened}\n" if opened else ""
    told = exchanged({("a", "\nseal B"): f"@ sealed B {DIGEST}\n{SEALED}\n", ("b", "\nopen A"): said}, a="A", b="B")
    assert [name for name, script in told if "BEGIN AGE" in script] == ["b"]
    assert any(name == "a" and 'mv "$own"/B.next "$own"/B' in script for name, script in told) is placed
    assert bool(exchange.APART[FOLDER]) is not placed


@pytest.mark.parametrize("peer", ["A", "C", "Z"], ids=["who makes theirs", "itself", "nobody"])
def test_nobody_seals_to_whom_he_was_not_asked_to(peer: str) -> None:
    printed = {
        ("c", "\nseal D"): f"@ sealed D {DIGEST}\n{SEALED}\n@ sealed {peer} {DIGEST}\n{SEALED}\n",
    }
    told = exchanged(printed, a="A", c="C", d="D")
    assert [name for name, script in told if "BEGIN AGE" in script] == ["d"]


def test_slashes_of_keys_do_not_become_folders() -> None:
    assert files.path(FOLDER, "a/b=", "c//d=") == f"{FOLDER}/a_b=/c__d="


def test_reading_with_keys_that_are_yet_to_be_made_finds_what_is_there_and_claims_no_more() -> None:
    """A plan asks what is there already, while the interface of `c` is to be made."""
    there = dataclasses.replace(
        having(), preshared_files={files.path(FOLDER, "A", "B"): DIGEST, files.path(FOLDER, "B", "A"): DIGEST}
    )
    wanted = inputs(a="A", b="B", c=UNKNOWN)
    seen = PRESHARED.read(FakeHosts(there), wanted)
    assert seen is not None
    assert {name: node.get("without") for name, node in seen.inputs["nodes"].items()} == {
        "a": ["c"],
        "b": ["c"],
        "c": None,
    }
    assert PRESHARED.read(FakeHosts(facts()), wanted) is None

    there = having(known("b"), dataclasses.replace(known("c"), public_key="old"))
    mine = PEERS.read(
        FakeHosts(there), peers(peers={**peers()["peers"], "c": {**peers()["peers"]["c"], "publicKey": UNKNOWN}})
    )
    assert mine is not None
    assert mine.inputs["peers"].keys() == {"b", "unknown-old"}


def test_a_mesh_without_tunnels_needs_no_preshared_keys_and_lacks_none() -> None:
    alone = {
        "mesh": "m",
        "interface": "wg0",
        "folder": FOLDER,
        "nodes": {"a": {"host": {"backend": "lab", "node": "a"}, "makesFor": []}},
    }
    observed = PRESHARED.read(FakeHosts(facts()), alone)
    assert observed is not None
    assert observed.inputs == alone


def test_of_a_key_that_is_yet_to_be_made_nothing_is_in_place() -> None:
    there = having(filed=("B",))
    assert shared.filed(there, peers()) == {"B": files.path(FOLDER, "A", "B")}
    assert shared.filed(there, peers(presharedKeys={"folder": FOLDER, "publicKey": UNKNOWN})) == {}


def test_peers_of_an_interface_that_is_yet_to_get_its_key_are_looked_at_all_the_same() -> None:
    wanted = peers(presharedKeys={"folder": FOLDER, "publicKey": UNKNOWN})
    assert PEERS.read(FakeHosts(having()), wanted) is not None
