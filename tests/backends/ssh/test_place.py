"""Declared hosts → placements: pure."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swarmctl.backends import ways
from swarmctl.backends.base import Placement, PoolRequest
from swarmctl.backends.ssh import access, index, place
from swarmctl.backends.ssh.address import Address
from swarmctl.backends.ssh.errors import HostRefused
from swarmctl.backends.ssh.spec import SshSpec
from swarmctl.hosts import public_keys

KEYS = tuple(
    f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{tail}"
    for tail in (
        "DIhSHbcJi4NE1CVRWGFFogg08vC1QIVc/DhVX6GYQX1",
        "MsDAp1suoBm0oS6ykbVlG7ERJ3SfG1Eot2SUKeY4NP6",
        "AkxKif26wRMjkApX+F43SQJgHkTBj1n25GvkH1u3BM+",
    )
)
JUMP = {"address": "203.0.113.2", "hostKeys": [KEYS[2]]}


def placed(previous: dict[str, Any] | None = None, names: dict[str, str] | None = None, **ssh: Any) -> Placement:
    hosts = ssh.pop("hosts", [{"name": "n1", "address": "203.0.113.10", "hostKeys": [KEYS[0]], **ssh.pop("own", {})}])
    spec = msgspec.convert({"hosts": hosts, **ssh}, SshSpec)
    request = PoolRequest("metal", "core", "eu", {"role": "worker"}, spec, names=names or {})
    (found,) = place.place("trial", [request], {"n1": previous} if previous else {})
    return found


def test_a_host_has_its_own_values_before_the_pools() -> None:
    pool = {"user": "ops", "port": 2200, "key": "~/.ssh/pool", "certificate": "~/.ssh/pool-cert.pub", "jump": JUMP}
    way = placed(**pool).host
    assert Address.load(way) == Address(
        "203.0.113.10",
        "ops",
        (KEYS[0],),
        2200,
        "~/.ssh/pool",
        "~/.ssh/pool-cert.pub",
        jump=Address("203.0.113.2", "ops", (KEYS[2],), 22, "~/.ssh/pool", "~/.ssh/pool-cert.pub"),
    )
    own = {"user": "ann", "port": 22, "key": "~/.ssh/own", "jump": {**JUMP, "user": "eve", "key": "~/.ssh/j"}}
    assert Address.load(placed(own=own, **pool).host) == Address(
        "203.0.113.10",
        "ann",
        (KEYS[0],),
        22,
        "~/.ssh/own",
        jump=Address("203.0.113.2", "eve", (KEYS[2],), 22, "~/.ssh/j"),
    )


def test_a_jump_host_behind_another_one() -> None:
    first = {"address": "198.51.100.2", "port": 2222, "hostKeys": [KEYS[1]]}
    way = placed(user="ops", key="~/.ssh/pool", jump={**JUMP, "user": "eve", "key": "~/.ssh/j", "jump": first}).host
    inner, outer = Address.load(way).jumps[1], Address.load(way).jumps[0]
    assert outer == Address("198.51.100.2", "eve", (KEYS[1],), 2222, "~/.ssh/j")
    assert inner == Address("203.0.113.2", "eve", (KEYS[2],), 22, "~/.ssh/j", jump=outer)
    own = placed(jump={**JUMP, "jump": {**first, "user": "ann", "key": "~/.ssh/k"}}).host
    assert (own["jump"]["jump"]["user"], own["jump"]["jump"]["key"]) == ("ann", "~/.ssh/k")


def test_inputs_have_no_keys_of_ours() -> None:
    first = {"address": "198.51.100.2", "hostKeys": [KEYS[1]]}

    def jump(folder: str) -> dict[str, Any]:
        return {**JUMP, "key": f"{folder}/j", "jump": {**first, "key": f"{folder}/k"}}

    one = placed(key="~/.ssh/laptop", certificate="~/.ssh/laptop-cert.pub", jump=jump("~/.ssh"))
    other = placed(key="/run/secrets/ci", jump=jump("/run/secrets"))
    assert one.inputs == other.inputs
    assert "laptop" not in str(one.inputs)
    assert one.inputs["jump"]["jump"] == {**first, "user": "root"}
    assert one.inputs["host"] == {"backend": "ssh", "stack": "trial", "node": "n1"}


@pytest.mark.parametrize("after", ["10.9.9.9", "elsewhere.example"])
def test_others_are_told_the_address_that_a_silent_machine_was_applied_with(after: str) -> None:
    before = dict(placed().inputs)
    new = {"hosts": [{"name": "n1", "address": after, "hostKeys": [KEYS[0]]}]}
    moved = placed(before, **new)
    assert "203.0.113.10" not in (*moved.underlay, moved.endpoint)
    ways.silence("trial", [moved.host])
    try:
        left = placed(before, **new)
        assert (left.underlay, left.endpoint) == (("203.0.113.10",), "")
        assert (left.host, left.inputs) == (moved.host, moved.inputs), "it is looked for at the declared one"
        assert placed(None, **new).underlay == moved.underlay, "nothing was applied"
    finally:
        ways.silence("trial", ())


def test_it_is_the_same_machine_as_long_as_one_of_its_host_keys_is_declared() -> None:
    def known_by(keys: list[str], before: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
        found = placed(before, hosts=[{"name": "n1", "address": "203.0.113.10", "hostKeys": keys}]).inputs
        return found["knownBy"], dict(found)

    first, inputs = known_by([KEYS[0]], None)
    assert first == public_keys.fingerprint(KEYS[0])
    for keys in ([KEYS[1], KEYS[0]], [KEYS[1]], [KEYS[1], KEYS[2]]):
        same, inputs = known_by(keys, inputs)
        assert same == first
    assert known_by([KEYS[0]], inputs)[0] == public_keys.fingerprint(KEYS[0])
    assert known_by([KEYS[0]], {**inputs, "hostKeys": [KEYS[1]]})[0] != known_by([KEYS[1]], None)[0]


@pytest.mark.parametrize(
    ("address", "nat", "underlay", "endpoint"),
    [
        ("203.0.113.10", False, ("203.0.113.10",), ""),
        ("203.0.113.10", True, ("203.0.113.10",), None),
        ("2001:DB8::0010", False, ("2001:db8::10",), ""),
        ("N1.example.net", False, (), "n1.example.net"),
        ("n1.example.net", True, (), None),
        ("127.0.0.1", False, (), None),
        ("fe80::1", False, (), None),
    ],
)
def test_where_others_reach_it(address: str, nat: bool, underlay: tuple[str, ...], endpoint: str | None) -> None:
    found = placed(hosts=[{"name": "n1", "address": address, "hostKeys": [KEYS[0]]}], nat=nat)
    assert (found.underlay, found.endpoint) == (underlay, endpoint)


def test_the_ports_it_is_managed_through() -> None:
    assert placed().managed_ports == (22,)
    assert placed(port=2222).managed_ports == (2222,)
    assert placed(port=2222, listens=[2222, 22]).managed_ports == (22, 2222)
    assert placed(port=2222, listens=[22], own={"listens": [23]}).managed_ports == (23,)
    assert placed(managedFrom=["192.0.2.0/24"]).managed_from == ("192.0.2.0/24",)


def test_a_machine_keeps_the_name_it_was_made_with() -> None:
    found = placed(names={"n1": "old-1"})
    assert (found.name, found.key, found.host["node"]) == ("old-1", "n1", "old-1")


def test_the_declared_way_comes_first_then_the_recorded_then_the_noted() -> None:
    host = {"backend": "ssh", "stack": "ways", "node": "n1"}
    way = {**host, "address": "192.0.2.1", "user": "ops", "hostKeys": [KEYS[0]]}
    way["jump"] = {**JUMP, "user": "ops", "jump": {"address": "198.51.100.2", "user": "ops", "hostKeys": [KEYS[1]]}}
    with pytest.raises(HostRefused, match="n1: neither the declarations nor the state nor this computer know"):
        access.way(host)
    noted = {**way["jump"], "key": "~/.ssh/j", "jump": {**way["jump"]["jump"], "key": "~/.ssh/k"}}
    index.note({**way, "port": 1, "key": "~/.ssh/mine", "jump": noted})
    assert access.way(host)["port"] == 1
    ways.record("ways", [{**way, "host": host, "port": 2, "node": "n1"}])
    try:
        recorded = access.way(host)
        assert (recorded["port"], recorded["key"], recorded["jump"]["key"]) == (2, "~/.ssh/mine", "~/.ssh/j")
        assert recorded["jump"]["jump"] == {**way["jump"]["jump"], "key": "~/.ssh/k"}
        ways.declare("ways", [{**way, "port": 3}])
        assert access.way(host) == {**way, "port": 3}
        assert sorted(ways.known("ssh", "ways")) == ["n1"]
        assert ways.known("ssh", "other") == {}
        told = ways.dump()
        ways.declare("ways", [])
        assert access.way(host)["port"] == 2
        ways.load(told)
        assert access.way(host)["port"] == 3
    finally:
        ways.declare("ways", [])
        ways.record("ways", [])
        index.drop("ways", "n1")
    assert not index.folder("ways").exists()


@pytest.mark.parametrize("name", ["../n1", "", ".n1", "a/b", "a\0"])
def test_a_note_is_never_written_elsewhere(name: str) -> None:
    with pytest.raises(ValueError, match="not a node name"):
        index.read("trial", name)


def test_a_note_that_makes_no_sense_is_none() -> None:
    path = index.folder("trial") / "n1.json"
    path.parent.mkdir(parents=True)
    for text in ("", "[]", "{}", '{"hostKeys": 1, "address": "a", "user": "b"}', "\xff"):
        path.write_text(text, "latin-1")
        assert index.read("trial", "n1") is None
    index.drop("trial", "n1")
