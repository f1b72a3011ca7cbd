"""Two nodes that tell the same public key are named, and nothing is changed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from swarmctl.hosts.facts import WireGuard
from swarmctl.kinds.base import UNKNOWN
from swarmctl.kinds.mesh import peer_commands
from swarmctl.kinds.mesh.resources import PEERS
from swarmctl.kinds.mesh.same_key import SameKey
from tests.mesh.fakes import FakeHost, FakeHosts, facts
from tests.mesh.test_peers import INPUTS, declared

SAME: dict[str, Any] = {
    **INPUTS,
    "peers": {"a": declared("KEYA", 1), "c": declared("KEYA", 3), "b": declared("KEYB", 2)},
}


def test_two_peers_with_one_key_are_refused_before_anything_is_changed() -> None:
    hosts = FakeHosts(facts(), FakeHost())
    for act in (
        lambda: PEERS.require(SAME),
        lambda: PEERS.create(hosts, SAME),
        lambda: PEERS.update(hosts, INPUTS, SAME),
    ):
        with pytest.raises(SameKey, match="a and c have the same WireGuard key"):
            act()
    assert hosts.host.log == []


def test_keys_that_are_not_known_yet_are_not_compared() -> None:
    PEERS.require({**INPUTS, "peers": {"a": declared(UNKNOWN, 1), "c": declared(UNKNOWN, 3)}})
    PEERS.require({**INPUTS, "peers": UNKNOWN})


def test_a_peer_with_the_nodes_own_key_is_refused() -> None:
    hosts = FakeHosts(facts(wireguard={"wg0": WireGuard("wg0", "KEYB", 51820, {})}), FakeHost())
    with pytest.raises(SameKey, match="b and n have the same"):
        PEERS.update(hosts, INPUTS, INPUTS)
    assert hosts.host.log == []
    hosts = FakeHosts(facts(), FakeHost(printed=b"own key: KEYB\n"))
    with pytest.raises(SameKey, match="b and n have the same"):
        PEERS.create(hosts, INPUTS)


@pytest.mark.parametrize(("own", "goes_on"), [("KEYB", False), ("KEY", True), ("(none)", True)])
def test_a_new_interface_looks_at_its_own_key_first(tmp_path: Path, own: str, goes_on: bool) -> None:
    wg = tmp_path / "wg"
    wg.write_text(f"#!/bin/sh\necho '{own}'\n")
    wg.chmod(0o755)
    script = peer_commands.unless_own("wg0", ["KEYA", "KEYB"]) + "echo on\n"
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    said = subprocess.run(["sh", "-eu", "-c", script], env=env, capture_output=True, text=True, check=True).stdout
    assert ("on" in said.splitlines()) is goes_on
    assert peer_commands.own_key(said) == ("" if goes_on else own)
