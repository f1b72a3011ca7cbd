"""Traffic between the nodes of a lab, packet by packet: what was lost, and the longest time that nothing came.

One process per node sends to all its peers and hears from them. It runs in the node's network only, so that the
node's own limits, files and death are no matter of the measurement. All nodes of a lab are on one machine and have one
clock, so that the way of a packet can be timed in one direction.

How much a machine sustains, `python -m tests.integration.traffic NODES PAIRS…` finds out on a mesh of its own.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from tests.integration import lab as labs
from tests.integration.underlay import PYTHON, Underlay

PROGRAM = Path(__file__).with_name("traffic_node.py")
PORT = 7946


@dataclass(frozen=True, slots=True)
class Flow:
    """What came of the packets from one node to another. Times in ms."""

    sent: int
    received: int
    refused: int
    """Of those lost, those that the sender's own kernel did not take."""
    duplicates: int
    gap: float
    """The longest time between two packets that arrived, as the receiving kernel saw them."""
    network_gap: float
    """The same without what the sender was late with its next packet: a busy machine is no gap of the network."""
    gap_at: float
    """When the longest gap ended, Unix time in seconds; 0 when nothing arrived."""
    delay: float
    """The longest time that one packet was on its way."""

    @property
    def lost(self) -> int:
        return self.sent - self.received


@dataclass(frozen=True, slots=True)
class Report:
    """All flows of one measurement."""

    flows: Mapping[tuple[str, str], Flow]
    seconds: float
    late: float
    """The longest time in ms that a sender was late: more than the bound of a test, and the machine was too busy."""

    @property
    def sent(self) -> int:
        return sum(flow.sent for flow in self.flows.values())

    @property
    def lost(self) -> int:
        return sum(flow.lost for flow in self.flows.values())

    @property
    def gap(self) -> float:
        return max((flow.gap for flow in self.flows.values()), default=0.0)

    @property
    def network_gap(self) -> float:
        return max((flow.network_gap for flow in self.flows.values()), default=0.0)

    @property
    def delay(self) -> float:
        return max((flow.delay for flow in self.flows.values()), default=0.0)

    def losing(self) -> dict[tuple[str, str], Flow]:
        """The flows that lost something."""
        return {pair: flow for pair, flow in self.flows.items() if flow.lost}

    def __str__(self) -> str:
        worst = max(self.flows.items(), key=lambda item: item[1].gap)[0] if self.flows else ("", "")
        return (
            f"{len(self.flows)} pairs, {self.sent} packets in {self.seconds:.1f} s ({self.sent / self.seconds:.0f}/s): "
            f"{self.lost} lost, longest gap {self.gap:.0f} ms ({' → '.join(worst)}), of the network "
            f"{self.network_gap:.0f} ms, longest delay {self.delay:.0f} ms, "
            f"senders late by up to {self.late:.0f} ms"
        )


class Traffic:
    """Use as a context manager: `start`, `measure`, then what is to be measured, then `stop`."""

    def __init__(
        self,
        underlay: Underlay,
        addresses: Mapping[str, str],
        pairs: Iterable[tuple[str, str]] | None = None,
        *,
        rate: float = 100.0,
        port: int = PORT,
        size: int = 64,
        groups: int = 1,
    ) -> None:
        """`addresses` by node, as the others reach it; `pairs` of sender and receiver, all of them when left out.

        `rate` is in packets per second and pair, `size` in bytes of UDP payload. `groups`: into how many parts the
        peers of a node are divided, which get their packets one after the other. With one, all nodes send to all at
        the same moments, which costs a busy machine the fewest awakenings; with more they are spread in time.
        """
        self._underlay, self._addresses = underlay, dict(addresses)
        self.pairs = sorted(set(permutations(self._addresses, 2) if pairs is None else pairs))
        self._rate, self._port, self._size, self._groups = rate, port, size, groups
        self._numbers = {node: number for number, node in enumerate(sorted(self._addresses))}
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._began = 0.0

    def __enter__(self) -> Traffic:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.kill()
            process.communicate()

    def start(self) -> None:
        """Begin to send; nothing counts yet: tunnels have their handshakes."""
        six = any(":" in address for address in self._addresses.values())
        for node in sorted({node for pair in self.pairs for node in pair}):
            targets = [target for source, target in self.pairs if source == node]
            config = {
                "index": self._numbers[node],
                "port": self._port,
                "rate": self._rate,
                "size": self._size,
                "groups": self._groups,
                "six": six,
                "peers": {self._numbers[target]: [self._target(target, six), self._port] for target in targets},
            }
            self._processes[node] = self._underlay.start(node, PYTHON, str(PROGRAM), json.dumps(config))
        for node, process in self._processes.items():
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", f"{node}: the traffic does not start"

    def _target(self, node: str, six: bool) -> str:
        address = self._addresses[node]
        return f"::ffff:{address}" if six and ":" not in address else address

    def measure(self, warm: float = 2.0) -> None:
        """What is sent from now on counts, after `warm` seconds."""
        time.sleep(warm)
        self._signal(signal.SIGUSR2)
        self._began = time.monotonic()

    def stop(self, drain: float = 1.0) -> Report:
        """Send no more, wait for what is on its way, and tell what came of it."""
        self._signal(signal.SIGUSR1)
        seconds = time.monotonic() - self._began
        time.sleep(drain)
        self._signal(signal.SIGTERM)
        told = {node: json.loads(process.communicate(timeout=30)[0]) for node, process in self._processes.items()}
        self._processes.clear()
        flows = {(source, target): _flow(told[source], told[target]) for source, target in self.pairs}
        return Report(flows, seconds, max(node["late"] for node in told.values()) / 1e6)

    def during(self, seconds: float, warm: float = 2.0) -> Report:
        """Measure for a time in which nothing is done."""
        self.measure(warm)
        time.sleep(seconds)
        return self.stop()

    def _signal(self, number: signal.Signals) -> None:
        for node, process in self._processes.items():
            assert process.poll() is None, f"{node}: the traffic has ended"
            os.kill(process.pid, number)


def _flow(sender: dict, receiver: dict) -> Flow:
    sent, refused = (sender[what][str(receiver["index"])] for what in ("sent", "refused"))
    own = [of for index, start, of in receiver["heard"] if (index, start) == (sender["index"], sender["start"])]
    of = own[0] if own else {}
    gap, own_gap = of.get("gap", 0), of.get("own_gap", 0)
    if of.get("expected", 0) < sent:  # the last ones never came: nothing came until the sender stopped
        since = sender["stopped"] - of["last"] if of.get("last") else 0
        gap, own_gap = max(gap, since), max(own_gap, since)
    return Flow(
        sent=sent,
        received=of.get("count", 0),
        refused=refused,
        duplicates=of.get("duplicates", 0),
        gap=gap / 1e6,
        network_gap=own_gap / 1e6,
        gap_at=of.get("gap_at", 0) / 1e9,
        delay=of.get("delay", 0) / 1e6,
    )


def ring(nodes: Sequence[str], neighbours: int) -> list[tuple[str, str]]:
    """Pairs of each node with the next `neighbours` of a ring, both ways: a part of all, spread evenly."""
    ahead = [
        (node, nodes[(at + step) % len(nodes)]) for at, node in enumerate(nodes) for step in range(1, neighbours + 1)
    ]
    return sorted({pair for one, two in ahead if one != two for pair in ((one, two), (two, one))})


def some(nodes: Sequence[str], count: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """As many pairs of all, by chance, the same ones for the same seed."""
    yield from random.Random(seed).sample(sorted(permutations(nodes, 2)), count)


def sustained(nodes: int, counts: Sequence[int], seconds: float = 10.0) -> Iterator[tuple[int, Report]]:
    """What comes through a mesh of so many nodes at 100 packets per second and pair, for each number of pairs."""
    with tempfile.TemporaryDirectory(prefix="swarmctl-traffic-") as folder:
        lab = labs.make(Path(folder))
        lab.edit("pools.yaml", "lab: {count: 2}", "lab: {count: 1}")
        lab.edit("pools.yaml", "lab: {count: 3}", f"lab: {{count: {nodes}}}")
        try:
            lab("apply", "--yes", timeout=900)
            underlay = Underlay.of(lab)
            workers = [node for node in underlay.nodes() if node.startswith("workers-")]
            addresses = {node: underlay.mesh_address(node) for node in workers}
            for count in counts:
                with Traffic(underlay, addresses, some(workers, count)) as traffic:
                    yield count, traffic.during(seconds, warm=5.0)
        finally:
            lab("destroy", "--yes", timeout=900)


if __name__ == "__main__":
    for pairs, report in sustained(int(sys.argv[1]), [int(word) for word in sys.argv[2:]]):
        print(f"{pairs} pairs: {report}; processors busy {os.getloadavg()[0]:.1f}", flush=True)
