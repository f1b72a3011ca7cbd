"""Aspects of one machine are set at the same time, and some of them change the same files."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from swarmctl.kinds.base import ResourceType
from swarmctl.kinds.host_baseline.aspects.mounts import MOUNTS
from swarmctl.kinds.host_baseline.aspects.swap import SWAP
from tests.kinds.host_baseline import machine as machines

pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(machines.missing()), reason=machines.missing())]

SLOW = """
printf '#!/bin/sh\\nsleep 0.2\\nexec /usr/bin/cmp "$@"\\n' >/usr/sbin/cmp
chmod 755 /usr/sbin/cmp
printf '/nowhere none swap sw 0 0\\n/dev/sda1 / ext4 defaults 0 1\\n' >/etc/fstab
"""
"""Between reading the table and putting another in its place there is time for somebody else."""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[machines.Machine]:
    with machines.Machine(tmp_path) as made:
        yield made


def test_swap_and_mounts_do_not_undo_each_other_in_the_table_of_file_systems(machine: machines.Machine) -> None:
    if len(machine.sh("cat /proc/swaps").splitlines()) > 1:
        pytest.skip("this machine swaps, and its swap is not the test's to turn off")
    machine.sh(SLOW)
    base = {"machine": "m", "host": {"backend": "test", "node": "n1"}, "node": "n1"}
    mount = {"device": "tmpfs", "type": "tmpfs", "options": ["nosuid", "nofail"]}
    wanted: list[tuple[ResourceType, dict[str, Any]]] = [
        (SWAP, {**base, "baseline": "a", "swap": "off"}),
        *((MOUNTS, {**base, "baseline": name, "mounts": {f"/mnt/{name}": mount}}) for name in ("a", "b", "c")),
    ]
    with ThreadPoolExecutor(len(wanted)) as pool:
        for done in [pool.submit(kind.create, machines.OneHost(machine), it) for kind, it in wanted]:  # type: ignore[arg-type]
            done.result()
    for kind, inputs in wanted:
        observed = kind.read(machines.OneHost(machine), inputs)  # type: ignore[arg-type]
        assert observed is not None
        assert observed.inputs == inputs
    assert machine.sh("ls -A /etc | grep swarmctl-new || :") == ""
