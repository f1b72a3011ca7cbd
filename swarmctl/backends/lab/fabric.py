"""The lab of one stack as a whole: its holder process, its mark, and its end."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmctl.backends.lab import cgroups, launch, marks, modes, names, network, router
from swarmctl.backends.lab.marks import Lab
from swarmctl.processes import Process

REMOVAL_TIMEOUT = 600.0
"""Seconds for one tree: a node may have put millions of files into it."""


@dataclass(frozen=True, slots=True)
class Fabric:
    """A lab that runs."""

    process: Process
    rootless: bool
    filesystem: str
    user: bool
    """Each node has a user namespace of its own."""


def running(lab: Lab) -> Fabric | None:
    """The fabric, None when it does not run: never made, ended, or of before a reboot."""
    mark = lab.fabric()
    process = Process.load(mark.get("process"))
    if process is None or not process.alive():
        return None
    return Fabric(process, mark["rootless"], mark["filesystem"], mark["user"])


def ensure(lab: Lab, inputs: Mapping[str, Any]) -> Fabric:
    """The fabric with everything that the machine's cable leads to, and its name. The caller holds the lab's lock."""
    fabric = running(lab) or _start(lab)
    there = network.bridges(fabric.process)
    for address in (inputs["address"], *([inputs["router"]] if inputs.get("router") else [])):
        if network.bridge_name(address) not in there:
            network.add_bridge(fabric.process, lab.tag, address, user=fabric.rootless)
    _ensure_router(lab, fabric, inputs)
    names.add(lab, inputs["node"], inputs["address"])
    return fabric


def _ensure_router(lab: Lab, fabric: Fabric, inputs: Mapping[str, Any]) -> None:
    """Make the machine's router, and take away one that has the machine's address or its router's: nobody is behind it
    any more."""
    mark, bridge, wanted = lab.fabric(), network.bridge_name(inputs["address"]), inputs.get("router")
    routers: dict[str, str] = mark.get("routers", {})
    stale = {name for name, address in routers.items() if address in (inputs["address"], wanted) and name != bridge}
    if routers.get(bridge, wanted) != wanted:
        stale.add(bridge)
    for name in stale:
        router.remove(fabric.process, lab.tag, name, routers[name], user=fabric.rootless)
    left = {name: address for name, address in routers.items() if name not in stale}
    if wanted:
        left[bridge] = wanted
    if left != routers:
        marks.write(lab.folder / "fabric.json", {**mark, "routers": left})
    if wanted and not router.stands(fabric.process, lab.tag, inputs, user=fabric.rootless):
        router.add(fabric.process, lab.tag, inputs, user=fabric.rootless)


def _start(lab: Lab) -> Fabric:
    trial = lab.folder / "trial"
    trial.mkdir(exist_ok=True)
    try:
        mode = modes.detect(lab.tag, trial)
    finally:
        remove_tree(trial)
    end_unknown(lab)
    request = {"op": "fabric", "map": mode.map, "env": {**launch.environment(lab.tag)}}
    mark = {
        "rootless": mode.rootless,
        "filesystem": mode.filesystem,
        "user": mode.user,
        "routers": {},
        "stack": lab.stack,
    }
    with launch.Starting(launch.start(request, lab.tag), "the lab's network") as starting:
        process = starting.announced()
        marks.write(lab.folder / "fabric.json", {**mark, "process": process.dump()})
        starting.go()
    return Fabric(process, mode.rootless, mode.filesystem, mode.user)


def end_unknown(lab: Lab) -> None:
    """End every process that carries the lab's tag and that no mark knows, and remove such control groups.

    Marks that were lost leave these behind: a second lab would stand beside them and could never be taken away.
    The caller holds the lab's lock.
    """
    _, groups = _unknown(lab)
    while left := _unknown(lab)[0]:
        for process in left:
            process.kill()
    cgroups.remove(groups)


def _unknown(lab: Lab) -> tuple[list[Process], set[str]]:
    """Processes and control groups of the lab that no mark knows, but for what a living swarmctl runs commands by."""
    records = [lab.record(name) for name in lab.names()]
    known = {Process.load(record.get("process")) for record in (*records, lab.fabric())}
    groups = set(cgroups.left(lab.tag)) - {path for record in records for path in record.get("cgroups", {}).values()}
    return [process for process in marks.left(lab.tag) if process not in known], groups


def remains(lab: Lab) -> list[str]:
    """What there is of the lab beside its nodes, a clause each; `end` takes it away. Changes nothing."""
    found = []
    if not lab.folder.exists() and marks.tagged_nodes(lab.tag):
        return []  # all of it is one lab without marks: to remove a node of it is to remove it
    if lab.folder.exists() and not lab.names():
        found.append(f"the folder of a lab without nodes: {lab.folder}")
    processes, groups = _unknown(lab)
    if processes:
        found.append(f"processes that no node of the lab has: {', '.join(str(it.pid) for it in processes)}")
    if groups:
        found.append(f"control groups that no node of the lab has: {', '.join(sorted(groups))}")
    return found


def end_when_empty(lab: Lab) -> None:
    """Take the fabric and the folder away when no node is left. The caller holds the lab's lock."""
    if not lab.names():
        end(lab)


def end(lab: Lab) -> None:
    """Take away whatever is left of the lab, also where its marks are lost. The caller holds the lab's lock."""
    groups = [path for name in lab.names() for path in lab.record(name).get("cgroups", {}).values()]
    for name in lab.names():
        record = lab.record(name)
        process = Process.load(record.get("process"))
        if process is not None:
            process.kill()
    process = Process.load(lab.fabric().get("process"))
    if process is not None:
        process.kill()
    while left := marks.tagged(lab.tag):  # again, for what one of them may have started meanwhile
        for process in left:
            process.kill()
    cgroups.remove({*groups, *cgroups.left(lab.tag)})
    cgroups.forget(lab.tag)
    # The marks last: whatever stops us, they still lead to what is left.
    remove_tree(lab.nodes)
    remove_tree(lab.folder)
    try:
        os.rmdir(lab.folder.parent)
    except OSError:
        return  # other labs are in it


def remove_tree(folder: Path) -> None:
    """Remove a folder whatever a node has put into it: any depth, any mode, no link followed."""
    if not os.path.lexists(folder):
        return
    if os.geteuid():
        # Only root removes from folders that forbid it.
        _quietly("chmod", "-R", "u+rwX", "--", str(folder))
    _quietly("rm", "-rf", "--one-file-system", "--", str(folder))
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)  # says what is in the way
    else:
        folder.unlink(missing_ok=True)  # a lock that somebody opened meanwhile


def _quietly(*command: str) -> None:
    """Run it; what it leaves undone is told by who looks afterwards."""
    try:
        subprocess.run(command, capture_output=True, timeout=REMOVAL_TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise launch.LabBroken(
            f"{command[0]} {command[-1]} did not end within {REMOVAL_TIMEOUT:g} s", "see what the disk is doing"
        ) from error
