"""The tools that tests measure traffic with, and make it go wrong with, do what they say."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from swarmctl.backends.base import Placement
from tests.integration.delay import Delay
from tests.integration.traffic import Traffic, ring, some
from tests.integration.underlay import Underlay

from . import labs

pytestmark = pytest.mark.integration

BOTH = [("a-0", "a-1"), ("a-1", "a-0")]


@pytest.fixture
def placements(lab: None) -> list[Placement]:
    made = labs.place(labs.pool("a", 2), labs.pool("b", 1, "us"))
    labs.create(made)
    return made


@pytest.fixture
def underlay(placements: list[Placement]) -> Underlay:
    return Underlay(labs.STACK, Path(os.environ["XDG_DATA_HOME"]))


@pytest.fixture
def addresses(placements: list[Placement]) -> dict[str, str]:
    return {placement.name: placement.underlay[0] for placement in placements}


def test_nothing_is_lost_where_nothing_is_wrong(underlay: Underlay, addresses: dict[str, str]) -> None:
    with Traffic(underlay, addresses) as traffic:
        report = traffic.during(1, warm=0.2)
    assert len(report.flows) == 6
    assert report.lost == 0, report.losing()
    assert 100 < report.sent < 700, "a busy machine sends less, and nobody more"
    assert all(flow.duplicates == flow.refused == 0 for flow in report.flows.values())
    assert report.gap > 9


def test_a_partition_is_seen_with_its_length_and_ends(underlay: Underlay, addresses: dict[str, str]) -> None:
    with Traffic(underlay, addresses) as traffic:
        traffic.measure(0.2)
        time.sleep(0.3)
        underlay.partition("b-0", "a-1")
        time.sleep(0.4)
        underlay.heal()
        time.sleep(0.3)
        report = traffic.stop(drain=0.3)
    assert set(report.losing()) == {("b-0", "a-1"), ("a-1", "b-0")}
    for flow in report.losing().values():
        assert flow.lost > 5
        assert 390 < flow.gap < 3000
        assert flow.gap_at


def test_what_never_comes_again_is_a_gap_up_to_the_end(underlay: Underlay, addresses: dict[str, str]) -> None:
    with Traffic(underlay, addresses, BOTH) as traffic:
        traffic.measure(0.2)
        underlay.unplug("a-1")
        time.sleep(0.5)
        report = traffic.stop(drain=0.2)
        assert report.gap > 400
        assert all(flow.lost > 5 for flow in report.flows.values())
    underlay.plug("a-1")
    with Traffic(underlay, addresses, BOTH) as traffic:
        assert traffic.during(0.3, warm=1).lost == 0


def test_a_share_is_lost(underlay: Underlay, addresses: dict[str, str]) -> None:
    underlay.lose("a-0", "a-1", share=0.2)
    with Traffic(underlay, addresses, [*BOTH, ("a-0", "b-0")], rate=1000) as traffic:
        report = traffic.during(1, warm=0.2)
    assert report.flows[("a-0", "b-0")].lost == 0
    for pair in BOTH:
        assert 0.05 < report.flows[pair].lost / report.flows[pair].sent < 0.5


def test_a_rate_holds_up_what_is_too_much(underlay: Underlay, addresses: dict[str, str]) -> None:
    underlay.rate("a-1", "256kbit")
    with Traffic(underlay, addresses, BOTH, rate=500, size=1000) as traffic:
        report = traffic.during(1, warm=0.2)
    assert report.flows[("a-0", "a-1")].lost > 20
    assert report.flows[("a-1", "a-0")].lost == 0


def test_a_delay_holds_up_every_packet_and_is_no_drift(
    underlay: Underlay, placements: list[Placement], addresses: dict[str, str]
) -> None:
    with Delay(underlay, "a-0", 40, jitter=5) as delay:
        assert labs.backend.read_machine(placements[0].inputs) == placements[0].inputs
        with Traffic(underlay, addresses) as traffic:
            report = traffic.during(0.5, warm=0.5)
        assert report.lost == 0
        for (source, target), flow in report.flows.items():
            assert (flow.delay > 39) == ("a-0" in (source, target)) or flow.delay > 200
        delay.set(0, loss=1)
        with Traffic(underlay, addresses, BOTH) as traffic:
            assert all(not flow.received for flow in traffic.during(0.3, warm=0.2).flows.values())
        labs.host(placements[0]).run(["ip", "link", "set", "eth0", "mtu", "1500"])
    assert labs.backend.read_machine(placements[0].inputs) == placements[0].inputs
    with Traffic(underlay, addresses, BOTH) as traffic:
        assert traffic.during(0.3, warm=0.2).lost == 0


def test_a_service_is_paused_and_a_node_is_killed_and_started(
    underlay: Underlay, placements: list[Placement], addresses: dict[str, str]
) -> None:
    host = labs.host(placements[0])
    host.start_service("counts", ["sh", "-c", "while :; do echo x; sleep 0.01; done"])
    assert labs.soon(lambda: len(list(host.logs())) > 2)
    underlay.pause("a-0", "counts")
    time.sleep(0.1)
    before = len(list(host.logs(tail=10000)))
    time.sleep(0.2)
    assert len(list(host.logs(tail=10000))) == before
    underlay.pause("a-0", "counts", signal.SIGCONT)
    assert labs.soon(lambda: len(list(host.logs(tail=10000))) > before)
    underlay.kill("a-0")
    assert labs.backend.read_machine(placements[0].inputs) is None
    underlay.boot("a-0")
    assert [service.running for service in host.services()] == [True]
    assert underlay.on("a-0", "ping", "-n", "-c1", "-W2", addresses["b-0"])


def test_parts_of_all_pairs_are_even_and_the_same_again() -> None:
    nodes = [f"n-{number}" for number in range(6)]
    pairs = ring(nodes, 2)
    assert len(pairs) == 24
    assert {node: sum(node == source for source, _ in pairs) for node in nodes} == dict.fromkeys(nodes, 4)
    assert set(ring(nodes, 5)) == set(some(nodes, 30))
    assert list(some(nodes, 7)) == list(some(nodes, 7))
