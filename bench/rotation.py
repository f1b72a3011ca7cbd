"""What a rotation of all keys costs the traffic of a mesh of 20 lab nodes, against keys swapped in place.

UDP packets, 100 per second from each of a set of pairs to the other, counted one by one. The same mesh and traffic for
all: ours, ours with 200 ms between the two ends of every pair in every phase, and the way of scripts: the peers of a
node get its new public key (old peer removed, new one added), 200 ms later the node gets its private key, node by
node. All nodes share one computer here, and the rotation with them: traffic that takes all of it loses packets by
itself. So the pairs are neighbours in a ring, of which each node has as many as leave three fifths of the computer idle
in a trial before.
Bounds for ours: no packet lost, and no gap above 100 ms but for what the senders themselves were late.
Needs what a lab needs, and a few minutes; uses wireguard-go where the kernel has no WireGuard.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shlex import quote
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.integration import lab as labs
from tests.integration.traffic import Report, Traffic, ring
from tests.integration.underlay import Underlay

NODES, SKEW, GAP, SPARE = 20, 0.2, 100.0, 0.6
WARM = 12.0
"""Seconds in which tunnels whose ends began at once find to each other."""
POOLS = """
apiVersion: swarmctl/v1alpha1
kind: NodePool
metadata: {{name: n, labels: {{role: worker}}}}
spec:
  region: eu-central
  lab: {{count: {nodes}}}
"""
KEY = "/etc/swarmctl/mesh/backbone/private.key"


class Fleet:
    """The nodes of one lab, and the two ways of giving them new keys."""

    def __init__(self, underlay: Underlay) -> None:
        from swarmctl.provider.hosts import Connections

        self.names = sorted(underlay.nodes(), key=lambda name: int(name.rpartition("-")[2]))
        self.at = {name: {"backend": "lab", "stack": underlay.lab.stack, "node": name} for name in self.names}
        self.hosts = Connections()
        self.rounds = 0

    def sh(self, node: str, script: str) -> str:
        return self.hosts.open(self.at[node]).run(["sh", "-euc", script]).text.strip()

    def each(self, what: Callable[[str], Any], names: Sequence[str]) -> dict[str, Any]:
        with ThreadPoolExecutor(32) as pool:
            return dict(zip(names, pool.map(what, names), strict=True))

    def keys(self) -> Mapping[str, str]:
        return self.each(lambda name: self.sh(name, "wg show wg0 public-key"), self.names)

    def ours(self, skew: float) -> None:
        """All keys at once; the two ends of a pair of neighbours begin each phase `skew` seconds apart."""
        from swarmctl.kinds.mesh.rotation.resource import RotationType

        late = {name: skew * (number % 2) for number, name in enumerate(self.names)}
        self.rounds += 1
        wanted = {
            "mesh": "backbone",
            "interface": "wg0",
            "nextInterface": "wg0-n",
            "listenPort": 51820,
            "nextPort": 51821,
            "keyPath": KEY,
            "rotateEvery": 0,
            "nodes": {
                name: {"host": self.at[name], "generation": self.rounds, "key": "installed"} for name in self.names
            },
        }
        before = {**wanted, "nodes": {name: {**it, "generation": 0} for name, it in wanted["nodes"].items()}}
        for host in self.at.values():
            self.hosts.changed(host)
        RotationType(hook=lambda phase, node: time.sleep(late[node])).update(self.hosts, before, wanted)

    def in_place(self, node: str) -> None:
        """One key, the way of scripts."""
        old = self.sh(node, "wg show wg0 public-key")
        folder = str(Path(KEY).parent)
        new = self.sh(node, f"umask 077; wg genkey >{folder}/swapped; wg pubkey <{folder}/swapped")

        def tell(other: str) -> None:
            self.sh(
                other,
                f"set -- $(wg show wg0 allowed-ips | grep -F {quote(old)}); shift; nets=$(echo $* | tr ' ' ,)\n"
                f"at=$(wg show wg0 endpoints | grep -F {quote(old)} | cut -f2)\n"
                f"wg set wg0 peer {quote(old)} remove peer {quote(new)} endpoint $at allowed-ips $nets",
            )

        self.each(tell, [name for name in self.names if name != node])
        time.sleep(SKEW)
        self.sh(node, f"mv {folder}/swapped {KEY}; wg set wg0 private-key {KEY}")


def idle(seconds: float) -> float:
    """The share of that time in which processors had nothing to do (proc_stat(5))."""

    def now() -> tuple[int, int]:
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return ticks[3] + ticks[4], sum(ticks)

    before = now()
    time.sleep(seconds)
    after = now()
    return (after[0] - before[0]) / (after[1] - before[1])


def measured(traffic: Callable[[], Traffic], doing: Callable[[], None]) -> tuple[Report, float]:
    """What the traffic came to while something was done, and how long that took."""
    with traffic() as one:
        one.measure(WARM)
        began = time.monotonic()
        doing()
        seconds = time.monotonic() - began
        return one.stop(), seconds


def told(name: str, report: Report, seconds: float, keys: int) -> None:
    """One line."""
    print(
        f"{name:<42} {keys} keys in {seconds:.1f} s: {report.lost} of {report.sent} packets lost, longest gap "
        f"{report.gap:.0f} ms, {report.network_gap:.0f} ms without the senders' lateness",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--neighbours", type=int, help="in the ring, ahead of each node; default: see above")
    parser.add_argument("--in-place", type=int, default=5, metavar="KEYS", help="keys swapped in place")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="swarmctl-bench-rotation-") as folder:
        lab = labs.make(Path(folder))
        (lab.stack / "pools.yaml").write_text(POOLS.format(nodes=given.nodes))
        network = (lab.stack / "network.yaml").read_text()
        flow = "    flows: [{name: traffic, from: {}, to: {}, ports: [7946], protocol: udp}]\n"
        (lab.stack / "network.yaml").write_text(network[: network.index("    flows:")] + flow)
        os.environ["XDG_DATA_HOME"] = lab.env["XDG_DATA_HOME"]
        try:
            lab("apply", "--yes", timeout=900)
            return compare(Underlay.of(lab), given)
        finally:
            lab("destroy", "--yes", timeout=900)


def compare(underlay: Underlay, given: argparse.Namespace) -> int:
    """Measure all ways on the same mesh."""
    fleet = Fleet(underlay)
    addresses = {name: underlay.mesh_address(name) for name in fleet.names}

    def traffic(neighbours: int) -> Callable[[], Traffic]:
        return lambda: Traffic(underlay, addresses, ring(fleet.names, neighbours))

    fits = [given.neighbours] if given.neighbours else [count for count in (10, 5, 3, 2, 1) if count < given.nodes]
    for neighbours in fits:
        spare: list[float] = []
        report, _ = measured(traffic(neighbours), lambda spare=spare: spare.append(idle(5.0)))
        if given.neighbours or (report.lost == 0 and spare[0] >= SPARE) or neighbours == fits[-1]:
            break
    print(
        f"{given.nodes} nodes, {len(ring(fleet.names, neighbours))} pairs at 100 packets/s, processors idle for "
        f"{spare[0]:.0%}; nothing done: {report}"
    )
    before, well = fleet.keys(), True
    for name, skew in (("ours", 0.0), (f"ours, ends {SKEW * 1000:.0f} ms apart", SKEW)):
        report, seconds = measured(traffic(neighbours), lambda skew=skew: fleet.ours(skew))
        told(name, report, seconds, len(fleet.names))
        after = fleet.keys()
        well &= report.lost == 0 and report.network_gap <= GAP and not set(before.values()) & set(after.values())
        before = after
    swapped = fleet.names[: given.in_place]
    report, seconds = measured(traffic(neighbours), lambda: [fleet.in_place(name) for name in swapped] and None)
    told(f"in place, ends {SKEW * 1000:.0f} ms apart", report, seconds, len(swapped))
    print("ok" if well else f"too much: bounds are no packet lost and {GAP:.0f} ms")
    return int(not well)


if __name__ == "__main__":
    sys.exit(main())
