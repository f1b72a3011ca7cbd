"""Facts of a real lab: there once it is applied, forgotten once it is changed or gone."""

from __future__ import annotations

import platform
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import lab as labs

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("facts")]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[labs.Lab]:
    made = labs.make(tmp_path)
    made.edit("cluster.yaml", "5b2a9a52-7d0c-4c6e-9a0e-6f1f4f0a9c11", str(uuid.uuid4()))
    for count in (2, 3):
        made.edit("pools.yaml", f"count: {count}", "count: 1")
    yield made
    made("destroy", "--yes")
    labs.assert_nothing_left(made)


def states(lab: labs.Lab, *args: str, code: int = 0) -> dict[str, Any]:
    found = lab("facts", "--format", "json", *args, code=code).json
    return {node["node"]: node["state"] for node in found["nodes"]}


def test_facts_of_a_lab(lab: labs.Lab) -> None:
    assert states(lab, code=1) == {"control-0": "missing", "workers-0": "missing"}
    lab("apply", "--yes")
    found = lab("facts", "control-0", "--format", "json").json["nodes"][0]["facts"]
    assert found["hostname"] == "control-0"
    assert found["kernel"] == platform.release()
    assert {nic["name"] for nic in found["nics"]} >= {"eth0", "wg0"}
    assert states(lab) == {"control-0": "kept", "workers-0": "read"}
    # What is applied to one node lets nobody believe what was read of it before.
    lab("exec", "workers-0", "--", "ip", "link", "del", "wg0")
    lab("apply", "--yes")
    assert states(lab)["workers-0"] == "read"
    assert "accelerators" in lab("facts", "workers-0").out
