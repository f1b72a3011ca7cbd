"""Limits of nodes by control groups, version 1 or 2; read back from the kernel, never taken on trust.

A node's groups are called `swarmctl-TAG/NODE`: under version 1 below the group this process is in, so that its own
limits hold for the lab too; under version 2, where a group with processes can't have limited children, at the root
(as root) or in the topmost group that was delegated to this user.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmctl.errors import SwarmError

PIDS = 8192
"""Processes and threads per node where the controller is there: a fork bomb stays in its node."""
_PERIOD = 100_000
_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
_NEEDED = {"cpus": "cpu", "memory": "memory"}


class CannotLimit(SwarmError):
    """A declared limit can't be enforced here."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where groups can be made: the parent folder for each controller."""

    version: int
    parents: Mapping[str, str]


def hierarchy(*, mounts: str | None = None, own: str | None = None) -> Hierarchy:
    """What this process may use; the arguments stand in for /proc/self/mountinfo and /proc/self/cgroup."""
    mounts = Path("/proc/self/mountinfo").read_text() if mounts is None else mounts
    own = Path("/proc/self/cgroup").read_text() if own is None else own
    groups = {
        name: path for line in own.splitlines() for names, path in [line.split(":", 2)[1:]] for name in names.split(",")
    }
    parents: dict[str, str] = {}
    unified = ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        kind, point, root = right.split()[0], left.split()[4], left.split()[3]
        if kind == "cgroup":
            for name in right.split()[2].split(","):
                if name in ("memory", "cpu", "pids") and name in groups:
                    parents[name] = _below(point, root, groups[name])
        elif kind == "cgroup2":
            unified = _below(point, root, groups.get("", "/")) if os.geteuid() else point
    if parents:
        return Hierarchy(1, {name: path for name, path in parents.items() if os.access(path, os.W_OK)})
    if not unified:
        return Hierarchy(0, {})
    parent = unified if not os.geteuid() else _delegated(unified)
    return Hierarchy(2, dict.fromkeys(_controllers(parent), parent) if parent else {})


def _below(point: str, root: str, group: str) -> str:
    inside = group[len(root) :] if root != "/" and group.startswith(root) else group
    return os.path.normpath(f"{point}/{inside}")


def _delegated(group: str) -> str:
    """The topmost group from here upwards that this user may make groups in and move processes below."""
    found = ""
    while os.access(group, os.W_OK) and os.access(f"{group}/cgroup.procs", os.W_OK):
        found, group = group, os.path.dirname(group)
    return found


def _controllers(parent: str) -> list[str]:
    try:
        names = Path(parent, "cgroup.controllers").read_text().split()
    except OSError:
        return []
    return [name for name in names if name in ("memory", "cpu", "pids")] if os.access(parent, os.W_OK) else []


def memory_bytes(text: str) -> int:
    """`512Mi` in bytes. Raises ValueError."""
    match = re.fullmatch(r"([0-9]+)(Ki|Mi|Gi|Ti)", text)
    if match is None:
        raise ValueError(f"not an amount of memory: {text!r}")
    return int(match[1]) * _UNITS[match[2]]


def quantity(amount: int) -> str:
    """Bytes in the largest unit that leaves no rest."""
    for unit, size in reversed(_UNITS.items()):
        if amount % size == 0 and amount >= size:
            return f"{amount // size}{unit}"
    return str(amount)


def plan(tag: str, node: str, found: Hierarchy, resources: Mapping[str, Any]) -> dict[str, str]:
    """Folder of the node's group for each controller. Raises `CannotLimit` when a declared limit has none."""
    for name in resources:
        controller = _NEEDED.get(name)
        if controller is None or controller not in found.parents:
            raise CannotLimit(
                f"{node}: the limit resources.{name} can't be enforced here: "
                f"this user may not use the {controller or name} controller of control groups",
                "leave resources out, run as root, or have the controller delegated: "
                "`systemd-run --user --scope -p Delegate=yes swarmctl …`",
            )
    return {controller: f"{parent}/swarmctl-{tag}/{node}" for controller, parent in found.parents.items()}


def make(groups: Mapping[str, str], version: int, node: str, resources: Mapping[str, Any]) -> dict[str, str]:
    """Make the node's groups and set its limits; returns the ones that are there.

    A controller that no declared limit needs may fail. Raises `CannotLimit`.
    """
    made: dict[str, str] = {}
    needed = {_NEEDED[name] for name in resources}
    for controller, path in groups.items():
        try:
            _make_one(controller, Path(path), version)
            made[controller] = path
        except OSError as error:
            for folder in (path, os.path.dirname(path)):
                _remove_empty(folder)
            if controller in needed:
                raise CannotLimit(
                    f"{node}: the {controller} controller of control groups can't be used: {error.strerror}",
                    "leave resources out, or run where control groups are delegated",
                ) from error
    limit(made, version, node, resources)
    return made


def _make_one(controller: str, path: Path, version: int) -> None:
    if version == 2:
        for above in (path.parent.parent, path.parent):
            above.mkdir(exist_ok=True)
            switched_on = (above / "cgroup.subtree_control").read_text().split()
            if controller not in switched_on:
                (above / "cgroup.subtree_control").write_text(f"+{controller}")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError:  # the lab's group went away with the last node in the meantime
        path.mkdir(parents=True, exist_ok=True)


def limit(groups: Mapping[str, str], version: int, node: str, resources: Mapping[str, Any]) -> None:
    """Set the limits of a node, also those that are declared no more. Raises `CannotLimit`."""
    try:
        if "cpu" in groups:
            cpus = resources.get("cpus")
            quota = None if cpus is None else max(1000, round(float(cpus) * _PERIOD))
            _set_cpu(Path(groups["cpu"]), version, quota)
        if "pids" in groups:
            Path(groups["pids"], "pids.max").write_text(str(PIDS))
        if "memory" in groups:
            memory = resources.get("memory")
            name, none = ("memory.max", "max") if version == 2 else ("memory.limit_in_bytes", "-1")
            text = none if memory is None else str(memory_bytes(memory))
            Path(groups["memory"], name).write_text(text)
    except OSError as error:
        raise CannotLimit(f"{node}: its limits can't be set: {error.strerror}", "see `swarmctl doctor`") from error


def _set_cpu(group: Path, version: int, quota: int | None) -> None:
    if version == 2:
        (group / "cpu.max").write_text(f"{'max' if quota is None else quota} {_PERIOD}")
    else:
        (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
        (group / "cpu.cfs_quota_us").write_text(str(-1 if quota is None else quota))


def read(groups: Mapping[str, str], version: int, declared: Mapping[str, Any]) -> dict[str, Any]:
    """The limits that hold; in the declared words where they say the same.

    The number of processes is no input, and only told (`processes`) when it is not what every node has.
    """
    found: dict[str, Any] = {}
    processes = _read_pids(groups)
    if processes not in (None, str(PIDS)):
        found["processes"] = processes
    cpu, memory = _read_cpu(groups, version), _read_memory(groups, version)
    if cpu is not None:
        same = "cpus" in declared and max(1000, round(float(declared["cpus"]) * _PERIOD)) == cpu
        found["cpus"] = declared["cpus"] if same else cpu / _PERIOD
    if memory is not None:
        page = os.sysconf("SC_PAGE_SIZE")  # the kernel rounds down to pages
        same = "memory" in declared and memory_bytes(declared["memory"]) // page == memory // page
        found["memory"] = declared["memory"] if same else quantity(memory)
    return found


def _read_cpu(groups: Mapping[str, str], version: int) -> int | None:
    if "cpu" not in groups:
        return None
    name = "cpu.max" if version == 2 else "cpu.cfs_quota_us"
    try:
        quota = Path(groups["cpu"], name).read_text().split()[0]
    except OSError:
        return None
    return None if quota in ("max", "-1") else int(quota)


def _read_pids(groups: Mapping[str, str]) -> str | None:
    if "pids" not in groups:
        return None
    try:
        return Path(groups["pids"], "pids.max").read_text().strip()
    except OSError:
        return None


def _read_memory(groups: Mapping[str, str], version: int) -> int | None:
    if "memory" not in groups:
        return None
    name = "memory.max" if version == 2 else "memory.limit_in_bytes"
    try:
        text = Path(groups["memory"], name).read_text().strip()
    except OSError:
        return None
    return None if text in ("max", "-1") or int(text) >= 1 << 62 else int(text)


@contextmanager
def join(group: str) -> Iterator[int]:
    """Where a process writes 0 to join a group."""
    descriptor = os.open(f"{group}/cgroup.procs", os.O_WRONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def left(tag: str) -> list[str]:
    """The groups of a lab's nodes that can be found without its marks."""
    parents = set(hierarchy().parents.values())
    return [str(path) for parent in parents for path in Path(parent, f"swarmctl-{tag}").glob("*/")]


def remove(groups: Iterable[str], *, timeout: float = 5.0) -> None:
    """Remove groups of nodes, and the lab's when it was the last. Raises OSError when processes stay in them."""
    for path in sorted(groups):
        deadline = time.monotonic() + timeout
        while True:
            try:
                os.rmdir(path)
            except FileNotFoundError:
                break
            except OSError:
                # A process that has ended leaves its group a moment later.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
            else:
                break
        _remove_empty(os.path.dirname(path))


def forget(tag: str) -> None:
    """Remove the lab's own groups, in which its nodes' were."""
    for parent in set(hierarchy().parents.values()):
        _remove_empty(f"{parent}/swarmctl-{tag}")


def _remove_empty(group: str) -> None:
    try:
        os.rmdir(group)
    except OSError:
        return  # never made, or others are in it
