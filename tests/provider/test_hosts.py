"""Facts are read once per host and again after a change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest

from swarmctl.backends.base import Fence, Host, HostUnreachable
from swarmctl.hosts.facts import Facts
from swarmctl.hosts.readings import Reading
from swarmctl.provider.hosts import Connections
from tests.mesh.fakes import FakeHost

ONE, TWO = {"node": "one"}, {"node": "two"}


class Counter:
    """Opens and reads hosts that are mere names."""

    def __init__(self, read: Callable[[], None] = lambda: None) -> None:
        self.opened: list[str] = []
        self.read: list[str] = []
        self._read = read

    def connections(self) -> Connections:
        return Connections(self._open, self._facts)

    def _open(self, host: Mapping[str, Any], fence: Fence | None) -> Host:
        self.opened.append(host["node"])
        return cast("Host", host["node"])

    def _facts(self, host: Host) -> Facts:
        self._read()
        self.read.append(cast("str", host))
        return Facts(cast("str", host), len(self.read), {}, {}, {}, {})


def test_facts_are_read_once_per_host() -> None:
    counter = Counter()
    hosts = counter.connections()

    assert hosts.facts(ONE) is hosts.facts(dict(ONE))
    hosts.facts(TWO)
    hosts.open(ONE)

    assert (counter.read, counter.opened) == (["one", "two"], ["one", "two"])


def test_a_change_makes_them_read_again_on_that_host_only() -> None:
    counter = Counter()
    hosts = counter.connections()
    hosts.facts(ONE)
    hosts.facts(TWO)

    hosts.changed(ONE)

    assert hosts.facts(ONE).now == 3
    assert hosts.facts(TWO).now == 2


def test_other_readings_are_kept_by_their_names_until_something_changes() -> None:
    host = FakeHost(printed=b"a b")
    hosts = Connections(open_host=lambda host_, fence: host)

    def look(name: str) -> list[str]:
        return hosts.look(ONE, Reading(name, ("lines",), lambda output, node: [node, *output.decode().split()]))

    assert look("one") == look("one") == look("two") == ["n", "a", "b"]
    assert len(host.log) == 2, "once by each name"
    hosts.changed(ONE)
    look("one")
    assert len(host.log) == 3


def test_many_threads_wait_for_one_reading() -> None:
    counter = Counter(lambda: time.sleep(0.05))
    hosts = counter.connections()
    threads = [threading.Thread(target=hosts.facts, args=(ONE,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counter.read == ["one"]


def test_what_changed_during_a_reading_is_not_kept() -> None:
    hosts: Connections
    counter = Counter(lambda: hosts.changed(ONE) if not counter.read else None)
    hosts = counter.connections()

    assert hosts.facts(ONE).now == 1
    assert hosts.facts(ONE).now == 2
    assert hosts.facts(ONE).now == 2


def test_a_failed_reading_is_tried_again() -> None:
    def read() -> None:
        if not failed:
            failed.append(True)
            raise HostUnreachable("one does not answer")

    failed: list[bool] = []
    hosts = Counter(read).connections()

    with pytest.raises(HostUnreachable):
        hosts.facts(ONE)
    assert hosts.facts(ONE).now == 1


def test_hosts_that_will_be_asked_for_are_read_before_anyone_asks() -> None:
    read = threading.Event()
    names: list[str] = []

    def reader(host: Any) -> Any:
        names.append(host)
        if len(names) == 2:
            read.set()
        if host == "dead":
            raise HostUnreachable("dead does not answer")
        return f"facts of {host}"

    connections = Connections(lambda host, fence: cast(Host, host["node"]), reader)
    connections.foresee([{"node": "a"}, {"node": "dead"}])
    assert read.wait(5)

    assert connections.facts({"node": "a"}) == cast(Facts, "facts of a")
    with pytest.raises(HostUnreachable):
        connections.facts({"node": "dead"})
    assert sorted(names) == ["a", "dead", "dead"], "what was read is not read again; what failed is, and tells why"


def test_hosts_are_opened_with_the_fence_of_the_run() -> None:
    fence = Fence("lab-1", 7, "me@here")
    opened: list[Any] = []
    hosts = Connections(lambda host, fence: cast(Host, opened.append((host, fence))), fence=fence)

    hosts.open(ONE)

    assert opened == [(ONE, fence)]
    assert hosts.fence is fence
    assert Connections().fence is None
