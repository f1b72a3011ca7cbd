"""Regions with gateways, explicit links and combinations: who answers whom over both families, along which nodes, and
how long traffic stands still when the node in between dies.

Full meshes, hubs and relays behind routers are in test_lab_cycle.py, test_hubs.py and test_rotation.py.

pytest -s tests/integration/test_topologies.py    prints the times
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from operator import sub

import pytest

from tests.integration import lab as labs
from tests.integration.traffic import Traffic
from tests.integration.underlay import Underlay

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("topologies")]

POOL = """
apiVersion: swarmctl/v1alpha1
kind: NodePool
metadata: {{name: {name}, labels: {{role: {role}, site: {site}}}}}
spec: {{region: {region}, lab: {{count: {count}}}}}
---"""
POOLS = (
    POOL.format(name="gates", role="gateway", site="a", region="eu", count=2)
    + POOL.format(name="left", role="worker", site="a", region="eu", count=1)
    + POOL.format(name="east", role="gateway", site="b", region="us", count=1)
    + POOL.format(name="right", role="worker", site="b", region="us", count=1)
).removesuffix("---")
FLOW = "    flows:\n      - {name: traffic, from: {}, to: {}, ports: [7946], protocol: udp}\n"
NODES = ("east-0", "gates-0", "gates-1", "left-0", "right-0")
FIRST = 64
"""Hops that a packet has left when it leaves; each node that passes it on takes one."""
DEAD = 5.0
"""Seconds until traffic moves: three misses, one a second, and a second more on a busy machine."""
Ways = Mapping[tuple[str, str], tuple[str, ...]]
"""Who passes on what goes from one node to another: nobody where they have a tunnel. A pair that is not there has no
way."""


class Mesh:
    """The lab, whose mesh is declared anew from test to test."""

    def __init__(self, lab: labs.Lab) -> None:
        self.lab = lab
        self._before = "{full: {}}"

    def declare(self, topology: str, *, whole: bool = True) -> Underlay:
        """Apply another topology; `whole`: all nodes reach each other, and all ports are as declared."""
        self.lab.edit("network.yaml", f"  topology: {self._before}\n", f"  topology: {topology}\n")
        self._before = topology
        self.lab("apply", "--yes")
        # Waits for tunnels whose ends both began at once, until they have found to each other.
        self.lab("status", code=0 if whole else None)
        underlay, deadline = Underlay.of(self.lab), time.monotonic() + 60
        # Who was long in answering at first counts as dead, until it has answered ten times.
        while moved := {node: groups for node in NODES if (groups := elsewhere(underlay, node))}:
            assert time.monotonic() < deadline, moved
            time.sleep(0.2)
        return underlay


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, engine: object) -> Iterator[Mesh]:
    lab = labs.make(tmp_path_factory.mktemp("topologies"))
    (lab.stack / "pools.yaml").write_text(POOLS)
    network = (lab.stack / "network.yaml").read_text()
    (lab.stack / "network.yaml").write_text(network[: network.index("    flows:")] + FLOW)
    try:
        yield Mesh(lab)
    finally:
        lab("destroy", "--yes")
        labs.assert_nothing_left(lab)


@pytest.fixture(autouse=True)
def here(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes are entered by this process, too."""
    monkeypatch.setenv("XDG_DATA_HOME", mesh.lab.env["XDG_DATA_HOME"])


def both(ways: Ways) -> Ways:
    """The answers' ways too: those of the questions, backwards."""
    return {**ways, **{(other, one): tuple(reversed(via)) for (one, other), via in ways.items()}}


def elsewhere(underlay: Underlay, node: str) -> set[tuple[str, str]]:
    """Groups of networks that the agent of a node has not (yet) with the first that they may be with, and that one."""

    def lines(file: str) -> list[list[str]]:
        return [line.split() for line in underlay.host(node).run(["cat", file], check=False).text.splitlines()]

    table = lines("/etc/swarmctl/failover/wg0/table")
    names = {words[1]: words[2] for words in table if words[0] == "candidate"}
    wanted = {(words[1], names[words[3]]) for words in table if words[0] == "group"}
    return wanted - {(words[1], words[2]) for words in lines("/run/swarmctl/failover/wg0") if words[0] == "active"}


def addresses(underlay: Underlay) -> dict[str, list[str]]:
    return {node: [underlay.mesh_address(node, family=family) for family in (4, 6)] for node in NODES}


def answers(underlay: Underlay, node: str, ways: Ways, known: Mapping[str, list[str]]) -> dict[tuple[str, str], int]:
    """By target and address of those that answer a node: through how many others the answer came."""
    asked = [(target, text) for target in NODES if target != node for text in known[target]]
    # Who has a way gets time for handshakes; of the others it is enough that they don't answer at once.
    words = [f"ping -n -c1 -w{10 if (node, target) in ways else 2} {text} 2>&1 &" for target, text in asked]
    said = underlay.on(node, "sh", "-c", "\n".join([*words, "wait"]))
    found = {text: FIRST - int(left) for text, left in re.findall(r"bytes from (\S+): icmp_seq=\d+ ttl=(\d+)", said)}
    return {(target, text): found[text] for target, text in asked if text in found}


def forwarded(underlay: Underlay, node: str) -> tuple[int, int]:
    """Datagrams that a node has passed on: IPv4, IPv6 (RFC 1213, ipForwDatagrams; RFC 4293)."""
    script = "grep ^Ip: /proc/net/snmp; grep ^Ip6OutForwDatagrams /proc/net/snmp6"
    names, values, six = underlay.on(node, "sh", "-c", script).splitlines()
    four = dict(zip(names.split(), values.split(), strict=True))["ForwDatagrams"]
    return int(four), int(six.split()[1])


def takes(underlay: Underlay, ways: Ways) -> None:
    """Every pair with a way answers over both families through as many nodes as declared, and every other stays
    silent; those who should pass packets on have done so, and nobody else."""
    known = addresses(underlay)
    before = {node: forwarded(underlay, node) for node in NODES}
    with ThreadPoolExecutor(len(NODES)) as pool:
        heard = dict(zip(NODES, pool.map(lambda node: answers(underlay, node, ways, known), NODES), strict=True))
    after = {node: forwarded(underlay, node) for node in NODES}
    for node in NODES:
        assert heard[node] == {
            (target, text): len(ways[node, target])
            for target in NODES
            if (node, target) in ways
            for text in known[target]
        }, node
    least = Counter(between for via in ways.values() for between in via)
    for node in NODES:
        passed = [now - then for now, then in zip(after[node], before[node], strict=True)]
        # Of each pair a question and an answer.
        assert all(count >= 2 * least[node] for count in passed), (node, passed)
        assert least[node] or passed == [0, 0], (node, passed)


def tunnels(underlay: Underlay) -> set[tuple[str, str]]:
    """Pairs that have a tunnel, as both ends have it."""
    wg = {node: underlay.host(node).run(["wg", "show", "wg0", "dump"]).text.splitlines() for node in NODES}
    keys = {lines[0].split()[1]: node for node, lines in wg.items()}
    return {(node, keys[line.split()[0]]) for node, lines in wg.items() for line in lines[1:]}


def moves(underlay: Underlay, dying: str, successor: str) -> float:
    """Seconds that nothing came through between `left-0` and `right-0` when the node in between died; IPv6 there, IPv4
    back."""
    ends = {"left-0": underlay.mesh_address("left-0"), "right-0": underlay.mesh_address("right-0", family=6)}
    with Traffic(underlay, ends) as traffic:
        traffic.measure()
        time.sleep(0.5)
        before = forwarded(underlay, successor)
        underlay.kill(dying)
        deadline = time.monotonic() + 30
        while min(map(sub, forwarded(underlay, successor), before)) < 50:
            assert time.monotonic() < deadline, "traffic does not move"
            time.sleep(0.1)
        report = traffic.stop()
    print(f"\n{dying} died, {successor} passes on: {report}")
    assert all(flow.sent - flow.lost > 75 for flow in report.flows.values()), "before it died, and after"
    return report.gap / 1000


def test_gateways_join_regions_and_the_next_takes_over(mesh: Mesh) -> None:
    underlay = mesh.declare("{regions: {gateways: {role: gateway}}}")
    ways = both(
        {
            ("gates-0", "gates-1"): (),
            ("left-0", "gates-0"): (),
            ("left-0", "gates-1"): (),
            ("gates-0", "east-0"): (),
            ("gates-1", "east-0"): (),
            ("east-0", "right-0"): (),
            ("gates-0", "right-0"): ("east-0",),
            ("gates-1", "right-0"): ("east-0",),
            ("left-0", "east-0"): ("gates-0",),
            ("left-0", "right-0"): ("gates-0", "east-0"),
        }
    )
    assert ways.keys() == set(permutations(NODES, 2))
    assert tunnels(underlay) == {pair for pair, via in ways.items() if not via}
    takes(underlay, ways)
    assert moves(underlay, "gates-0", "gates-1") <= DEAD
    underlay.boot("gates-0")


def test_links_are_the_only_tunnels_and_what_nothing_joins_stays_apart(mesh: Mesh) -> None:
    underlay = mesh.declare(
        "{links: [{between: [{node: left-0}, {node: gates-0}]}, {between: [{node: gates-0}, {pool: east}]}, "
        "{between: [{node: gates-1}, {select: {role: worker, site: b}}]}]}",
        whole=False,
    )
    ways = both(
        {
            ("left-0", "gates-0"): (),
            ("gates-0", "east-0"): (),
            ("gates-1", "right-0"): (),
            ("left-0", "east-0"): ("gates-0",),
        }
    )
    assert tunnels(underlay) == {pair for pair, via in ways.items() if not via}
    takes(underlay, ways)


def test_a_combination_has_the_tunnels_of_all_its_parts_and_outlives_a_hub(mesh: Mesh) -> None:
    underlay = mesh.declare(
        "{combine: [{select: {site: a}, full: {}}, {select: {site: b}, full: {}}, {hubs: {select: {role: gateway}}}]}"
    )
    through = {("left-0", "right-0"): ("east-0",)}
    pairs = [(one, other) for one, other in permutations(NODES, 2) if one < other]
    ways = both({**dict.fromkeys(pairs, ()), **through})
    assert tunnels(underlay) == {pair for pair, via in ways.items() if not via}
    takes(underlay, ways)
    assert moves(underlay, "east-0", "gates-0") <= DEAD
    underlay.boot("east-0")
