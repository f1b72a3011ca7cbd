"""What firewalls let in, count and end, with real traffic between real nodes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from swarmctl.kinds.security_policy.resources import table_of
from swarmctl.kinds.security_policy.spec import moment
from swarmctl.mesh.nft import Counter
from tests.mesh.builder import FakeBackend, compiled, lab
from tests.mesh.namespaces import network, possible
from tests.mesh.test_nodes import WIREGUARD_GO, World, backend, hears, listening, mesh_addresses, on, pings, program

__all__ = ["backend", "program"]

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(possible()), reason=possible() or "possible"),
    pytest.mark.skipif(WIREGUARD_GO is None, reason="there is no wireguard-go, neither installed nor built"),
]

NAMES = ["control-0", "workers-0"]
HEAD, WORKER = NAMES
WORKER_TO_HEAD = {"from": {"role": "worker"}, "to": {"role": "head"}}
COUNTED = {"name": "counted", **WORKER_TO_HEAD, "ports": [7001], "protocol": "udp"}
HEADER = {"4": 20 + 8, "6": 40 + 8}
"""Bytes of the headers of IP and UDP (RFC 791, 8200, 768)."""

Apply = Callable[[list[dict[str, Any]]], None]


@pytest.fixture(scope="module")
def shared(backend: FakeBackend) -> Iterator[World]:
    with network(NAMES) as nodes:
        world = World(nodes)
        world.apply(compiled(lab(control=1, workers=1, flows=[COUNTED])))
        assert pings(world, WORKER, mesh_addresses(world, HEAD)[0])
        yield world


@pytest.fixture
def world(shared: World) -> World:
    apply(shared, [COUNTED])
    return shared


def apply(world: World, flows: list[dict[str, Any]]) -> None:
    graph = compiled(lab(control=1, workers=1, flows=flows))
    world.nodes.forget()
    world.apply(graph)
    assert world.drift(graph) == {}


def counters(world: World, node: str = HEAD) -> dict[str, Counter]:
    world.nodes.forget()
    table = table_of(world.nodes.facts({"node": node}), node)
    assert table is not None
    return dict(table.counters)


def grown(world: World, name: str, before: dict[str, Counter], node: str = HEAD) -> Counter:
    after = counters(world, node)[name]
    return Counter(after.packets - before[name].packets, after.bytes - before[name].bytes)


def python(world: World, node: str, text: str, *arguments: object) -> subprocess.Popen[str]:
    """A program on a node, with its input and output."""
    argv = on(world, node).argv([sys.executable, "-c", text, *map(str, arguments)])
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


SEND = """
import socket, sys, time
address, port, count, size = sys.argv[1], *map(int, sys.argv[2:])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as s:
    for _ in range(count):
        s.sendto(bytes(size), (address, port))
        time.sleep(0.02)  # of those that come together wireguard-go makes one for a kernel that takes that (UDP GRO)
"""


def send(world: World, node: str, address: str, port: int, count: int, size: int) -> None:
    """So many datagrams of so many bytes."""
    process = python(world, node, SEND, address, port, count, size)
    assert process.communicate(timeout=30)[0] == ""
    assert process.returncode == 0
    time.sleep(0.3)  # what is on its way arrives


@pytest.mark.parametrize("family", HEADER)
def test_a_flow_counts_exactly_what_was_sent_by_it(world: World, family: str) -> None:
    address = mesh_addresses(world, HEAD)[family == "6"]
    before = counters(world)
    send(world, WORKER, address, 7001, 37, 100)
    assert grown(world, "flow-counted", before) == Counter(37, 37 * (100 + HEADER[family]))
    assert grown(world, "denied", before) == Counter(0, 0)


@pytest.mark.parametrize("family", HEADER)
def test_what_nothing_allows_is_counted_as_denied(world: World, family: str) -> None:
    address = mesh_addresses(world, HEAD)[family == "6"]
    before = counters(world)
    send(world, WORKER, address, 7002, 11, 50)
    assert grown(world, "denied", before) == Counter(11, 11 * (50 + HEADER[family]))
    assert grown(world, "flow-counted", before) == Counter(0, 0)


def test_a_change_of_the_firewall_loses_no_count(world: World) -> None:
    """Nor what comes in between the reading of the node and the change."""
    address = mesh_addresses(world, HEAD)[0]
    more = [COUNTED, {"name": "more", **WORKER_TO_HEAD, "ports": [7005]}]
    before = counters(world)
    for number, flows in enumerate((more, [COUNTED], more)):
        on(world, HEAD).sh("nft add element inet swarmctl flow-counted.ip { 10.88.77.77 }")
        world.nodes.forget()
        world.nodes.facts({"node": HEAD})
        send(world, WORKER, address, 7001, 5 + number, 10)
        world.apply(compiled(lab(control=1, workers=1, flows=flows)))
        apply(world, flows)
        assert ("flow-more" in counters(world)) == (flows == more)
    assert grown(world, "flow-counted", before) == Counter(18, 18 * (10 + HEADER["4"]))


def test_answers_of_a_source_do_not_count_as_the_flow(world: World) -> None:
    """The head asks the worker from the very port that the worker may send to."""
    back = {"name": "back", "from": {"role": "head"}, "to": {"role": "worker"}, "ports": [7003], "protocol": "udp"}
    apply(world, [COUNTED, back])
    address = mesh_addresses(world, WORKER)[0]
    answer = python(
        world,
        WORKER,
        "import socket,sys\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.bind(('0.0.0.0',7003))\n"
        "print('ready',flush=True)\ns.settimeout(5)\n"
        "for _ in range(9):\n data,who=s.recvfrom(99)\n s.sendto(data,who)\n",
    )
    assert answer.stdout is not None
    assert answer.stdout.readline() == "ready\n"
    before, there = counters(world), counters(world, WORKER)
    ask = python(
        world,
        HEAD,
        "import socket,sys\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.bind(('0.0.0.0',7001))\n"
        f"s.settimeout(5)\nfor _ in range(9):\n s.sendto(b'x',('{address}',7003))\n s.recvfrom(99)\nprint('done')\n",
    )
    assert ask.communicate(timeout=20)[0] == "done\n"
    answer.communicate(timeout=20)
    assert grown(world, "flow-counted", before) == Counter(0, 0)
    assert grown(world, "flow-back", there, WORKER) == Counter(9, 9 * (1 + HEADER["4"]))


ECHO = """
import socket, sys, threading
server = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
def serve(connection):
    while data := connection.recv(99):
        connection.sendall(data)
print("ready", flush=True)
while True:
    threading.Thread(target=serve, args=[server.accept()[0]], daemon=True).start()
"""
TALK = """
import socket, sys, time
address, port, end = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
s = socket.create_connection((address, port), timeout=3)
last = 0.0
try:
    while time.time() < end:
        s.sendall(b"x")
        if s.recv(1):
            last = time.time()
        time.sleep(0.05)
except OSError:
    pass
print(last)
"""
STREAM = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", int(sys.argv[1])))
print("ready", flush=True)
who = s.recvfrom(9)[1]
end = time.time() + float(sys.argv[2])
while time.time() < end:
    try:
        s.sendto(b"x", who)
    except PermissionError:
        pass  # the node's own firewall says so
    time.sleep(0.05)
"""
LISTEN = """
import socket, sys, time
address, port, end = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.2)
s.sendto(b"x", (address, port))
last = 0.0
while time.time() < end:
    try:
        s.recv(9)
        last = time.time()
    except TimeoutError:
        pass
print(last)
"""


@contextlib.contextmanager
def serving(world: World, text: str, *arguments: object) -> Iterator[None]:
    process = python(world, HEAD, text, *arguments)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.kill()
        process.communicate()


def test_a_grant_ends_for_open_connections_too_and_nothing_else_does(world: World) -> None:
    """By the node's clock alone: nothing of swarmctl's runs when it ends."""
    ends = int(time.time()) + 8
    until = {"until": moment(ends)}
    apply(
        world,
        [
            {"name": "grant", **WORKER_TO_HEAD, "ports": ["7010-7012"], **until},
            {"name": "stream", **WORKER_TO_HEAD, "ports": [7020], "protocol": "udp", **until},
            {"name": "lasting", **WORKER_TO_HEAD, "ports": [7012, 7013]},
        ],
    )
    v4, v6 = mesh_addresses(world, HEAD)
    with contextlib.ExitStack() as stack:
        for port in (7010, 7012, 7013):
            stack.enter_context(serving(world, ECHO, port))
        stack.enter_context(serving(world, STREAM, 7020, 14))
        assert time.time() < ends - 2, "too slow a machine for this test"
        talks = {
            (address, port): python(world, WORKER, TALK, address, port, ends + 4)
            for address in (v4, v6)
            for port in (7010, 7012, 7013)
        }
        listener = python(world, WORKER, LISTEN, v4, 7020, ends + 4)
        before = counters(world)
        heard = {key: float(process.communicate(timeout=30)[0]) for key, process in talks.items()}
        stopped = float(listener.communicate(timeout=30)[0])
        assert not hears(world, WORKER, v4, 7010)
        for address in (v4, v6):
            assert ends - 0.5 < heard[address, 7010] < ends + 0.5  # up to its end, and no longer
            assert heard[address, 7012] > ends + 3  # what another flow allows goes on, also on a port of the grant
            assert heard[address, 7013] > ends + 3
        assert ends - 0.5 < stopped < ends + 0.5  # what the head sends unasked, too
        assert grown(world, "denied", before).packets >= 3


def test_a_grant_that_has_ended_lets_nothing_in_and_stays_as_declared(world: World) -> None:
    flow = {"name": "past", **WORKER_TO_HEAD, "ports": [7030]}
    server = listening(world, HEAD, 7030)
    try:
        for address in mesh_addresses(world, HEAD):
            apply(world, [{**flow, "until": "2020-01-01T00:00:00Z"}])
            assert not hears(world, WORKER, address, 7030)
            apply(world, [{**flow, "until": "2099-01-01T00:00:00Z"}])
            assert hears(world, WORKER, address, 7030)
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


def test_a_hub_sends_nobody_past_itself(backend: FakeBackend) -> None:
    names = ["control-0", "workers-0", "workers-1"]
    with network(names) as nodes:
        world = World(nodes)
        world.apply(compiled(lab(control=1, workers=2, mesh={"topology": {"hubs": {"select": {"role": "head"}}}})))
        seen = "nft 'add table inet seen; add chain inet seen in { type filter hook prerouting priority -350; }'; "
        for kind in ("icmp type redirect", "icmpv6 type nd-redirect"):
            seen += f"nft 'add rule inet seen in {kind} counter'; "
        on(world, "workers-0").sh(seen)
        for address in mesh_addresses(world, "workers-1"):
            assert pings(world, "workers-0", address)
            assert pings(world, "workers-0", address)
        counted = on(world, "workers-0").sh("nft list chain inet seen in")
        assert counted.count("counter packets 0 bytes 0") == 2, counted
