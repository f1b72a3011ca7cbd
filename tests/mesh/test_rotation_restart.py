"""A node that goes down in the middle of a rotation comes back with what it had: tunnels answer without any apply.

The node is a namespace: its going down is that its links, their processes and /run/swarmctl are gone; what systemd
would start is started by hand. A kernel and a systemd of its own: `tests/guests/test_stack.py`.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from swarmctl import toolchain
from swarmctl.backends.base import HostUnreachable
from swarmctl.hosts import startup
from swarmctl.hosts.startup_script import PROGRAM
from swarmctl.kinds.mesh import startup_files
from tests.mesh.builder import FakeBackend
from tests.mesh.namespaces import Network, possible
from tests.mesh.rotating import FOLDER, SECOND, Killed, Rotated

WIREGUARD_GO = toolchain.wireguard_go()
NAMES = ("control-0", "workers-0", "workers-1")
DOWN = "workers-0"
SECONDS = 25.0
"""WireGuard finds a session that nobody answers after 15 s (whitepaper, 6.1)."""

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.xdist_group("rotation"),
    pytest.mark.skipif(bool(possible()), reason=possible() or "possible"),
    pytest.mark.skipif(WIREGUARD_GO is None, reason="there is no wireguard-go, neither installed nor built"),
]


class Silent(Network):
    """Nodes of which one may not answer."""

    dead = False

    def open(self, host: Any) -> Any:
        if self.dead and host["node"] == DOWN:
            raise HostUnreachable(f"{DOWN} does not answer")
        return super().open(host)

    def facts(self, host: Any) -> Any:
        if self.dead and host["node"] == DOWN:
            raise HostUnreachable(f"{DOWN} does not answer")
        return super().facts(host)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rotated]:
    folder = tmp_path_factory.mktemp("bin")
    (folder / "wireguard-go").symlink_to(str(WIREGUARD_GO))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{os.environ['PATH']}:{folder}")
        backend = FakeBackend()
        patch.setattr("swarmctl.backends.load", lambda name: backend)
        nodes = Silent(NAMES)
        try:
            made = Rotated(nodes, workers=2)
            keep_what_is_declared(made)
            yield made
        finally:
            nodes.close()


def keep_what_is_declared(mesh: Rotated) -> None:
    """The files that an apply writes where systemd runs."""
    inputs = {kind: mesh.inputs[f"mesh/backbone[{DOWN}{kind}]"] for kind in ("", "/peers")}
    files = {
        startup.PROGRAM: PROGRAM,
        startup.interface("wg0"): startup_files.interface(inputs[""], []),
        startup.peers("wg0"): startup_files.peers(inputs["/peers"]),
    }
    node = mesh.nodes.nodes[DOWN]
    for path, text in files.items():
        node.run(["sh", "-c", f"mkdir -p {startup.FOLDER}; cat >{path}"], stdin=text.encode())


def killed(mesh: Rotated, phase: str) -> None:
    """A rotation of all keys whose run ends when a phase is about to begin."""

    def hook(now: str, node: str) -> None:
        if now == phase:
            raise Killed(phase)

    with pytest.raises(Killed):
        mesh.rotate(hook=hook)


def restarted(mesh: Rotated) -> None:
    node = mesh.nodes.nodes[DOWN]
    links = [name.partition("-")[2] for name in node._services]
    for name in list(node._services):
        node.kill_service(name)
        node.stop_service(name)
    assert node.sh("rm -rf /run/swarmctl /run/wireguard/*; ip -o link show | grep -c wg0 || :").strip() == "0"
    for link in links:
        # Units that are enabled; see `backends.ssh`.
        node.start_service(f"wireguard-{link}", ["env", "WG_PROCESS_FOREGROUND=1", "wireguard-go", "-f", link])
    wait = "".join(f"until wg show {link} listen-port >/dev/null 2>&1; do sleep 0.05; done;" for link in links)
    done = node.run(["sh", "-c", f"{wait} sh {startup.PROGRAM} mesh"], check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""


def answered(mesh: Rotated) -> dict[str, bool]:
    """Whether pings come back, from each of the others to the node that was down."""
    address = mesh.inputs[f"mesh/backbone[{DOWN}]"]["addresses"][0].partition("/")[0]
    waiting: dict[str, Any] = {}
    for name in NAMES:
        if name != DOWN:
            words = ["ping", "-q", "-i", "0.5", "-w", str(round(SECONDS)), "-c", "1", address]
            waiting[name] = subprocess.Popen(mesh.nodes.nodes[name].argv(words), stdout=subprocess.DEVNULL)
    return {name: process.wait() == 0 for name, process in waiting.items()}


@pytest.mark.parametrize(
    "phase",
    [
        pytest.param("second-begin", marks=pytest.mark.soak),
        "keys",
        pytest.param("first-begin", marks=pytest.mark.soak),
        "first-handshake",
        "end",
    ],
)
def test_tunnels_come_back_in_the_middle_of_a_rotation(mesh: Rotated, phase: str) -> None:
    killed(mesh, phase)
    before = mesh.nodes.nodes[DOWN].sh(SEEN)
    restarted(mesh)
    assert mesh.nodes.nodes[DOWN].sh(SEEN) == before
    begun = time.monotonic()
    assert answered(mesh) == dict.fromkeys(answered(mesh), True), mesh.nodes.nodes[DOWN].sh("wg show; ip route")
    print(phase, f"{time.monotonic() - begun:.1f} s")

    mesh.apply(mesh.graph, mesh.quick())
    assert mesh.drift() == {}
    assert mesh.leftovers() == {}
    node = mesh.nodes.nodes[DOWN]
    assert node.sh(f"ls -A {startup.FOLDER}").split() == ["start.sh", "wg0.interface", "wg0.peers"]
    # No apply has written them anew: there is no systemd.
    named = node.sh(f"cut -d' ' -f1 {startup.peers('wg0')}").split()
    assert set(named) == set(node.sh("wg show wg0 peers").split())
    keep_what_is_declared(mesh)


@pytest.mark.parametrize("phase", ["second-handshake", "routes", pytest.param("keys", marks=pytest.mark.soak)])
def test_tunnels_come_back_though_the_others_went_on_without_it(mesh: Rotated, phase: str) -> None:
    nodes = mesh.nodes
    assert isinstance(nodes, Silent)

    def hook(now: str, node: str) -> None:
        nodes.dead = nodes.dead or now == phase

    try:
        mesh.try_rotate(hook=hook)
    finally:
        nodes.dead = False
    restarted(mesh)
    assert answered(mesh) == dict.fromkeys(answered(mesh), True), mesh.nodes.nodes[DOWN].sh("wg show; ip route")

    mesh.rotate(DOWN)
    assert mesh.drift() == {}
    assert mesh.leftovers() == {}
    keep_what_is_declared(mesh)


SEEN = f"""
for link in wg0 {SECOND}; do
  wg show $link public-key; wg show $link listen-port; wg show $link allowed-ips | sort
  wg show $link preshared-keys | sort
  ip -o link show dev $link | grep -o -e 'mtu [0-9]*' -e 'alias .*'
done 2>&1
ip route show proto 186; ls {FOLDER}
"""
