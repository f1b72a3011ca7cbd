"""A lab from below: its nodes' networks from outside, and what can go wrong with them.

Loss, partitions and rates are made at the lab's end of the cables, where no node sees them and no reading of a node
finds them. What a node has, its own end of the cable included, is entered only by `on`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from swarmctl.backends import load
from swarmctl.backends.base import Host
from swarmctl.backends.lab import fabric, launch, marks, network
from swarmctl.processes import Process
from tests.integration import lab as labs

TABLE = "faults"
PYTHON = os.path.realpath("/usr/bin/python3") if os.path.exists("/usr/bin/python3") else "python3"


class Underlay:
    """Of one lab that runs."""

    def __init__(self, stack: str, data: Path) -> None:
        """`stack` is the stack's identity, `data` its XDG_DATA_HOME."""
        self._data = data
        with self._environment():
            self.lab = marks.Lab(stack)

    @classmethod
    def of(cls, lab: labs.Lab) -> Underlay:
        """Of the only stack of a test's lab."""
        (mark,) = lab.data.glob("lab/*/fabric.json")
        return cls(mark.parent.name, lab.data.parent)

    @contextmanager
    def _environment(self) -> Iterator[None]:
        before = os.environ.get("XDG_DATA_HOME")
        os.environ["XDG_DATA_HOME"] = str(self._data)
        try:
            yield
        finally:
            if before is None:
                del os.environ["XDG_DATA_HOME"]
            else:
                os.environ["XDG_DATA_HOME"] = before

    def nodes(self) -> list[str]:
        return self.lab.names()

    def host(self, node: str) -> Host:
        """The node by the host protocol; only while XDG_DATA_HOME is the lab's."""
        return load("lab").open_host({"backend": "lab", "stack": self.lab.stack, "node": node})

    def inputs(self, node: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.lab.record(node)["inputs"]
        return found

    def address(self, node: str) -> str:
        return str(self.inputs(node)["address"]).partition("/")[0]

    def mesh_address(self, node: str, interface: str = "wg0", family: int = 4) -> str:
        """The node's first address on a mesh."""
        (link,) = json.loads(
            self.on(node, "ip", f"-{family}", "-j", "addr", "show", "dev", interface, "scope", "global")
        )
        return str(link["addr_info"][0]["local"])

    def process(self, node: str) -> Process:
        """The node's first process; with an empty name, the one that holds the lab's network."""
        record = self.lab.record(node) if node else self.lab.fabric()
        found = Process.load(record.get("process"))
        assert found is not None, f"{node or 'the lab'} does not run"
        return found

    @contextmanager
    def _entering(self, node: str) -> Iterator[tuple[list[str], list[int]]]:
        """The start of a command in the network of a node, or of the lab, with the rights of this machine's files."""
        found = fabric.running(self.lab)
        assert found is not None
        with ExitStack() as stack:
            prefix, outer = stack.enter_context(launch.into(found.process, user=found.rootless))
            opened = stack.enter_context(self.process(node).namespaces("net"))
            space = f"--net=/proc/self/fd/{opened['net']}"
            yield [*prefix[:-1], space, "--"], [*outer, opened["net"]]

    def start(self, node: str, *argv: str, **more: Any) -> subprocess.Popen[str]:
        """Start a program of this machine in the network of a node (empty: of the lab). It ends with the lab."""
        with self._entering(node) as (prefix, descriptors):
            env = {**launch.environment(self.lab.tag), "PYTHONUNBUFFERED": "1"}
            return subprocess.Popen(
                [*prefix, *argv], text=True, stdout=subprocess.PIPE, pass_fds=descriptors, env=env, **more
            )

    def on(self, node: str, *argv: str, stdin: str = "", check: bool = True) -> str:
        """Run a program of this machine in the network of a node (empty: of the lab)."""
        process = self.start(node, *argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(stdin, timeout=30)
        assert not check or process.returncode == 0, f"{argv}: {out}{err}"
        return out

    def lose(self, one: str, other: str = "", *, share: float = 1.0) -> None:
        """Drop a share of the packets of a node's cable, both ways; with `other`, of those between the two only.

        Adds to what was asked before; `heal` ends it. With one of them behind a router, give that one first.
        """
        cable, seen = network.cable_name(one), self._seen_as(other, one) if other else ""
        chance = "" if share >= 1 else f"numgen random mod 10000 < {round(share * 10000)}"
        self.on(
            "",
            "nft",
            "-f",
            "-",
            stdin=f"""
table bridge {TABLE} {{
  chain in {{ type filter hook prerouting priority 0; }}
  chain out {{ type filter hook postrouting priority 0; }}
}}
add rule bridge {TABLE} in iifname {cable} {f"ip daddr {seen}" if seen else ""} {chance} drop
add rule bridge {TABLE} out oifname {cable} {f"ip saddr {seen}" if seen else ""} {chance} drop
""",
        )

    def partition(self, one: str, other: str) -> None:
        """Let nothing through between two nodes."""
        self.lose(one, other)

    def heal(self) -> None:
        """End every `lose` and `partition`."""
        self.on("", "nft", "-f", "-", stdin=f"table bridge {TABLE}\ndelete table bridge {TABLE}\n")

    def _seen_as(self, node: str, by: str) -> str:
        """The address under which `by` has to do with a node."""
        of, its = self.inputs(node), self.inputs(by)
        behind = of.get("router") and network.bridge_name(of["address"]) != network.bridge_name(its["address"])
        return str(of["router" if behind else "address"]).partition("/")[0]

    def rate(self, node: str, rate: str, *, latency: str = "50ms") -> None:
        """Let no more than `rate` (as tc(8) writes it, `10mbit`) through to a node; what waits longer is dropped."""
        words = ["root", "tbf", "rate", rate, "burst", "32k", "latency", latency]
        self.on("", "tc", "qdisc", "replace", "dev", network.cable_name(node), *words)

    def netem(self, node: str, *words: str) -> None:
        """Give what goes to a node the discipline of tc-netem(8), `delay 100ms 10ms loss 1%`; see `has_netem`."""
        self.on("", "tc", "qdisc", "replace", "dev", network.cable_name(node), "root", "netem", *words)

    def has_netem(self) -> bool:
        """Whether the kernel knows it."""
        words = ["sh", "-c", "tc qdisc add dev lo root netem delay 1ms && tc qdisc del dev lo root && echo yes"]
        return self.on("", *words, check=False) == "yes\n"

    def free(self, node: str) -> None:
        """End `rate` and `netem`."""
        self.on("", "tc", "qdisc", "del", "dev", network.cable_name(node), "root", check=False)

    def unplug(self, node: str) -> None:
        """Take the link of a node down; it goes on running."""
        self.on("", "ip", "link", "set", network.cable_name(node), "down")

    def plug(self, node: str) -> None:
        """The link comes up again."""
        self.on("", "ip", "link", "set", network.cable_name(node), "up")

    def kill(self, node: str) -> None:
        """SIGKILL for everything in a node at once, as when its power is cut. Its cable goes with its network."""
        self.process(node).kill()

    def pause(self, node: str, name: str, number: signal.Signals = signal.SIGSTOP) -> None:
        """Send a signal to a service of a node."""
        mark = self.lab.read(self.lab.node(node) / "services" / f"{name}.json")
        process = Process.load(mark.get("process"))
        assert process is not None
        os.kill(process.pid, number)

    def boot(self, node: str) -> None:
        """Start a node that was killed, over its old trees, and its services: what only the kernel had is gone."""
        with self._environment():
            load("lab").create_machine(self.inputs(node))

    def reboot(self, node: str) -> None:
        """Kill it and start it again."""
        self.kill(node)
        self.boot(node)
