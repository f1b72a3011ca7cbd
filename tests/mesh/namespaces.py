"""Nodes for tests: namespaces of this computer behind the host protocol, on one switch, gone when the test ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from swarmctl.backends.base import CommandFailed, Completed, ServiceStatus
from swarmctl.hosts import reading
from swarmctl.hosts.facts import Facts
from swarmctl.hosts.guard import Change
from swarmctl.hosts.readings import Reading

T = TypeVar("T")

# Its own /run (sockets of wireguard-go) and a writable /etc on top of this computer's.
ROOT = """
mount -t tmpfs tmpfs /run && mkdir -p /run/etc/upper /run/etc/work /run/wireguard
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work /etc
echo ready; exec sleep infinity
"""


class Namespace:
    """One node: a process that holds its namespaces, and commands that enter them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.commands: list[tuple[str, ...]] = []
        self.inputs: list[bytes] = []
        self._services: dict[str, subprocess.Popen[bytes]] = {}
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-ec", ROOT], stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            raise RuntimeError("no namespaces here")
        self.pid = self._holder.pid

    def argv(self, argv: Sequence[str]) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-n", "-m", *argv]

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0, check: bool = True) -> Completed:
        if tuple(argv) != reading.ARGV:
            self.commands.append(tuple(argv))
            self.inputs.append(stdin)
        done = subprocess.run(self.argv(argv), input=stdin, capture_output=True, timeout=timeout, check=False)
        if check and done.returncode:
            raise CommandFailed(f"{self.name}: {done.stderr.decode()}")
        return Completed(tuple(argv), done.returncode, done.stdout, done.stderr)

    def sh(self, script: str, *, check: bool = True) -> str:
        return self.run(["sh", "-c", script], check=check).text

    def put(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        raise NotImplementedError

    def get(self, path: str) -> bytes | None:
        raise NotImplementedError

    def remove(self, path: str) -> None:
        self.run(["rm", "-rf", path])

    def start_service(self, name: str, argv: Sequence[str]) -> None:
        self.commands.append(("start_service", name, *argv))
        self._services[name] = subprocess.Popen(self.argv(argv), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop_service(self, name: str) -> None:
        process = self._services.pop(name, None)
        if process is not None:
            process.terminate()
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

    def stop_process(self, name: str) -> None:
        self._services[name].send_signal(signal.SIGSTOP)

    def kill_service(self, name: str) -> None:
        self._services[name].send_signal(signal.SIGKILL)
        self._services[name].wait(10)

    def services(self) -> list[ServiceStatus]:
        return [ServiceStatus(name, process.poll() is None) for name, process in self._services.items()]

    def logs(self, *, tail: int = 200) -> Iterable[tuple[str, str]]:
        return ()

    def exec(self, argv: Sequence[str]) -> int:
        raise NotImplementedError

    def close(self) -> None:
        for name in list(self._services):
            self.stop_service(name)
        self._holder.kill()
        self._holder.wait(10)
        if self._holder.stdout is not None:
            self._holder.stdout.close()


class Network:
    """Nodes on one switch: `172.30.0.N/24` and `fd30::N/64` on eth0. Implements `kinds.base.Hosts`."""

    fence = None

    def __init__(self, names: Sequence[str]) -> None:
        self.nodes: dict[str, Namespace] = {}
        self._facts: dict[str, Facts] = {}
        self._switch = Namespace("switch")
        try:
            self._switch.sh("ip link add br0 type bridge && ip link set br0 up")
            for number, name in enumerate(names, start=1):
                node = self.nodes[name] = Namespace(name)
                self._switch.sh(
                    f"ip link add p{number} type veth peer name eth0 netns {node.pid} && "
                    f"ip link set p{number} master br0 up"
                )
                node.sh(
                    f"ip link set lo up; ip addr add 172.30.0.{number}/24 dev eth0; "
                    f"ip addr add fd30::{number}/64 dev eth0 nodad; ip link set eth0 up"
                )
                node.commands.clear()
                node.inputs.clear()
        except BaseException:
            self.close()
            raise

    def open(self, host: Mapping[str, Any]) -> Namespace:
        return self.nodes[host["node"]]

    def facts(self, host: Mapping[str, Any]) -> Facts:
        name = host["node"]
        if name not in self._facts:
            printed = self.nodes[name].run(reading.ARGV, check=False)
            self._facts[name] = reading.parse(printed.stdout, name)
        return self._facts[name]

    def look(self, host: Mapping[str, Any], reading: Reading[T]) -> T:
        return reading.parse(self.open(host).run(reading.argv, check=False).stdout, host["node"])

    def changed(self, host: Mapping[str, Any]) -> None:
        self._facts.pop(host["node"], None)

    def guarded(self, host: Mapping[str, Any], change: Change) -> str:
        self.changed(host)
        return self.open(host).run(["sh", "-eu", "-s"], stdin=change.script.encode()).text

    def forget(self) -> None:
        self._facts.clear()

    def close(self) -> None:
        for node in [*self.nodes.values(), self._switch]:
            node.close()


@contextlib.contextmanager
def network(names: Sequence[str]) -> Iterator[Network]:
    made = Network(names)
    try:
        yield made
    finally:
        made.close()


def possible() -> str:
    """Why there can be no such nodes here; empty when there can."""
    if os.geteuid() != 0:
        return "namespaces of this form need root"
    if not Path("/dev/net/tun").exists():
        return "no /dev/net/tun"
    return ""


def until(what: Any, seconds: float = 8.0) -> bool:
    """Whether `what()` becomes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.05)
    return False
