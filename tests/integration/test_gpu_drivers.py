"""Drivers through the command line: decided, installed, upgraded, drifted, mended and rolled back on nodes of a lab.

dpkg and apt are real; NVIDIA's programs, the bus and the kernel's files are stand-ins (`tests/gpu/standins`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmctl.backends import load as backend
from swarmctl.gpu.model import Wanted
from tests.debian import machines
from tests.debian.repository import Key, Repository
from tests.gpu import hosts as composed
from tests.gpu.standins import packages as standins
from tests.integration import lab as labs

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("gpu drivers"),
]

OLD, NEW, BROKEN = "580.173.02", "595.91.07", "595.91.10"
PLACE = "/srv/repository/debian12/x86_64"
NODES = ("gpu-0", "gpu-1")
STACK = """
apiVersion: swarmctl/v1alpha1
kind: Stack
metadata: {name: drivers}
spec: {defaults: {cluster: core, region: eu-central}}
---
apiVersion: swarmctl/v1alpha1
kind: Cluster
metadata: {name: core}
spec: {mesh: backbone, securityPolicy: baseline}
---
apiVersion: swarmctl/v1alpha1
kind: Mesh
metadata: {name: backbone}
spec: {cidrs: [10.88.0.0/16]}
---
apiVersion: swarmctl/v1alpha1
kind: SecurityPolicy
metadata: {name: baseline}
spec: {}
---
apiVersion: swarmctl/v1alpha1
kind: NodePool
metadata: {name: gpu}
spec:
  lab: {count: 2}
  rollout: {canary: 1}
  accelerators:
    - vendor: nvidia
      model: H100
      count: 2
      driver: {version: VERSION}
      source: mirror
      mirror: {url: "file:/srv/repository", fingerprint: FINGERPRINT, key: "file:PLACE/key.asc"}
"""


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    machines.require()
    key = Key()
    try:
        made = Repository(tmp_path / "repository", key)
        small = composed.host(*["H100"] * 2, *["H100 NVSwitch"] * 4, system="debian 12")
        debs = [standins.kernel(), standins.headers()]
        for version in (OLD, NEW, BROKEN):
            wanted = Wanted("nvidia", "H100", version=version)
            debs += standins.debs(composed.decided(small, wanted), "xid" if version == BROKEN else "")
        made.add(*{deb.file: deb for deb in debs}.values())
        yield made
    finally:
        key.close()


@pytest.fixture
def lab(tmp_path: Path, engine: object, repository: Repository) -> Iterator[labs.Lab]:
    made = labs.make(tmp_path)
    for file in made.stack.iterdir():
        file.unlink()
    text = STACK.replace("VERSION", OLD).replace("FINGERPRINT", repository.key.fingerprint).replace("PLACE", PLACE)
    (made.stack / "stack.yaml").write_text(text)
    try:
        yield made
    finally:
        made("destroy", "--yes", code=None)
        labs.assert_nothing_left(made)


def equip(lab: labs.Lab, repository: Repository) -> None:
    """Put the bus, the kernel's stand-ins and the repository onto the nodes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", lab.env["XDG_DATA_HOME"])
        for node in NODES:
            there = backend("lab")
            host = there.open_host(there.host_of("drivers", node))
            host.run(["sh", "-c", machines.BARE])
            repository.into(host, PLACE)
            host.put("/run/standin/pci", standins.pci().encode())
            host.run(["dpkg", "-i", f"{PLACE}/{standins.kernel().file}"])


def answers(lab: labs.Lab) -> set[str]:
    query = "nvidia-smi --query-gpu=index,pci.bus_id,driver_version,mig.mode.current --format=csv,noheader"
    return {line.split(", ")[2] for node in NODES for line in lab.on(node, query).splitlines()}


def test_drivers_come_and_go_up_and_back(lab: labs.Lab, repository: Repository) -> None:
    first = lab("apply", "--yes")
    assert "gpu-0: its driver is left out of this plan" in first.out + first.err
    equip(lab, repository)

    plan = lab("plan", "--detailed-exitcode", code=20)
    assert f"driver {OLD} (branch 580, open kernel module) for 2 x H100 SXM5 80GB" in " ".join(plan.out.split())
    assert "fabric manager: 4 NVSwitches are PCI devices here" in " ".join(plan.out.split())
    assert "to do   run `swarmctl apply`" in lab("gpu", "doctor", "gpu-0", code=1).out
    lab("apply", "--yes")
    assert answers(lab) == {OLD}
    lab("drift", code=0)
    doctor = lab("gpu", "doctor", "--format", "json").json
    assert [(node["healthy"], node["runs"]["answers"]) for node in doctor["nodes"]] == [(True, OLD)] * 2

    lab.on("gpu-1", f"apt-get install -qy --allow-change-held-packages nvidia-fabricmanager={NEW}-1", timeout=60)
    drift = lab("drift", "--format", "json", code=21).json
    found = {(entry["address"], entry["path"]) for entry in drift["drift"]}
    assert ("nodepool/gpu[1/driver]", "packages.nvidia-fabricmanager") in found
    assert {address for address, _ in found} == {"nodepool/gpu[1/driver]"}
    lab("apply", "--yes")
    lab("drift", code=0)

    lab.edit("stack.yaml", OLD, NEW)
    plan = lab("plan", "--format", "json").json
    assert {change["address"] for change in plan["changes"]} == {"nodepool/gpu[0/driver]", "nodepool/gpu[1/driver]"}
    assert all("nothing can compute" in change["impact"] for change in plan["changes"])
    lab("apply", "--yes")
    assert answers(lab) == {NEW}

    lab.edit("stack.yaml", NEW, BROKEN)
    failed = lab("apply", "--yes", code=None)
    said = " ".join((failed.out + failed.err).split())
    assert "XID 79" in said
    assert f"{NEW} is back and verified" in said
    assert failed.code == 1, said  # it was rolled back, and nothing else was to change
    assert answers(lab) == {NEW}, "the canary is back, the other was never begun"
    assert "gpu-1: nvidia driver" not in said

    lab.edit("stack.yaml", BROKEN, NEW)
    lab("apply", "--yes")
    assert answers(lab) == {NEW}
    lab("plan", "--detailed-exitcode", code=0)
    a_card_that_hangs_is_named_and_leaves_no_process(lab)


HANGS = "no answer of nvidia-smi within 20 s: a card hangs"


def a_card_that_hangs_is_named_and_leaves_no_process(lab: labs.Lab) -> None:
    """`nvidia-smi` ends by KILL alone there."""
    stuck = "#!/bin/sh\\ntrap : TERM\\nwhile :; do sleep 1; done\\n"
    lab.on("gpu-1", f"cp -a /usr/bin/nvidia-smi /srv/smi; printf '{stuck}' >/usr/bin/nvidia-smi")
    begun = time.monotonic()
    doctor = " ".join(lab("gpu", "doctor", "gpu-1", code=1).out.split())
    assert time.monotonic() - begun < 60
    assert f"should run {NEW}" in doctor
    assert f"nvidia-smi answers: {HANGS}" in doctor
    assert "by hand on gpu-1: look for XID in `dmesg`" in doctor
    begun = time.monotonic()
    drift = lab("drift", "--format", "json", code=21).json["drift"]
    assert time.monotonic() - begun < 60
    assert {it["address"] for it in drift} == {"nodepool/gpu[1/driver]"}
    assert HANGS in str(drift)
    failed = lab("apply", "--yes", code=1)
    said = " ".join((failed.out + failed.err).split())
    assert f"gpu-1: {HANGS}; its driver is left as it is" in said
    assert lab.on("gpu-1", "pgrep -x nvidia-smi || echo none") == "none\n"
    lab.on("gpu-1", "cp -a /srv/smi /usr/bin/nvidia-smi")
    lab("plan", "--detailed-exitcode", code=0)
