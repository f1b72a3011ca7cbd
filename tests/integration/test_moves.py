"""What keeps its node keeps living when the pool, the mesh or the policy around it gets another name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import lab as labs

pytestmark = pytest.mark.integration

POOL = "lab: {hosts: [{name: n1}, {name: n2}]}"
STACK = f"""
apiVersion: swarmctl/v1alpha1
kind: Stack
metadata: {{name: moving}}
---
apiVersion: swarmctl/v1alpha1
kind: Cluster
metadata: {{name: core}}
spec: {{mesh: m2, securityPolicy: baseline}}
---
apiVersion: swarmctl/v1alpha1
kind: Mesh
metadata: {{name: m2}}
spec: {{cidrs: [10.88.0.0/16], interface: wgx, listenPort: 51820, topology: {{full: {{}}}}}}
---
apiVersion: swarmctl/v1alpha1
kind: SecurityPolicy
metadata: {{name: baseline}}
spec: {{network: {{flows: [{{name: ssh, from: {{}}, to: {{}}, ports: [22]}}]}}}}
---
apiVersion: swarmctl/v1alpha1
kind: NodePool
metadata: {{name: w}}
spec:
  cluster: core
  region: eu
  {POOL}
"""


@pytest.fixture
def lab(tmp_path: Path, engine: object) -> Iterator[labs.Lab]:
    made = labs.make(tmp_path)
    for file in made.stack.iterdir():
        file.unlink()
    (made.stack / "stack.yaml").write_text(STACK)
    try:
        yield made
    finally:
        made("destroy", "--yes", code=None)


def settled(lab: labs.Lab, *nodes: str) -> None:
    """Everything is there and well, and nobody wants to change it."""
    lab("plan", "--detailed-exitcode", code=0)
    lab("drift", code=0)
    status = lab("status", "--format", "json").json
    assert [node["name"] for node in status["nodes"]] == list(nodes)
    assert all(node["ready"] for node in status["nodes"]), status["nodes"]


def alive(lab: labs.Lab, node: str) -> str:
    """What another machine or another key would have otherwise."""
    return lab.on(node, "readlink /proc/1/ns/net; wg show all public-key; ip -4 -o addr show; cat /srv/mine")


def test_machines_survive_another_name_of_their_pool(lab: labs.Lab) -> None:
    lab("apply", "--yes")
    for node in ("n1", "n2"):
        lab.on(node, "mkdir -p /srv; echo $$ >/srv/mine")
    before = {node: alive(lab, node) for node in ("n1", "n2")}

    lab.edit("stack.yaml", "metadata: {name: w}", "metadata: {name: w2}")
    plan = lab("plan", "--format", "json").json
    text = lab("plan").out
    lab("apply", "--yes")

    assert {(it["address"], it["action"], it["impact"]) for it in plan["changes"]} == {
        (f"nodepool/w2[{node}]", "update", "") for node in ("n1", "n2")
    }
    assert "moved from nodepool/w[n1]" in text
    assert {node: alive(lab, node) for node in before} == before
    settled(lab, "n1", "n2")


def test_machines_of_a_count_survive_being_named(lab: labs.Lab) -> None:
    lab.edit("stack.yaml", POOL, "lab: {count: 2}")
    lab("apply", "--yes")
    for node in ("w-0", "w-1"):
        lab.on(node, "mkdir -p /srv; echo $$ >/srv/mine")
    before = {node: alive(lab, node) for node in ("w-0", "w-1")}

    lab.edit("stack.yaml", "lab: {count: 2}", "lab: {hosts: [{name: w-0}, {name: w-1}]}")
    lab("apply", "--yes")

    assert {node: alive(lab, node) for node in before} == before
    settled(lab, "w-0", "w-1")


def test_a_mesh_and_its_interface_get_other_names_in_one_run(lab: labs.Lab) -> None:
    lab("apply", "--yes")

    lab.edit("stack.yaml", "{name: m2}", "{name: backbone}")
    lab.edit("stack.yaml", "mesh: m2", "mesh: backbone")
    lab.edit("stack.yaml", "interface: wgx", "interface: wg0")
    lab("apply", "--yes")
    assert lab.on("n1", "ip -o link show type wireguard 2>/dev/null; ls /etc/swarmctl/mesh").count("wgx") == 0
    assert lab.on("n1", "wg show interfaces; ls /etc/swarmctl/mesh").split() == ["wg0", "backbone"]
    settled(lab, "n1", "n2")

    lab.edit("stack.yaml", "{name: backbone}", "{name: spine}")
    lab.edit("stack.yaml", "mesh: backbone", "mesh: spine")
    lab.edit("stack.yaml", "{name: baseline}", "{name: walls}")
    lab.edit("stack.yaml", "securityPolicy: baseline", "securityPolicy: walls")
    lab("apply", "--yes")
    assert lab.on("n1", "wg show interfaces; ls /etc/swarmctl/mesh").split() == ["wg0", "spine"]
    settled(lab, "n1", "n2")


def test_a_count_pool_keeps_its_machines_and_their_names_when_moved_says_so(lab: labs.Lab) -> None:
    lab.edit("stack.yaml", POOL, "lab: {count: 2}")
    lab("apply", "--yes")
    for node in ("w-0", "w-1"):
        lab.on(node, "mkdir -p /srv; echo $$ >/srv/mine")
    before = {node: alive(lab, node) for node in ("w-0", "w-1")}

    lab.edit("stack.yaml", "metadata: {name: w}", "metadata: {name: gpu}")
    moved = "\nspec: {moved: [{from: nodepool/w, to: nodepool/gpu}, {from: mesh/m2, to: mesh/spine}]}"
    lab.edit("stack.yaml", "metadata: {name: moving}", f"metadata: {{name: moving}}{moved}")
    lab.edit("stack.yaml", "{name: m2}", "{name: spine}")
    lab.edit("stack.yaml", "mesh: m2", "mesh: spine")
    plan = lab("plan", "--format", "json").json
    text = lab("plan").out
    lab("apply", "--yes")

    assert {change["action"] for change in plan["changes"]} == {"update"}
    assert "moved from nodepool/w[0]" in text
    assert "moved from mesh/m2[w-0]" in text
    assert "disrupts nothing" in text
    assert {node: alive(lab, node) for node in before} == before
    settled(lab, "w-0", "w-1")

    lab.edit("stack.yaml", moved, "")
    settled(lab, "w-0", "w-1")

    pool = "apiVersion: swarmctl/v1alpha1\nkind: NodePool\nmetadata: {name: w}\n"
    (lab.stack / "more.yaml").write_text(f"{pool}spec: {{cluster: core, region: eu, lab: {{count: 1}}}}\n")
    refused = lab("plan", code=4)
    assert "SW3209" in refused.out + refused.err
    (lab.stack / "more.yaml").unlink()
    assert {node: alive(lab, node) for node in before} == before


@pytest.mark.soak
def test_a_pool_that_moved_costs_nothing_when_the_state_is_lost(lab: labs.Lab) -> None:
    lab.edit("stack.yaml", POOL, "lab: {count: 2}")
    lab("apply", "--yes")
    for node in ("w-0", "w-1"):
        lab.on(node, "mkdir -p /srv; echo $$ >/srv/mine")
    before = {node: alive(lab, node) for node in ("w-0", "w-1")}
    lab.edit("stack.yaml", "metadata: {name: w}", "metadata: {name: gpu}")
    moved = "metadata: {name: moving}\nspec: {moved: [{from: nodepool/w, to: nodepool/gpu}]}"
    lab.edit("stack.yaml", "metadata: {name: moving}", moved)
    lab("apply", "--yes")

    shutil.rmtree(lab.data / "stacks")
    plan = lab("plan", "--format", "json").json
    assert {it["action"] for it in plan["changes"]} == {"adopt"}
    assert not any(it["properties"] or it["impact"] for it in plan["changes"])
    found = lab("doctor", "--stack", "--adopt", "--format", "json").json["findings"]
    assert {it["address"] for it in found if it["backend"]} == {"nodepool/gpu[0]", "nodepool/gpu[1]"}
    assert {it["done"] for it in found} == {"adopted"}
    settled(lab, "w-0", "w-1")

    shutil.rmtree(lab.data / "stacks")
    lab("apply", "--yes")
    assert {node: alive(lab, node) for node in before} == before
    settled(lab, "w-0", "w-1")
