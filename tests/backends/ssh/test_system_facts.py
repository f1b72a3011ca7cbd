"""`swarmctl facts` of machines over real SSH: what is kept, for whom, and what becomes of those that can't be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swarmctl import cli
from swarmctl.backends.ssh import transport as transports
from swarmctl.backends.ssh.transport import Transport

from .servers import Server, free_port, keygen

pytestmark = pytest.mark.integration
STACK = """
apiVersion: swarmctl/v1alpha1
kind: Stack
metadata: {name: real, uid: 0b0ae1d2-6a3c-4b3c-9d4f-5a1d2c3b4a60}
spec: {defaults: {cluster: core, region: home}}
---
apiVersion: swarmctl/v1alpha1
kind: Cluster
metadata: {name: core}
spec: {mesh: m, securityPolicy: p}
---
apiVersion: swarmctl/v1alpha1
kind: SecurityPolicy
metadata: {name: p}
spec: {network: {flows: []}}
"""
Facts = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def declare(
    server: Server, transport: Transport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., None]:
    """Writes a stack of machines: name → what is declared of it beside its address."""
    monkeypatch.setattr(transports, "shared", lambda: transport)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "stack").mkdir()
    monkeypatch.chdir(tmp_path / "stack")
    Path("stack.yaml").write_text(STACK)

    def write(**machines: dict[str, Any]) -> None:
        usual = {"port": server.port, "hostKeys": [server.host_key], "user": "worker", "address": "127.0.0.1"}
        hosts = [{**usual, "name": name, **more} for name, more in machines.items()]
        spec = {"ssh": {"key": str(server.key), "hosts": hosts}}
        pool = {"apiVersion": "swarmctl/v1alpha1", "kind": "NodePool", "metadata": {"name": "p"}, "spec": spec}
        Path("pool.yaml").write_text(json.dumps(pool))
        # Nobody reaches another machine at its loopback.
        endpoints = [{"node": name, "host": f"203.0.113.{number}"} for number, name in enumerate(machines, 1)]
        mesh = {"cidrs": ["10.88.0.0/16"], "topology": {"full": {}}, "endpoints": endpoints}
        kind = {"apiVersion": "swarmctl/v1alpha1", "kind": "Mesh", "metadata": {"name": "m"}, "spec": mesh}
        Path("mesh.yaml").write_text(json.dumps(kind))

    return write


@pytest.fixture
def facts(capsys: pytest.CaptureFixture[str]) -> Facts:
    def run(*args: str) -> tuple[int, dict[str, Any]]:
        code = cli.run(["facts", "--format", "json", *args])
        captured = capsys.readouterr()
        assert captured.out, captured.err
        return code, {node["node"]: node for node in json.loads(captured.out)["nodes"]}

    return run


def test_machines_are_read_once_and_those_that_cannot_be_read_keep_nobody(
    declare: Callable[..., None], facts: Facts, server: Server, tmp_path: Path
) -> None:
    others = [keygen(tmp_path / name) for name in ("other", "third")]
    down = {"port": free_port(), "hostKeys": others[:1]}
    declare(one={}, another={"hostKeys": others[1:], "address": "localhost"}, down=down)
    code, found = facts()
    assert code == 8
    assert {name: node["state"] for name, node in found.items()} == {
        "one": "read",
        "another": "unreadable",
        "down": "unreadable",
    }
    assert found["one"]["facts"]["os"]["id"] == "debian"
    assert abs(found["one"]["clockOffset"]) < 30
    assert "another host key" in found["another"]["error"]
    assert "refuses connections" in found["down"]["error"]
    assert all(node["hint"] for node in found.values() if node["error"])
    # Those that failed are tried again, and the other one is known.
    code, again = facts()
    assert code == 8
    assert again["one"]["state"] == "kept"
    assert again["one"]["facts"] == found["one"]["facts"]


def test_a_changed_host_key_makes_it_another_machine(
    declare: Callable[..., None], facts: Facts, tmp_path: Path
) -> None:
    declare(one={})
    assert facts()[0] == 0
    declare(one={"hostKeys": [keygen(tmp_path / "other")]})
    code, found = facts()
    assert (code, found["one"]["state"]) == (8, "unreadable")
    assert found["one"]["facts"] is None
    declare(one={})
    assert facts()[1]["one"]["state"] == "read"


def test_a_login_that_is_otherwise_is_no_other_machine(declare: Callable[..., None], facts: Facts) -> None:
    declare(one={})
    facts()
    declare(one={"user": "root"})
    assert facts()[1]["one"]["state"] == "kept"
    assert facts("--refresh")[1]["one"]["state"] == "read"


def test_one_who_may_not_become_root_is_told_so(declare: Callable[..., None], facts: Facts) -> None:
    declare(one={"user": "asking"})
    code, found = facts()
    assert code == 8
    assert "sudo asks asking for a password" in found["one"]["error"]
