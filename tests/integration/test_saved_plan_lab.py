"""A saved plan on real nodes: applied exactly as reviewed, or refused with not a single file changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import lab as labs

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("saved plan")]

PAIR = """
apiVersion: swarmctl/v1alpha1
kind: NodePool
metadata: {name: pair, labels: {role: worker}}
spec:
  region: eu-central
  lab: {count: 2}
"""
FLOW = "    flows:\n      - {name: talk, from: {role: worker}, to: {role: worker}, ports: [7000]}\n"
RULES = "nft list table inet swarmctl"


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory, engine: object) -> Iterator[labs.Lab]:
    made = labs.make(tmp_path_factory.mktemp("saved"))
    (made.stack / "pools.yaml").write_text(PAIR)
    network = (made.stack / "network.yaml").read_text()
    (made.stack / "network.yaml").write_text(network[: network.index("    flows:")] + FLOW)
    try:
        made("apply", "--yes")
        yield made
    finally:
        made("destroy", "--yes")
        labs.assert_nothing_left(made)


@pytest.fixture
def lab(applied: labs.Lab, tmp_path: Path) -> Iterator[labs.Lab]:
    """The lab, with its declarations and its world as applied before and after each test."""
    kept = shutil.copytree(applied.stack, tmp_path / "kept")
    yield applied
    shutil.copytree(kept, applied.stack, dirs_exist_ok=True)
    applied("apply", "--yes")


def open_port(lab: labs.Lab, port: int) -> None:
    lab.edit("network.yaml", "ports: [7000]", f"ports: [7000, {port}]")


def save(lab: labs.Lab) -> Path:
    """A plan that opens a port, saved."""
    file = lab.root / "plan.json"
    open_port(lab, 7443)
    lab("plan", "--out", str(file), "--detailed-exitcode", code=20)
    return file


def everything(lab: labs.Lab) -> object:
    """What an apply could have touched: files of the nodes and of the state by size and time, rules, interfaces."""
    files = {path: seen for path, seen in labs.tree(lab.data).items() if not path.endswith(("lock", "lease.json"))}
    states = {str(path): path.read_bytes() for path in lab.data.glob("stacks/*/state.json")}
    hosts = {node: lab.on(node, f"{RULES}; wg show wg0 allowed-ips; ip -o addr") for node in ("pair-0", "pair-1")}
    assert states
    assert any(path.startswith("lab/") for path in files)
    return files, states, hosts


def refused(lab: labs.Lab, file: Path) -> str:
    """Apply the plan, expect that it is refused and that nothing was touched, and return the words."""
    before = everything(lab)
    run = lab("apply", "--yes", "--plan", str(file), code=5)
    assert everything(lab) == before
    assert "swarmctl plan --out" in run.err, "it says how to go on"
    return run.err


def test_a_plan_is_applied_exactly_and_only_once(lab: labs.Lab) -> None:
    file = save(lab)
    planned = json.loads(file.read_text())["changes"]
    assert {change["address"] for change in planned} == {f"securitypolicy/baseline[pair-{n}]" for n in (0, 1)}

    run = lab("apply", "--yes", "--plan", str(file), "--format", "json").json

    done = {(change["address"], change["action"]) for change in run["changes"]}
    assert done == {(change["address"], change["action"]) for change in planned}
    assert all("7443" in lab.on(node, RULES) for node in ("pair-0", "pair-1"))
    lab("plan", "--detailed-exitcode", code=0)
    assert "was carried out already" in refused(lab, file)


def test_a_plan_is_refused_when_a_declaration_has_changed(lab: labs.Lab) -> None:
    file = save(lab)
    lab.edit("network.yaml", "7443", "7444")
    assert "declarations: the files say something else" in refused(lab, file)


def test_a_plan_is_refused_when_something_else_was_applied_since(lab: labs.Lab) -> None:
    file = save(lab)
    lab.edit("network.yaml", ", 7443", "")
    lab.edit("network.yaml", "persistentKeepalive: 25", "persistentKeepalive: 20")
    lab("apply", "--yes")
    lab.edit("network.yaml", "persistentKeepalive: 20", "persistentKeepalive: 25")
    open_port(lab, 7443)
    words = refused(lab, file)
    assert "state: something was applied or destroyed" in words
    assert "declarations:" not in words, "they are as they were"


def test_a_plan_is_refused_when_the_world_has_moved(lab: labs.Lab) -> None:
    file = save(lab)
    lab.on("pair-1", "ip link set wg0 mtu 1300")
    words = refused(lab, file)
    assert "the world has moved" in words
    assert "mesh/backbone[pair-1]: unchanged in the plan, update of 1 property now" in words
    assert "mtu 1300" in lab.on("pair-1", "ip link show wg0"), "not even healed"


def test_a_plan_is_refused_when_the_file_was_changed(lab: labs.Lab) -> None:
    file = save(lab)
    text = file.read_text()
    assert "dport 7443" in text
    file.write_text(text.replace("dport 7443", "dport 22"))
    assert "changed after it was saved" in refused(lab, file)
