"""Machines that say nothing keep nobody waiting who does, and are not waited for again and again."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import pytest

from swarmctl.backends.base import HostUnreachable
from swarmctl.backends.ssh import access, keys, login, transport
from swarmctl.backends.ssh.address import Address
from swarmctl.backends.ssh.errors import HostRefused, HostSilent, connecting
from swarmctl.backends.ssh.errors import Seen as Said
from swarmctl.backends.ssh.library import asyncssh
from swarmctl.backends.ssh.transport import Limits, Transport
from swarmctl.hosts.first_look import Seen


@pytest.fixture
def key(tmp_path: Path) -> Path:
    made = asyncssh.generate_private_key("ssh-ed25519")
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_bytes(made.export_private_key())
    (tmp_path / "key.pub").write_bytes(made.export_public_key())
    return file


def address(key: Path, port: int, user: str = "u") -> Address:
    pinned = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    return Address("127.0.0.1", user, (pinned,), port=port, key=str(key))


@pytest.fixture
def connections() -> Iterator[Transport]:
    made = Transport(Limits(logins=4, commands=4), patience=30)
    try:
        yield made
    finally:
        made.close()


def asked(connections: Transport, name: str, where: Address) -> str:
    with pytest.raises(HostUnreachable) as raised:
        connections.run(name, where, "true", b"", timeout=5, limit=100)
    return raised.value.message


def test_silent_machines_are_in_nobodys_way(connections: Transport, key: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and nobody listens there
        pool = ThreadPoolExecutor(12)
        port = silent.getsockname()[1]
        waiting: list[Future[str]] = [
            pool.submit(asked, connections, f"s{number}", address(key, port, f"u{number}")) for number in range(12)
        ]
        while len(connections._links) < 12:
            time.sleep(0.01)
        assert "z refuses connections" in asked(connections, "z", address(key, closed.getsockname()[1])).replace(
            f" (u@127.0.0.1:{closed.getsockname()[1]})", ""
        )
        assert not any(one.done() for one in waiting)
        connections.close()
        pool.shutdown()


def test_a_server_that_falls_silent_leaves_its_place(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "HELD", 0.05)
    connections = Transport(Limits(logins=1), patience=30)
    with socket.create_server(("127.0.0.1", 0)) as hung, socket.create_server(("127.0.0.1", 0)) as other:

        def serve(server: socket.socket) -> socket.socket:
            link, _ = server.accept()
            link.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            return link

        with ThreadPoolExecutor(4) as pool:
            held, gone = pool.submit(serve, hung), pool.submit(serve, other)
            first = pool.submit(asked, connections, "m1", address(key, hung.getsockname()[1]))
            link = held.result()
            link.recv(1)  # it has its place, and speaks
            second = pool.submit(asked, connections, "m2", address(key, other.getsockname()[1]))
            gone.result().close()
            assert "m2" in second.result()
            assert not first.done()
            connections.close()
            link.close()


def test_a_silent_server_is_waited_for_once(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0

    async def connect(name: str, *_: Any) -> NoReturn:
        nonlocal tries
        tries += 1
        raise HostSilent(f"{name} did not answer within 20 s")

    monkeypatch.setattr(login, "connect", connect)
    connections = Transport()
    where = address(key, 9)
    for _ in range(3):
        assert "did not answer" in asked(connections, "m1", where)
    assert tries == 1
    monkeypatch.setattr(transport, "SILENCE", 0.0)
    link = connections._links[where]
    link.silent = None
    asked(connections, "m1", where)
    asked(connections, "m1", where)
    assert tries == 3
    connections.close()


def test_one_error_of_a_jump_host_is_told_by_the_name_of_each_machine(key: Path) -> None:
    connections = Transport()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        jump = address(key, closed.getsockname()[1])
        told = [asked(connections, name, Address(f"10.0.0.{name[1]}", "u", (), jump=jump)) for name in ("n1", "n2")]
    assert told == [f"{name}: its jump host {jump} refuses connections to port {jump.port}" for name in ("n1", "n2")]
    connections.close()


def test_machines_that_wait_for_one_silent_server_are_each_told_by_name(key: Path) -> None:
    connections = Transport(patience=0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        jump = address(key, silent.getsockname()[1])
        ways = {name: Address(f"10.0.0.{name[1]}", "u", (), jump=jump) for name in ("n1", "n2", "n3")}
        with ThreadPoolExecutor(2) as pool:
            both = [pool.submit(asked, connections, name, ways[name]) for name in ("n1", "n2")]
            told = [one.result() for one in both]
        told.append(asked(connections, "n3", ways["n3"]))
        told.append(asked(connections, "n4", jump))
    said = f"{jump}) did not answer within 0.1 s"
    assert told[:3] == [f"{name}: its jump host {jump} did not answer within 0.1 s" for name in ("n1", "n2", "n3")]
    assert told[3] == f"n4 ({said}"
    connections.close()


def test_no_way_there_is_said_in_words(key: Path) -> None:
    where = address(key, 22)
    error = connecting("n1", where, OSError(errno.EHOSTUNREACH, "Connect call failed ('127.0.0.1', 22)"), Said(), 20)
    assert error.message == "n1 (u@127.0.0.1) can't be reached: no route to host"
    assert "`address`" in error.hint
    assert "Connect call" not in connecting("n1", where, OSError(errno.EACCES, "Connect call f"), Said(), 20).message


def test_nobody_is_told_to_change_the_rights_of_what_is_no_key(key: Path, tmp_path: Path) -> None:
    other = tmp_path / "hostname"
    other.write_text("laptop\n")
    other.chmod(0o644)
    assert access.file_problem(str(tmp_path)) == "it is a folder"
    assert access.file_problem(str(other)) == ""
    with pytest.raises(HostRefused, match="hostname is no private key"):
        keys._private(str(other))
    key.chmod(0o644)
    assert access.file_problem(str(key)) == f"others can read it: `chmod 600 {key}`"
    with pytest.raises(HostRefused, match="can be read by others"):
        keys._private(str(key))


def test_nobody_waits_for_what_is_only_asked_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    seen = Seen.__new__(Seen)

    def look(way: Mapping[str, Any]) -> Seen:
        if way["node"] != "up":
            over.wait(10)
        return seen

    monkeypatch.setattr(access, "look", look)
    begun = time.monotonic()
    found = access.ask([{"node": node, "hostKeys": []} for node in ("down", "up")], 0.3)
    over.set()
    assert found["up"] is seen
    assert "down did not answer in time" in str(found["down"])
    assert time.monotonic() - begun < 8
