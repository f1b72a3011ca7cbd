"""AMD's driver through the command line, on a node of a lab that counts as one with Ubuntu 22.04 and two MI300X.

dpkg and apt are real; AMD's programs, the bus and the kernel's files are stand-ins (`tests/gpu/standins`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmctl.backends import load as backend
from swarmctl.gpu.amd import ORIGIN
from tests.debian import machines
from tests.debian.build import build
from tests.debian.repository import Key
from tests.debian.tree import Tree
from tests.gpu.standins import amd as standins
from tests.gpu.standins.packages import kernel
from tests.gpu.test_amd_nodes import NEW, OLD, PLACE, publish
from tests.integration import lab as labs
from tests.integration.test_gpu_drivers import STACK

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.soak,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("gpu drivers"),
]

BROKEN = "30.30.6"
SYSTEM = "NAME=Ubuntu\nID=ubuntu\nVERSION_ID=22.04\n"


@pytest.fixture
def lab(tmp_path: Path, engine: object) -> Iterator[tuple[labs.Lab, Tree]]:
    machines.require()
    made, key = labs.make(tmp_path), Key()
    try:
        tree = Tree(tmp_path / "tree", key, "jammy", ORIGIN)
        publish(tree)
        for file in made.stack.iterdir():
            file.unlink()
        pools = STACK.partition("  lab: {count: 2}")[0]
        (made.stack / "stack.yaml").write_text(
            f"{pools}  lab: {{count: 1}}\n  accelerators:\n    - vendor: amd\n      model: MI300X\n      count: 2\n"
            f"      driver: {{version: {OLD}}}\n      source: mirror\n"
            f'      mirror: {{url: "file:{PLACE}", fingerprint: {key.fingerprint}}}\n'
        )
        yield made, tree
    finally:
        made("destroy", "--yes", code=None)
        labs.assert_nothing_left(made)
        key.close()


def equip(lab: labs.Lab, tree: Tree, folder: Path) -> None:
    """Put the system's name, the bus, the kernel's stand-ins and the repositories onto the node."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", lab.env["XDG_DATA_HOME"])
        there = backend("lab")
        host = there.open_host(there.host_of("drivers", "gpu-0"))
        host.run(["sh", "-c", f"{machines.BARE}\nrm -f /etc/os-release"])
        host.put("/etc/os-release", SYSTEM.encode())
        tree.into(host, PLACE)
        host.put("/run/standin/pci", standins.pci().encode())
        host.put(f"/srv/{kernel().file}", build(kernel(), folder).read_bytes())
        host.run(["sh", "-c", f"dpkg -i /srv/{kernel().file} && modprobe amdgpu"])


def test_amd_s_driver_comes_and_goes_up_and_back(lab: tuple[labs.Lab, Tree], tmp_path: Path) -> None:
    run, tree = lab
    run("apply", "--yes")
    equip(run, tree, tmp_path)

    plan = run("plan", "--detailed-exitcode", code=20)
    said = " ".join(plan.out.split())
    assert f"driver {OLD} (branch 30.20, open kernel module) for 2 x MI300X" in said
    assert "to do   run `swarmctl apply`" in run("gpu", "doctor", "gpu-0", code=1).out
    run("apply", "--yes")
    run("drift", code=0)
    doctor = run("gpu", "doctor", "--format", "json").json
    assert [(node["healthy"], node["runs"]["answers"]) for node in doctor["nodes"]] == [(True, OLD)]

    run.on("gpu-0", "apt-mark unhold amdgpu-dkms; printf '6.16.6\\nOF-ANOTHER\\n' >/run/standin/amdgpu")
    drift = run("drift", "--format", "json", code=21).json
    assert {entry["address"] for entry in drift["drift"]} == {"nodepool/gpu[0/driver-amd]"}
    assert {"loaded", "held"} <= {entry["path"].partition(".")[0] for entry in drift["drift"]}
    run("apply", "--yes")

    run.edit("stack.yaml", OLD, NEW)
    run("apply", "--yes")
    assert "6.16.13" in run.on("gpu-0", "cat /run/standin/amdgpu")
    run.edit("stack.yaml", NEW, BROKEN)
    failed = run("apply", "--yes", code=1)
    said = " ".join((failed.out + failed.err).split())
    assert "rocminfo fails to see all cards: 0 of 2" in said
    assert f"{NEW} is back and verified" in said
    run.edit("stack.yaml", BROKEN, NEW)
    run("apply", "--yes")
    run("plan", "--detailed-exitcode", code=0)
