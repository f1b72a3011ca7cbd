"""What it costs to give one node 1,000 peers, against the same set written straight to its WireGuard interface.

Ours is one whole call on a lab node, as a run makes it for a new interface. The other is one message to the interface's
own socket (`set=1` of WireGuard's cross-platform interface); the program that sends it is not counted. Both begin with
an interface without peers and take turns.
Judged are seconds of CPU time, so that a busy computer doesn't count: of the process that is WireGuard, and on our side
also of this one and of all that it starts, on the node, too. Seconds on the clock are printed beside them, the best of
each; for the message these are from its first byte to the answer.
Bounds: a ratio of at most 1.5, and one peer more names no other. Needs what a lab needs; uses wireguard-go.
"""

from __future__ import annotations

import base64
import os
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

PEERS, ROUNDS, BOUND = 1000, 7, 1.5
STACK = "bench-peers"
STRAIGHT = """
import socket, sys, time
message = sys.stdin.buffer.read()
uapi = socket.socket(socket.AF_UNIX)
uapi.connect("/var/run/wireguard/wg0.sock")
started = time.perf_counter()
uapi.sendall(message)
answer = b""
while not answer.endswith(b"\\n\\n"):
    answer += uapi.recv(4096)
print(time.perf_counter() - started)
sys.exit(answer != b"errno=0\\n\\n")
"""
READY = "until wg show wg0 listen-port >/dev/null 2>&1; do sleep 0.02; done; ip link set wg0 up"


def peer(number: int) -> dict[str, Any]:
    """A declared peer, with a key that no other has."""
    high, low = divmod(number, 250)
    return {
        "publicKey": base64.b64encode(os.urandom(32)).decode(),
        "endpoint": f"172.20.{high}.{low + 1}:51820",
        "allowedIps": [f"10.88.{high}.{low + 1}/32", f"fd88:5b2a::{number + 1:x}/128"],
        "persistentKeepalive": 25,
    }


def message(peers: Mapping[str, Mapping[str, Any]]) -> bytes:
    """The same peers as WireGuard's socket takes them."""
    lines = ["set=1"]
    for one in peers.values():
        lines += [
            f"public_key={base64.b64decode(one['publicKey']).hex()}",
            f"endpoint={one['endpoint']}",
            f"persistent_keepalive_interval={one['persistentKeepalive']}",
            "replace_allowed_ips=true",
            *(f"allowed_ip={network}" for network in one["allowedIps"]),
        ]
    return "\n".join([*lines, "", ""]).encode()


class Cost(NamedTuple):
    """In seconds."""

    cpu: float
    clock: float


def own() -> float:
    """CPU seconds of this process and of those that it waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


class Node:
    """A lab node with a WireGuard interface, and what is told to it."""

    def __init__(self, host: Mapping[str, Any]) -> None:
        from swarmctl.kinds.mesh.peers import PeersType
        from swarmctl.provider.hosts import Connections

        self.type = PeersType()
        self.address = dict(host)
        self.hosts = Connections()
        self.node = self.hosts.open(self.address)

    def fresh(self) -> None:
        """An interface without peers; nothing is known of the node."""
        self.node.stop_service("wireguard-wg0")
        self.node.start_service("wireguard-wg0", ["env", "WG_PROCESS_FOREGROUND=1", "wireguard-go", "-f", "wg0"])
        self.node.run(["sh", "-c", READY])
        self.hosts.changed(self.address)

    def inputs(self, peers: Mapping[str, Any]) -> dict[str, Any]:
        """Of `swarm:mesh:Peers`."""
        return {"machine": "1", "host": self.address, "node": "bench", "interface": "wg0", "peers": dict(peers)}

    def ours(self, peers: Mapping[str, Any]) -> Cost:
        """Of the whole call."""
        self.fresh()
        before, started = self.wireguard() + own(), time.perf_counter()
        self.type.create(self.hosts, self.inputs(peers))
        return Cost(self.wireguard() + own() - before, time.perf_counter() - started)

    def straight(self, peers: Mapping[str, Any]) -> Cost:
        """Of the message alone."""
        self.fresh()
        before = self.wireguard()
        seconds = float(self.node.run(["python3", "-c", STRAIGHT], stdin=message(peers)).text)
        return Cost(self.wireguard() - before, seconds)

    def wireguard(self) -> float:
        """CPU seconds of the process that is WireGuard."""
        (service,) = self.node.services()
        fields = Path(f"/proc/{service.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def more(self, peers: Mapping[str, Any]) -> tuple[float, int]:
        """Seconds that one peer more takes, and how many peers the commands name."""
        from swarmctl.kinds.mesh import peer_commands

        wanted = {**peers, "one-more": peer(PEERS)}
        now = self.hosts.facts(self.address).wireguard["wg0"]
        script = peer_commands.script("wg0", now, wanted.values())
        named = sum(one["publicKey"] in script for one in wanted.values())
        self.hosts.changed(self.address)
        started = time.perf_counter()
        self.type.update(self.hosts, self.inputs(peers), self.inputs(wanted))
        return time.perf_counter() - started, named

    def count(self) -> int:
        """Peers that the interface has."""
        return len(self.node.run(["sh", "-c", "wg show wg0 peers"]).text.split())


def main() -> int:
    """Print the ratio; 1 when a bound is broken."""
    from swarmctl import toolchain
    from swarmctl.backends import load
    from swarmctl.backends.base import PoolRequest
    from swarmctl.backends.lab.spec import LabSpec

    if toolchain.wireguard_go() is None:
        print("not measured: there is no wireguard-go")
        return 0
    backend = load("lab")
    with tempfile.TemporaryDirectory(prefix="swarmctl-bench-") as data:
        os.environ["XDG_DATA_HOME"] = data
        (placed,) = backend.place(STACK, [PoolRequest("node", "core", "eu", {}, LabSpec(count=1), {})], {})
        try:
            backend.create_machine(placed.inputs)
            return measure(Node(placed.host))
        finally:
            backend.sweep(STACK)


def measure(node: Node) -> int:
    """See `main`."""
    straight: list[Cost] = []
    ours: list[Cost] = []
    for _ in range(ROUNDS):
        peers = {f"n-{number}": peer(number) for number in range(PEERS)}
        straight.append(node.straight(peers))
        ours.append(node.ours(peers))
        if node.count() != PEERS:
            raise AssertionError(f"{node.count()} peers")
    one, other = (sum(cost.cpu for cost in costs) / ROUNDS for costs in (straight, ours))
    ratio = other / one
    print(
        f"{PEERS:,} peers on one node: straight to the interface {one:.3f} s, ours {other:.3f} s of CPU: "
        f"ratio {ratio:.2f} (at most {BOUND}): {'ok' if ratio <= BOUND else 'OVER'}"
    )
    one, other = (min(cost.clock for cost in costs) for costs in (straight, ours))
    print(f"by the clock: {one:.3f} s and {other:.3f} s: ratio {other / one:.2f}")
    seconds, named = node.more(peers)
    print(f"one peer more: {seconds:.3f} s, commands name {named} (at most 1): {'ok' if named == 1 else 'OVER'}")
    return 0 if ratio <= BOUND and named == 1 and node.count() == PEERS + 1 else 1


if __name__ == "__main__":
    sys.exit(main())
