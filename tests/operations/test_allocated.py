"""What is allocated already stays as it is: planning starts from the addresses in the state, not from fresh ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from swarmctl.graph.model import Address
from swarmctl.operations import stack as stacks
from swarmctl.state.store import Store
from tests.integration.lab import STACKS

INTERFACE = Address("mesh", "backbone", "workers-1")
PEERS = Address("mesh", "backbone", "control-0/peers")
MACHINE = Address("nodepool", "workers", "1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STACKS / "lab", tmp_path / "lab"))


def inputs(folder: Path, address: Address) -> Any:
    """What the stack in `folder` asks for at `address`, compiled as `plan` and `apply` do."""
    loaded, store = stacks.load(folder)
    return stacks.compile_stack(loaded, store).graph.resources[address].inputs


def record(folder: Path, address: Address, kind: str, values: dict[str, Any]) -> None:
    """Write a state in which this alone was applied."""
    _, store = stacks.load(folder)
    assert isinstance(store, Store)
    urn = f"urn:pulumi:{store.identity}::swarmctl::{kind}::{address}"
    resource = {"urn": urn, "type": kind, "custom": True, "id": str(address), "inputs": values, "outputs": {}}
    with store.lease() as lease:
        store.publish(lease, 0, {"version": 3, "checkpoint": {"latest": {"resources": [resource]}}}, applied=None)


def test_a_mesh_address_in_the_state_is_kept_although_a_fresh_one_would_be_another(folder: Path) -> None:
    fresh = inputs(folder, INTERFACE)
    applied = ["10.88.3.4/16", "fd88:5b2a::1234/64"]
    assert fresh["addresses"] != applied
    record(folder, INTERFACE, "swarm:mesh:Interface", {"node": "workers-1", "addresses": applied})

    assert inputs(folder, INTERFACE)["addresses"] == applied
    allowed = inputs(folder, PEERS)["peers"]["workers-1"]["allowedIps"]
    assert allowed == ["10.88.3.4/32", "fd88:5b2a::1234/128"], "its peers know it by the same addresses"


def test_a_mesh_address_in_the_state_that_left_the_network_is_not_kept(folder: Path) -> None:
    fresh = inputs(folder, INTERFACE)
    gone = {"node": "workers-1", "addresses": ["10.99.3.4/16", "fd99::1234/64"]}
    record(folder, INTERFACE, "swarm:mesh:Interface", gone)
    assert inputs(folder, INTERFACE)["addresses"] == fresh["addresses"]


def test_a_machine_in_the_state_keeps_its_underlay_address(folder: Path) -> None:
    fresh = inputs(folder, MACHINE)
    applied = {**fresh, "address": "172.23.40.9/22", "gateway": "172.23.40.1"}
    assert applied != fresh
    record(folder, MACHINE, "swarm:nodepool:Machine", applied)
    assert inputs(folder, MACHINE) == applied
