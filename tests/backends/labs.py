"""Labs for tests, and what must be gone after them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from swarmctl import paths
from swarmctl.backends import load
from swarmctl.backends.base import Host, Placement, PoolRequest
from swarmctl.backends.lab import cgroups, marks
from swarmctl.backends.lab.spec import LabSpec

STACK = "trial"
backend = load("lab")


def pool(
    name: str = "a",
    count: int = 1,
    region: str = "eu",
    resources: Mapping[str, Any] | None = None,
    *,
    nat: bool = False,
    mtu: int = 1500,
) -> PoolRequest:
    return PoolRequest(name, "core", region, {}, LabSpec(count=count, nat=nat, mtu=mtu), resources or {})


def place(*pools: PoolRequest, previous: Mapping[str, Mapping[str, Any]] | None = None) -> list[Placement]:
    return backend.place(STACK, pools, previous or {})


def create(placements: Sequence[Placement]) -> None:
    """All at once, as the engine does."""
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda placement: backend.create_machine(placement.inputs), placements))


def delete(placements: Sequence[Placement]) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda placement: backend.delete_machine(placement.inputs), placements))


def reboot(placement: Placement) -> None:
    """Pull the plug of a node and switch it on again: nothing in it gets a chance to end in order."""
    lab = marks.Lab(placement.host["stack"])
    process = marks.Process.load(lab.record(placement.name).get("process"))
    assert process is not None
    process.kill()
    backend.create_machine(lab.record(placement.name)["inputs"])


def host(placement: Placement) -> Host:
    return backend.open_host(placement.host)


def holders() -> list[marks.Process]:
    """Of the lab's fabric and nodes, by their marks."""
    lab = marks.Lab(STACK)
    found = [marks.Process.load(lab.record(name).get("process")) for name in lab.names()]
    return [process for process in (*found, marks.Process.load(lab.fabric().get("process"))) if process is not None]


def service(placement: Placement) -> marks.Process | None:
    """The process of a node's only service."""
    (found,) = host(placement).services()
    return None if found.pid is None else marks.Process.of(found.pid)


def left_behind() -> list[str]:
    """Whatever there still is of the lab."""
    lab = marks.Lab(STACK)
    found = [str(path) for path in (lab.folder, *lab.folder.rglob("*"))] if lab.folder.exists() else []
    found += [f"process {process.pid}" for process in marks.tagged(lab.tag)]
    data = str(paths.data_home())
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if data in line]
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                mounts = Path("/proc", entry, "mountinfo").read_text(errors="replace")
            except OSError:
                continue
            if data in mounts:
                found.append(f"mounts of process {entry}")
    found += cgroups.left(lab.tag)
    return found


def soon(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    """Whether it holds before the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
