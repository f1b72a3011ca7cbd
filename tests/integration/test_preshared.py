"""Preshared keys of a lab through the whole of swarmctl: under traffic, killed in the middle, and told to nobody."""

from __future__ import annotations

import base64
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration import lab as labs
from tests.integration.traffic import Traffic
from tests.integration.underlay import Underlay
from tests.integration.watching import Watched, again

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("age") is None, reason="age is not installed"),
]

POOL = """
apiVersion: swarmctl/v1alpha1
kind: NodePool
metadata: {name: node, labels: {role: worker}}
spec:
  region: eu-central
  lab: {count: 3}
"""
NODES = ("node-0", "node-1", "node-2")
FOLDER = "/etc/swarmctl/mesh/backbone/psk"
BEFORE, AFTER = "  persistentKeepalive: 25\n", "  persistentKeepalive: 25\n  keys: {presharedKeys: generated}\n"


class Nodes:
    """The nodes from outside swarmctl."""

    def __init__(self, lab: labs.Lab) -> None:
        self.underlay = Underlay.of(lab)

    def sh(self, node: str, script: str) -> str:
        return self.underlay.host(node).run(["sh", "-c", script], check=False).text.strip()

    def has(self) -> dict[str, str]:
        """What every node prints of its preshared keys."""
        return {node: self.sh(node, "wg show wg0 preshared-keys | sort") for node in NODES}

    def secrets(self) -> list[str]:
        """One per tunnel. That its ends don't have the same is a failure."""
        owners = {self.sh(node, "wg show wg0 public-key"): node for node in NODES}
        found: dict[frozenset[str], set[str]] = {}
        for node, lines in self.has().items():
            for peer, secret in map(str.split, lines.splitlines()):
                found.setdefault(frozenset((node, owners[peer])), set()).add(secret)
        assert len(found) == 3
        assert all(len(secrets) == 1 for secrets in found.values()), "both ends have the same"
        return sorted(secret for secrets in found.values() for secret in secrets)

    def identities(self) -> list[str]:
        return [self.sh(node, f"grep AGE-SECRET-KEY {FOLDER}/identity") for node in NODES[1:]]

    def traffic(self) -> Traffic:
        return Traffic(self.underlay, {node: self.underlay.mesh_address(node) for node in NODES})


class Listener(threading.Thread):
    """Collects the arguments and the environment of every process of this machine, those on the nodes among them."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[bytes] = set()
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.005):
            for proc in Path("/proc").iterdir():
                if proc.name.isdigit():
                    for what in ("cmdline", "environ"):
                        try:
                            self.seen.add((proc / what).read_bytes())
                        except OSError:
                            continue


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


def up(lab: labs.Lab) -> None:
    lab("apply", "--yes")
    lab("status")  # waits for tunnels whose ends both began at once, until they have found to each other


def test_nobody_but_the_nodes_ever_has_one(lab: labs.Lab) -> None:
    listener = Listener()
    listener.start()
    lab("--debug", "apply", "--yes")
    nodes = Nodes(lab)
    assert nodes.secrets() == ["(none)"] * 3
    lab.edit("network.yaml", BEFORE, AFTER)
    plan = lab("--debug", "plan", "--detailed-exitcode", code=20).out
    assert "preshared keys between node-0 and node-1, node-0 and node-2, node-1 and node-2: made on the first" in plan
    assert "guarded" in plan
    lab("--debug", "apply", "--yes", "--format", "json")
    first = nodes.secrets()
    assert len({*first} - {"(none)"}) == 3
    lab("--debug", "plan", "--detailed-exitcode", code=0)
    lab("--debug", "mesh", "rotate", "--yes")
    second = nodes.secrets()
    assert len({*first, *second}) == 6, "the keys of the tunnels follow those of the nodes"
    nodes.sh("node-1", "wg set wg0 peer $(wg show wg0 peers | head -1) preshared-key /dev/null")
    assert "presharedKey" in lab("--debug", "drift", "--format", "json", code=21).out
    lab("--debug", "apply", "--yes")
    assert nodes.secrets() == second
    identities = nodes.identities()
    assert all(text.startswith("AGE-SECRET-KEY-1") for text in identities)
    lab("state", "backup", str(lab.root / "backup.json"))
    lab.edit("network.yaml", AFTER, BEFORE)
    lab("--debug", "apply", "--yes")
    assert nodes.secrets() == ["(none)"] * 3
    assert [nodes.sh(node, f"ls -A {FOLDER} 2>/dev/null") for node in NODES] == [""] * 3
    lab("--debug", "plan", "--detailed-exitcode", code=0)
    listener.over.set()
    listener.join()

    raw = [base64.b64decode(secret) for secret in (*first, *second)]
    forms = [text.encode() for text in (*first, *second, *identities)] + raw + [it.hex().encode() for it in raw]
    forms += [form[:16] for form in forms]
    said = [(run.out + run.err).encode() for run in lab.runs]
    assert not [text for text in said if any(form in text for form in forms)]
    assert not [text for text in listener.seen if any(form in text for form in forms)]
    kept = {path: path.read_bytes() for path in lab.root.rglob("*") if path.is_file() and not _of_a_node(path)}
    assert any(path.suffix == ".log" for path in kept)
    assert [path for path, content in kept.items() if any(form in content for form in forms)] == []
    assert not any(b"BEGIN AGE" in content for content in kept.values()), "not even what is sealed is kept"


def _of_a_node(path: Path) -> bool:
    return "nodes" in path.parts


def test_they_come_are_rotated_and_go_without_a_lost_packet(lab: labs.Lab) -> None:
    up(lab)
    nodes = Nodes(lab)
    with nodes.traffic() as traffic:
        traffic.measure()
        lab.edit("network.yaml", BEFORE, AFTER)
        lab("apply", "--yes")
        lab("mesh", "rotate", "--yes")
        assert "(none)" not in nodes.secrets()
        lab.edit("network.yaml", AFTER, BEFORE)
        lab("apply", "--yes")
        report = traffic.stop()
    print(report)
    assert report.lost == 0, report.losing()
    assert nodes.secrets() == ["(none)"] * 3


Moment = Callable[[Nodes, dict[str, str]], object]
MOMENTS: dict[str, Moment] = {
    "a key is made": lambda nodes, before: nodes.sh("node-0", f"ls {FOLDER}/*/*"),
    "it is opened": lambda nodes, before: nodes.sh("node-2", f"ls {FOLDER}/*/*"),
    "it is in use": lambda nodes, before: nodes.has() != before,
}


# When a key is in use the provider has nothing left to do, and may be gone before it is hit.
@pytest.mark.parametrize(
    ("victim", "moment"),
    [
        *(pytest.param("cli", moment, marks=pytest.mark.soak) for moment in MOMENTS),
        ("provider", "a key is made"),
        pytest.param("provider", "it is opened", marks=pytest.mark.soak),
    ],
)
def test_kill_9_loses_no_packet_and_the_next_run_heals(lab: labs.Lab, victim: str, moment: str) -> None:
    up(lab)
    nodes = Nodes(lab)
    before = nodes.has()
    lab.edit("network.yaml", BEFORE, AFTER)
    with nodes.traffic() as traffic:
        traffic.measure()
        run = Watched(lab, "apply", "--yes")
        run.until(lambda _: MOMENTS[moment](nodes, before), 120)
        run.kill(victim)
        run.end()
        again(lab, "apply", "--yes")
        report = traffic.stop()
    print(report)
    assert report.lost == 0, report.losing()
    assert len({*nodes.secrets()} - {"(none)"}) == 3
    lab("plan", "--detailed-exitcode", code=0)
