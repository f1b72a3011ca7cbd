"""Key rotation on real namespaces and real WireGuard, with traffic between all pairs at 100 packets per second."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from swarmctl import toolchain
from swarmctl.backends.base import HostUnreachable
from swarmctl.kinds.mesh.rotation.due import NotRotated
from tests.mesh.builder import FakeBackend
from tests.mesh.namespaces import Network, possible
from tests.mesh.rotating import FOLDER, Killed, Rotated

WIREGUARD_GO = toolchain.wireguard_go()
PHASES = (
    "key",
    "second",
    "second-begin",
    "second-handshake",
    "routes",
    "keys",
    "first-begin",
    "first-handshake",
    "back",
    "end",
)
NAMES = ("control-0", "workers-0", "workers-1", "workers-2")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.xdist_group("rotation"),
    pytest.mark.skipif(bool(possible()), reason=possible() or "possible"),
    pytest.mark.skipif(WIREGUARD_GO is None, reason="there is no wireguard-go, neither installed nor built"),
]

SOAK = [pytest.param(phase, after, marks=pytest.mark.soak) for phase, after in (("keys", 3), ("back", 0), ("end", 3))]
SOAKED = [pytest.param(phase, marks=pytest.mark.soak) for phase in ("second", "back", "end")]
"""Those that only `make soak` has, for time."""


@pytest.fixture(scope="module", autouse=True)
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("bin")
    (folder / "wireguard-go").symlink_to(str(WIREGUARD_GO))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{os.environ['PATH']}:{folder}")
        backend = FakeBackend()
        patch.setattr("swarmctl.backends.load", lambda name: backend)
        yield


class Silent(Network):
    """Nodes of which some don't answer."""

    dead: frozenset[str] = frozenset()

    def open(self, host: Any) -> Any:
        if host["node"] in self.dead:
            raise HostUnreachable(f"{host['node']} does not answer")
        return super().open(host)

    def facts(self, host: Any) -> Any:
        if host["node"] in self.dead:
            raise HostUnreachable(f"{host['node']} does not answer")
        return super().facts(host)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Silent]:
    made = Silent(NAMES)
    yield made
    made.close()


@pytest.fixture(scope="module")
def applied(nodes: Silent) -> Rotated:
    return Rotated(nodes, workers=3)


@pytest.fixture
def mesh(applied: Rotated) -> Rotated:
    """The mesh, whatever the test before left of it."""
    assert applied.drift() == {}
    assert applied.leftovers() == {}
    return applied


def kill_in(phase: str, after: int = 0) -> Any:
    """A hook that ends the run when a phase begins on another node than the first `after`."""
    begun: list[str] = []
    guard = threading.Lock()

    def hook(now: str, node: str) -> None:
        with guard:
            if now != phase:
                return
            begun.append(node)
            if len(begun) > after:
                raise Killed(phase)

    return hook


@pytest.mark.parametrize("family", [4, 6])
def test_no_packet_is_lost_when_all_keys_change(mesh: Rotated, family: int) -> None:
    before = mesh.keys()
    with mesh.traffic(family) as traffic:
        traffic.measure()
        mesh.rotate()
        report = traffic.stop()
    print(report)
    after = mesh.keys()
    assert report.lost == 0, report.losing()
    assert not set(before.values()) & set(after.values())
    assert mesh.drift() == {}
    assert mesh.leftovers() == {}


def test_the_key_of_one_node_changes_and_the_others_stay(mesh: Rotated) -> None:
    before = mesh.keys()
    with mesh.traffic() as traffic:
        traffic.measure()
        mesh.rotate("workers-1")
        report = traffic.stop()
    print(report)
    assert report.lost == 0, report.losing()
    assert [name for name, key in mesh.keys().items() if key != before[name]] == ["workers-1"]
    assert mesh.drift() == {}
    assert mesh.leftovers() == {}


def test_ends_that_change_200_ms_apart_lose_nothing(mesh: Rotated) -> None:
    late = {"control-0": 0.0, "workers-0": 0.2, "workers-1": 0.4, "workers-2": 0.6}
    with mesh.traffic() as traffic:
        traffic.measure()
        mesh.rotate(hook=lambda phase, node: time.sleep(late[node]))
        report = traffic.stop()
    print(report)
    assert report.lost == 0, report.losing()


@pytest.mark.parametrize(
    ("phase", "after"),
    [*((phase, 1) for phase in PHASES), *SOAK],
)
def test_a_run_that_dies_in_a_phase_is_finished_by_the_next_without_loss(mesh: Rotated, phase: str, after: int) -> None:
    before = mesh.keys()
    with mesh.traffic() as traffic:
        traffic.measure(1.0)
        with pytest.raises(Killed):
            mesh.rotate(hook=kill_in(phase, after))
        time.sleep(0.5)
        mesh.rotate()
        report = traffic.stop()
    print(phase, after, report)
    assert report.lost == 0, report.losing()
    assert not set(before.values()) & set(mesh.keys().values())
    assert mesh.drift() == {}
    assert mesh.leftovers() == {}


def test_an_apply_finishes_what_was_cut_off(mesh: Rotated) -> None:
    before = mesh.keys()
    with pytest.raises(Killed):
        mesh.rotate(hook=kill_in("keys", 1))
    assert mesh.drift()["mesh/backbone[workers-0]"] == ["key"]
    mesh.apply(mesh.graph, mesh.quick())
    assert not set(before.values()) & set(mesh.keys().values())
    assert mesh.drift() == {}
    assert mesh.leftovers() == {}


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.soak)])
def test_runs_that_die_again_and_again_end_well(mesh: Rotated, seed: int) -> None:
    dice = random.Random(seed)
    with mesh.traffic() as traffic:
        traffic.measure(1.0)
        for _ in range(4):
            try:
                mesh.rotate(hook=kill_in(dice.choice(PHASES), dice.randrange(4)))
            except Killed:
                continue
        mesh.rotate()
        report = traffic.stop()
    print(report)
    assert report.lost == 0, report.losing()
    assert mesh.drift() == {}
    assert mesh.leftovers() == {}


def test_an_old_key_is_drift_and_rotated(mesh: Rotated) -> None:
    before = mesh.keys()
    mesh.nodes.nodes["workers-0"].sh(f"touch -d '100 days ago' {FOLDER}/private.key")
    drift = mesh.drift()
    assert drift == {"mesh/backbone[rotation]": ["nodes.workers-0.key"], "mesh/backbone[workers-0]": ["key"]}
    mesh.apply(mesh.graph, mesh.quick())
    assert [name for name, key in mesh.keys().items() if key != before[name]] == ["workers-0"]
    assert mesh.drift() == {}


def test_what_keys_leave_on_nodes_is_for_root_alone(mesh: Rotated) -> None:
    with pytest.raises(Killed):
        mesh.rotate(hook=kill_in("keys"))
    for node in mesh.nodes.nodes.values():
        modes = node.sh(f"stat -c '%a %n' {FOLDER} {FOLDER}/* {FOLDER}/.[!.]* 2>/dev/null || :").splitlines()
        assert [line for line in modes if line.split()[0] not in ("700", "600")] == []
        assert any(line.endswith("next.key") for line in modes)
    mesh.rotate()
    for node in mesh.nodes.nodes.values():
        assert node.sh(f"ls -A {FOLDER}").split() == ["generation", "previous.pub", "private.key"]


def test_no_key_is_told_to_anybody(mesh: Rotated) -> None:
    secrets = {node.sh(f"cat {FOLDER}/private.key").strip() for node in mesh.nodes.nodes.values()}
    for node in mesh.nodes.nodes.values():
        node.commands.clear()
        node.inputs.clear()
    mesh.rotate()
    secrets |= {node.sh(f"cat {FOLDER}/private.key").strip() for node in mesh.nodes.nodes.values()}
    for node in mesh.nodes.nodes.values():
        told = repr(node.commands) + repr(node.inputs[:-1])
        assert [secret for secret in secrets if secret in told] == []


def test_preshared_keys_go_along(mesh: Rotated) -> None:
    names, keys = ("workers-0", "workers-1"), mesh.keys()
    secret = subprocess.run(["wg", "genpsk"], capture_output=True, text=True, check=True).stdout.strip()
    for name, other in (names, names[::-1]):
        mesh.nodes.nodes[name].run(
            ["wg", "set", "wg0", "peer", keys[other], "preshared-key", "/dev/stdin"], stdin=secret.encode()
        )
    kept: dict[str, str] = {}

    def look(phase: str, node: str) -> None:
        if phase == "back":
            kept[node] = mesh.nodes.nodes[node].sh("wg show wg0 preshared-keys; wg show wg0-n preshared-keys")

    with mesh.traffic() as traffic:
        traffic.measure()
        # What is declared has none: the peers take it away again when all is over.
        mesh.rotate(hook=look)
        report = traffic.stop()
    assert report.lost == 0, report.losing()
    assert [kept[name].count(secret) for name in names] == [2, 2]
    assert secret not in kept["control-0"]


@pytest.mark.parametrize("phase", ["", "routes", "keys", *SOAKED])
def test_a_node_that_dies_is_left_out_and_the_others_finish(mesh: Rotated, nodes: Silent, phase: str) -> None:
    before, gone = mesh.keys(), "workers-1"

    def hook(now: str, node: str) -> None:
        if now == phase:
            nodes.dead = frozenset({gone})

    nodes.dead = frozenset() if phase else frozenset({gone})
    try:
        mesh.try_rotate(hook=hook)
    finally:
        nodes.dead = frozenset()
    others = [name for name in NAMES if name != gone]
    assert all(mesh.keys()[name] != before[name] for name in others)
    # It is back: what it has not done is drift, and done by the next apply.
    mesh.rotate(gone)
    assert mesh.keys()[gone] != before[gone]
    assert mesh.drift() == {}
    assert mesh.leftovers() == {}


def test_without_a_handshake_the_old_key_stays_and_it_is_said_why(mesh: Rotated) -> None:
    node = mesh.nodes.nodes["workers-2"]
    before = mesh.keys()
    node.sh("nft add table inet block; nft add chain inet block in '{ type filter hook input priority -10; }'")
    node.sh("nft add rule inet block in udp dport 51821 drop")
    try:
        with mesh.traffic() as traffic:
            traffic.measure()
            with pytest.raises(NotRotated, match=r"workers-2.*no handshake over udp/51821"):
                mesh.rotate("workers-2", patience=2.0)
            report = traffic.stop()
    finally:
        node.sh("nft delete table inet block")
    assert report.lost == 0, report.losing()
    assert mesh.keys() == before
    mesh.rotate("workers-2")
    assert mesh.keys()["workers-2"] != before["workers-2"]
    assert mesh.drift() == {}
    assert mesh.leftovers() == {}
