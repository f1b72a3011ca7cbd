"""A host baseline through the real engine, on a node of a lab: set, drifting, healed, changed, taken away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import lab as labs

pytestmark = [pytest.mark.integration, pytest.mark.slow]

BASELINE = """\
apiVersion: swarmctl/v1alpha1
kind: HostBaseline
metadata: {name: workers}
spec:
  nodes: {role: worker}
  sysctl: {net.core.somaxconn: 4321}
  users:
    - name: ops
      authorizedKeys:
        - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJd/gxLSi2ZbVLR8Zt0HoLSF8CZ4jcTkBn0nsAuAy7Zb anna
"""
VALUE = "cat /proc/sys/net/core/somaxconn"


@pytest.fixture
def lab(tmp_path: Path, engine: object) -> Iterator[labs.Lab]:
    made = labs.make(tmp_path)
    made.edit("pools.yaml", "lab: {count: 2}", "lab: {count: 1}")
    made.edit("pools.yaml", "lab: {count: 3}", "lab: {count: 1}")
    try:
        yield made
    finally:
        made("destroy", "--yes", code=None)


def test_a_baseline_is_set_drifts_heals_changes_and_goes(lab: labs.Lab) -> None:
    lab("apply", "--yes")
    before = lab.on("workers-0", VALUE)
    (lab.stack / "baseline.yaml").write_text(BASELINE)
    text = lab("plan").out
    assert "+ sysctl net.core.somaxconn: 4321" in text
    assert "+ user ops: /bin/sh" in text
    lab("apply", "--yes")
    assert lab.on("workers-0", f"{VALUE}; id -un ops") == "4321\nops\n"
    assert lab.on("control-0", VALUE) == before, "only what the selector takes"
    written = labs.tree(lab.data)
    assert "nothing to change" in lab("apply", "--yes").out.lower()
    assert {path for path, what in labs.tree(lab.data).items() if written.get(path) != what and "lab/" in path} == set()

    lab.on("workers-0", "echo 5 >/proc/sys/net/core/somaxconn; usermod -s /bin/bash ops")
    drifted = lab("drift", "--format", "json", code=21).json
    assert "values" in str(drifted)
    assert "/bin/bash" in str(drifted)
    lab("apply", "--yes")
    assert lab.on("workers-0", f"{VALUE}; getent passwd ops | cut -d: -f7") == "4321\n/bin/sh\n"
    lab("drift", code=0)

    lab.edit("baseline.yaml", "{net.core.somaxconn: 4321}", "{net.core.somaxconn: 99999999999}")
    run = lab("apply", "--yes", code=None)
    assert run.code != 0
    assert "workers-0: the kernel does not take '99999999999' for net.core.somaxconn" in run.out + run.err
    lab("drift", code=0)

    (lab.stack / "baseline.yaml").unlink()
    assert "- user ops" in lab("plan").out
    lab("apply", "--yes")
    assert lab.on("workers-0", f"{VALUE}; getent passwd ops || echo none") == f"{before}none\n"
    assert lab.on("workers-0", "find / -xdev -name '*swarmctl-workers*' 2>/dev/null") == ""
