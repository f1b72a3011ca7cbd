"""Keys of a lab are rotated through the whole of swarmctl, killed in the middle, with traffic between all nodes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration import lab as labs
from tests.integration.traffic import Traffic
from tests.integration.underlay import Underlay
from tests.integration.watching import Watched, again

pytestmark = [pytest.mark.integration, pytest.mark.slow]

POOL = """
apiVersion: swarmctl/v1alpha1
kind: NodePool
metadata: {name: n, labels: {role: worker}}
spec:
  region: eu-central
  lab: {count: 3}
"""
BEHIND = """
apiVersion: swarmctl/v1alpha1
kind: NodePool
metadata: {name: left}
spec: {region: eu-central, lab: {count: 1, nat: true}}
---
apiVersion: swarmctl/v1alpha1
kind: NodePool
metadata: {name: right}
spec: {region: eu-central, lab: {count: 1, nat: true}}
---
apiVersion: swarmctl/v1alpha1
kind: NodePool
metadata: {name: relay, labels: {role: relay}}
spec: {region: eu-central, lab: {count: 2}}
"""
NODES = ("n-0", "n-1", "n-2")
BEHIND_ROUTERS = ("left-0", "right-0")
KEY = "/etc/swarmctl/mesh/backbone/private.key"
Moment = Callable[["Seen"], object]


class Seen:
    """The nodes from outside swarmctl."""

    def __init__(self, underlay: Underlay) -> None:
        self.underlay = underlay
        self.before = self.keys()

    def sh(self, node: str, script: str) -> str:
        return self.underlay.host(node).run(["sh", "-c", script], check=False).text.strip()

    def keys(self) -> dict[str, str]:
        return {node: self.sh(node, "wg show wg0 public-key") for node in NODES}

    def traffic(self) -> Traffic:
        return Traffic(self.underlay, {node: self.underlay.mesh_address(node) for node in NODES})


@pytest.fixture
def lab(tmp_path: Path, engine: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[labs.Lab]:
    made = labs.make(tmp_path)
    (made.stack / "pools.yaml").write_text(POOL)
    network = (made.stack / "network.yaml").read_text()
    start = network.index("    flows:")
    flow = "    flows:\n      - {name: traffic, from: {}, to: {}, ports: [7946], protocol: udp}\n"
    (made.stack / "network.yaml").write_text(network[:start] + flow)
    monkeypatch.setenv("XDG_DATA_HOME", made.env["XDG_DATA_HOME"])
    try:
        yield made
    finally:
        again(made, "destroy", "--yes")
        labs.assert_nothing_left(made)


def settled(lab: labs.Lab) -> None:
    lab("status")  # waits for tunnels whose ends both began at once, until they have found to each other


def second(seen: Seen) -> object:
    return seen.sh("n-1", "ip -o link show dev wg0-n 2>/dev/null")


def routes(seen: Seen) -> object:
    return seen.sh("n-1", "ip route show proto 186")


def keys(seen: Seen) -> object:
    return seen.sh("n-1", "wg show wg0 public-key") not in ("", seen.before["n-1"])


def back(seen: Seen) -> object:
    return keys(seen) and not routes(seen)


MOMENTS: dict[str, Moment] = {"the second interface": second, "routes": routes, "new keys": keys, "routes back": back}


@pytest.mark.soak
def test_kill_9_at_any_moment_loses_no_packet_and_the_next_run_finishes(lab: labs.Lab) -> None:
    lab("apply", "--yes")
    underlay = Underlay.of(lab)
    for number, (name, moment) in enumerate(MOMENTS.items()):
        settled(lab)
        seen = Seen(underlay)
        with seen.traffic() as traffic:
            traffic.measure()
            run = Watched(lab, "mesh", "rotate", "--yes")
            run.until(lambda _, seen=seen, moment=moment: moment(seen))  # type: ignore[misc]
            # Without the provider nobody does the rest; the command line's end leaves it to finish what it has begun.
            run.kill("cli" if number % 2 else "provider")
            run.end()
            again(lab, *(("apply", "--yes") if number % 2 else ("mesh", "rotate", "--yes")))
            report = traffic.stop()
        print(name, report)
        assert report.lost == 0, report.losing()
        after = seen.keys()
        assert all(after[node] != seen.before[node] for node in NODES), name
        lab("plan", "--detailed-exitcode", code=0)


def test_a_key_that_is_too_old_is_drift_and_the_next_apply_rotates_it(lab: labs.Lab) -> None:
    lab("apply", "--yes")
    seen = Seen(Underlay.of(lab))
    seen.sh("n-2", f"touch -d '2026-01-31 12:00 UTC' {KEY}")
    drift = lab("drift", code=21)
    assert "made 2026-01-31" in drift.out
    plan = lab("plan", "--detailed-exitcode", code=20)
    assert "the key of n-2 was made 2026-01-31, rotateEvery is 90d: it is rotated" in plan.out
    assert "peer n-2 has a new key" in plan.out
    assert "disrupts nothing" in plan.out
    lab("plan", "--out", "plan.json")
    settled(lab)
    with seen.traffic() as traffic:
        traffic.measure()
        lab("apply", "--yes", "--plan", "plan.json")
        report = traffic.stop()
    print(report)
    assert report.lost == 0, report.losing()
    assert [node for node, key in seen.keys().items() if key != seen.before[node]] == ["n-2"]
    lab("plan", "--detailed-exitcode", code=0)
    assert lab("apply", "--yes").out.startswith("Nothing to change.")


def test_a_node_that_does_not_answer_is_left_out(lab: labs.Lab) -> None:
    lab("apply", "--yes")
    underlay = Underlay.of(lab)
    seen = Seen(underlay)
    underlay.kill("n-1")
    run = lab("mesh", "rotate", "--yes", "--no-refresh", code=7)
    assert "n-1" in run.err
    underlay.boot("n-1")
    again(lab, "apply", "--yes")
    lab("plan", "--detailed-exitcode", code=0)
    after = seen.keys()
    assert all(after[node] != seen.before[node] for node in ("n-0", "n-2"))


def test_nodes_behind_routers_and_their_relays_lose_nothing(lab: labs.Lab) -> None:
    (lab.stack / "pools.yaml").write_text(BEHIND)
    lab.edit("network.yaml", "  topology: {full: {}}\n", "  relays: {role: relay}\n")
    lab("apply", "--yes")
    underlay = Underlay.of(lab)
    addresses = {node: underlay.mesh_address(node) for node in underlay.nodes()}
    before = {node: underlay.host(node).run(["wg", "show", "wg0", "public-key"]).text for node in addresses}
    # On a busy machine a relay may count as dead for one of the two for a while: then they do not reach each other, and
    # what comes back to it later is lost by failover.
    until(lambda: lab("status", code=None).code == 0)
    with Traffic(underlay, addresses) as traffic:
        until(lambda: all("active 1 relay-0" in agent(underlay, node) for node in BEHIND_ROUTERS))
        traffic.measure()
        lab("mesh", "rotate", "--yes")
        report = traffic.stop()
    print(report)
    assert report.lost == 0, (report.losing(), [lab("logs", node).out for node in BEHIND_ROUTERS])
    for node, key in before.items():
        assert underlay.host(node).run(["wg", "show", "wg0", "public-key"]).text != key
    lab("plan", "--detailed-exitcode", code=0)


def agent(underlay: Underlay, node: str) -> str:
    """Who runs failover on a node, and whom its groups are with."""
    return underlay.host(node).run(["cat", "/run/swarmctl/failover/wg0"]).text


def until(what: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it does not come to it"
        time.sleep(0.2)


def test_nodes_that_are_in_no_mesh_are_refused(lab: labs.Lab) -> None:
    assert "did you mean n-1" in lab("mesh", "rotate", "--yes", "n-11", code=2).err
