"""What is kept of machines, for how long, and for whom."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swarmctl.backends import ways
from swarmctl.backends.base import Completed, HostGone, HostUnreachable
from swarmctl.graph.model import Address, Machine
from swarmctl.hosts.system import READING, SystemFacts
from swarmctl.operations import facts_reading
from swarmctl.operations.facts_cache import Cache
from swarmctl.operations.facts_reading import Systems, gather
from swarmctl.plans.events import Downloaded, Event, PhaseStarted

RECORDED = (Path(__file__).parents[1] / "hosts" / "system" / "recorded" / "microvm.txt").read_bytes()
FACTS: SystemFacts = READING.parse(RECORDED, "n1")
HOST = {"backend": "ssh", "stack": "s", "node": "n1", "address": "192.0.2.1", "user": "a", "hostKeys": ["k1", "k2"]}


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Cache:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(ways, "_declared", {})  # whatever other tests have declared
    return Cache("s", clock)


def test_facts_come_back_as_they_were(cache: Cache) -> None:
    cache.put("n1", HOST, FACTS)
    kept = cache.get("n1", HOST)
    assert kept is not None
    assert kept.facts == FACTS
    assert cache.get("n2", HOST) is None
    assert Cache("other").get("n1", HOST) is None


def test_a_stack_of_that_name_in_another_data_folder_has_other_machines(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = {"backend": "lab", "stack": "s", "node": "n1"}
    cache.put("n1", lab, FACTS)
    assert cache.get("n1", lab) is not None
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "other"))
    assert cache.get("n1", lab) is None


def test_only_the_user_can_read_them_and_nothing_is_left_beside(cache: Cache) -> None:
    cache.put("n1", HOST, FACTS)
    (file,) = cache.folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(("passed", "there"), [(0, True), (3599, True), (3600, False), (-1, False)])
def test_age_is_counted_by_this_computers_clock(cache: Cache, clock: Clock, passed: int, there: bool) -> None:
    cache.put("n1", HOST, replace(FACTS, now=5))
    clock.now += passed
    assert (cache.get("n1", HOST, 3600) is not None) is there


@pytest.mark.parametrize("changed", [{"hostKeys": ["k3"]}, {"address": "192.0.2.2"}, {"port": 2222}])
def test_another_machine_under_the_same_name_is_not_known(cache: Cache, changed: dict[str, Any]) -> None:
    cache.put("n1", HOST, FACTS)
    assert cache.get("n1", {**HOST, **changed}) is None
    # The first one has not come back unnoticed.
    assert cache.get("n1", HOST) is None


def test_what_says_which_machine_it_is_stands_in_the_declarations(cache: Cache) -> None:
    name = {"backend": "ssh", "stack": "s", "node": "n1"}
    ways.declare("s", [HOST])
    cache.put("n1", name, FACTS)
    assert cache.get("n1", name) is not None
    ways.declare("s", [{**HOST, "hostKeys": ["k3"]}])
    assert cache.get("n1", name) is None


def test_the_same_machine_may_be_entered_in_another_way(cache: Cache) -> None:
    cache.put("n1", HOST, FACTS)
    assert cache.get("n1", {**HOST, "user": "b", "key": "~/.ssh/other", "hostKeys": ["k2", "k1"]}) is not None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"version": 1}', b"\xff" * 100, b"[" * 100_000])
def test_a_damaged_file_counts_as_none(cache: Cache, damage: bytes) -> None:
    cache.put("n1", HOST, FACTS)
    (file,) = cache.folder.iterdir()
    file.write_bytes(damage)
    assert cache.get("n1", HOST) is None
    cache.put("n1", HOST, FACTS)
    assert cache.get("n1", HOST) is not None


def test_a_file_of_another_version_counts_as_none(cache: Cache) -> None:
    cache.put("n1", HOST, FACTS)
    (file,) = cache.folder.iterdir()
    file.write_bytes(file.read_bytes().replace(b'"version":2', b'"version":1', 1))
    assert cache.get("n1", HOST) is None


def test_what_is_no_plain_file_is_not_opened(cache: Cache, tmp_path: Path) -> None:
    cache.put("n1", HOST, FACTS)
    (file,) = cache.folder.iterdir()
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert cache.get("n1", HOST) is None
    file.unlink()
    os.mkfifo(file)
    assert cache.get("n1", HOST) is None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    cache = Cache("s")
    assert cache.put("n1", HOST, FACTS).facts == FACTS
    assert cache.get("n1", HOST) is None
    cache.forget()


def test_what_is_changed_is_not_known_any_more(cache: Cache) -> None:
    for node in ("n1", "n2"):
        cache.put(node, {**HOST, "node": node}, FACTS)
    with contextlib.suppress(RuntimeError), cache.changing(["n1", "", "n1"]):
        assert cache.get("n1", HOST) is None
        cache.put("n1", HOST, FACTS)
        raise RuntimeError
    assert cache.get("n1", HOST) is None
    assert cache.get("n2", HOST) is not None
    cache.forget()
    assert cache.get("n2", HOST) is None


class FakeHost:
    """Answers like the recorded machine, and counts."""

    def __init__(self, name: str, does: Any = RECORDED) -> None:
        self.name, self.does, self.asked = name, does, 0

    def run(self, argv: Sequence[str], **options: Any) -> Completed:
        self.asked += 1
        if isinstance(self.does, Exception):
            raise self.does
        if isinstance(self.does, threading.Event):
            self.does.wait(30)
        return Completed(tuple(argv), 0, self.does if isinstance(self.does, bytes) else b"", b"")


def machine(name: str) -> Machine:
    return Machine(name, Address("nodepool", "p", name), "p", "c", "r", {}, (), {**HOST, "node": name})


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_every_machine_is_known_or_unread_or_absent(cache: Cache, stuck: threading.Event) -> None:
    hosts = {
        "well": FakeHost("well"),
        "gone": FakeHost("gone", HostGone("gone is gone")),
        "dead": FakeHost("dead", HostUnreachable("dead does not answer")),
        "liar": FakeHost("liar", b"@@ hostname\nx"),
        "stuck": FakeHost("stuck", stuck),
    }
    told: list[tuple[int, int]] = []
    found = gather(
        map(machine, hosts),
        cache,
        open_=lambda it: hosts[it.name],  # type: ignore[arg-type,return-value]
        deadline=-facts_reading.EACH * len(hosts) + 0.5,
        progress=lambda done, total: told.append((done, total)),
    )
    assert set(found.known) == {"well"}
    assert found.absent == {"gone"}
    assert {name: error.message.split(":")[0] for name, error in found.unread.items()} == {
        "dead": "dead does not answer",
        "liar": "the system of liar cannot be read",
        "stuck": "stuck was not read within 0 s, the time that there is for all machines together",
    }
    assert told == [(done, 5) for done in range(5)]


def test_more_machines_than_threads_are_all_read(cache: Cache) -> None:
    hosts = {f"n{number}": FakeHost(f"n{number}") for number in range(facts_reading.THREADS + 10)}
    found = gather(map(machine, hosts), cache, open_=lambda it: hosts[it.name])  # type: ignore[arg-type,return-value]
    assert set(found.known) == set(hosts)
    assert all(host.asked == 1 for host in hosts.values())


def test_a_mistake_of_ours_is_not_taken_for_one_of_a_machine(cache: Cache) -> None:
    broken = FakeHost("n1", KeyError("bug"))
    with pytest.raises(KeyError, match="bug"):
        gather([machine("n1")], cache, open_=lambda it: broken)  # type: ignore[arg-type,return-value]


def test_an_expansion_asks_each_machine_once_and_then_not_until_the_facts_are_old(cache: Cache, clock: Clock) -> None:
    host, dead = FakeHost("n1"), FakeHost("n2", HostUnreachable("n2 does not answer"))

    def systems() -> Systems:
        return Systems(cache, open_=lambda it: {"n1": host, "n2": dead}[it.name])  # type: ignore[arg-type,return-value]

    first = systems()
    assert not first([])
    assert (host.asked, dead.asked) == (0, 0)
    assert set(first([machine("n1"), machine("n2")])) == {"n1"}
    assert set(first([machine("n1"), machine("n2")])) == {"n1"}
    assert set(first([machine("n2")])) == set()
    assert first.unread == {"n2": "n2 does not answer"}
    assert (host.asked, dead.asked) == (1, 1)
    assert systems()([machine("n1")])["n1"] == FACTS
    assert host.asked == 1
    clock.now += 25 * 3600
    systems()([machine("n1")])
    assert host.asked == 2


def test_what_is_doubted_is_read_once_more_if_it_was_kept(cache: Cache) -> None:
    hosts = {"n1": FakeHost("n1"), "n2": FakeHost("n2")}

    def systems() -> Systems:
        return Systems(cache, open_=lambda it: hosts[it.name])  # type: ignore[arg-type,return-value]

    systems()([machine("n1")])
    both = systems()
    assert set(both([machine("n1"), machine("n2")])) == {"n1", "n2"}
    assert set(both.anew([machine("n1"), machine("n2")])) == {"n1"}, "the other was read just now"
    assert not both.anew([machine("n1")])
    assert [host.asked for host in hosts.values()] == [2, 1]


def test_of_many_machines_it_is_told_how_far_reading_them_has_come(cache: Cache) -> None:
    def events(count: int) -> list[Event]:
        told: list[Event] = []
        names = [f"m{count}-{number}" for number in range(count)]
        Systems(cache, told.append, open_=lambda it: FakeHost(it.name))(map(machine, names))  # type: ignore[arg-type,return-value]
        return told

    assert events(facts_reading.MANY - 1) == []
    first, *others = events(facts_reading.MANY)
    assert first == PhaseStarted("reading what 8 machines are")
    assert others == [Downloaded("reading what 8 machines are", done, 8) for done in range(1, 9)]


def test_threads_end_when_there_is_nothing_left(cache: Cache) -> None:
    before = threading.active_count()
    gather([machine("n1")], cache, open_=lambda it: FakeHost("n1"))  # type: ignore[arg-type,return-value]
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_what_a_machine_holds_is_asked_for_every_time(cache: Cache) -> None:
    cache.put("n1", HOST, FACTS)
    held = cache.put("n1", HOST, replace(FACTS, held={"nvidia-imex": "1"}))
    assert held.facts.held
    assert cache.get("n1", HOST) is None
