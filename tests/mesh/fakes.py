"""Hosts for unit tests: facts made by hand, commands recorded and not run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from swarmctl.backends.base import CommandFailed, Completed, HostGone, ServiceStatus
from swarmctl.hosts.facts import Facts, Interface, Peer, WireGuard
from swarmctl.hosts.guard import Change
from swarmctl.hosts.readings import Reading

T = TypeVar("T")

KEY_PATH = "/etc/swarmctl/mesh/backbone/private.key"


def facts(
    *,
    links: Mapping[str, Interface] | None = None,
    wireguard: Mapping[str, WireGuard] | None = None,
    nftables: Any = None,
    sysctl: Mapping[str, str] | None = None,
    key: str = "",
    key_mode: str = "0600",
) -> Facts:
    return Facts(
        hostname="n",
        now=1_700_000_000,
        interfaces=links or {},
        wireguard=wireguard or {},
        nftables=nftables or {"nftables": []},
        sysctl=sysctl or {},
        key_files={KEY_PATH: key_mode} if key else {},
        public_keys={KEY_PATH: key} if key else {},
    )


def peer(key: str, endpoint: str, *allowed: str, keepalive: int = 0) -> Peer:
    return Peer(key, endpoint, allowed, keepalive, 0, 0, 0)


class FakeHost:
    """Says `printed` to every command but scripts with `fails` in them; `kernel`: whether that knows WireGuard."""

    def __init__(self, *, printed: bytes = b"PUBLIC\n", kernel: bool = False, fails: str = "") -> None:
        self.fails = fails
        self.name = "n"
        self.log: list[tuple[str, ...]] = []
        self.scripts: list[str] = []
        self.printed = printed
        self.kernel = kernel

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0, check: bool = True) -> Completed:
        self.log.append(tuple(argv))
        self.scripts.append(stdin.decode())
        if self.fails and self.fails in stdin.decode():
            raise CommandFailed("n: sh failed")
        status = int(tuple(argv[:3]) == ("ip", "link", "add") and not self.kernel)
        return Completed(tuple(argv), status, self.printed, b"")

    def put(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        raise AssertionError("nothing is put there")

    def get(self, path: str) -> bytes | None:
        raise AssertionError("nothing is fetched from there")

    def remove(self, path: str) -> None:
        self.log.append(("remove", path))

    def start_service(self, name: str, argv: Sequence[str]) -> None:
        self.log.append(("start", name, *argv))

    def stop_service(self, name: str) -> None:
        self.log.append(("stop", name))

    def services(self) -> list[ServiceStatus]:
        return [ServiceStatus(line[1], False) for line in self.log if line[0] == "start"]

    def logs(self, *, tail: int = 200) -> Iterable[tuple[str, str]]:
        return [(it.name, line) for it in self.services() for line in ("starting", "tun: Operation not permitted", "")]

    def exec(self, argv: Sequence[str]) -> int:
        raise AssertionError


class FakeHosts:
    """One host with the facts given; None means that the machine is gone."""

    fence = None

    def __init__(self, known: Facts | None, host: FakeHost | None = None) -> None:
        self.known = known
        self.host = host or FakeHost()
        self.forgotten = 0
        self.guards: list[Change] = []

    def open(self, host: Mapping[str, Any]) -> FakeHost:
        if self.known is None:
            raise HostGone("n is gone")
        return self.host

    def facts(self, host: Mapping[str, Any]) -> Facts:
        if self.known is None:
            raise HostGone("n is gone")
        return self.known

    def look(self, host: Mapping[str, Any], reading: Reading[T]) -> T:
        return reading.parse(self.open(host).run(reading.argv, check=False).stdout, host["node"])

    def changed(self, host: Mapping[str, Any]) -> None:
        self.forgotten += 1

    def guarded(self, host: Mapping[str, Any], change: Change) -> str:
        self.guards.append(change)
        self.forgotten += 1
        return self.open(host).run(["sh", "-eu", "-s"], stdin=change.script.encode()).text
