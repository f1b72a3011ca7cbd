"""One node from its making to its end. Every step may be cut off by kill -9 and is then done again or undone."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import swarmctl
from swarmctl import paths
from swarmctl.backends.base import Fence, HostGone
from swarmctl.backends.lab import cgroups, fabric, fencing, launch, layout, marks, modes, network, router, services
from swarmctl.backends.lab import names as names_of_nodes
from swarmctl.backends.lab.fabric import Fabric
from swarmctl.backends.lab.marks import Lab
from swarmctl.processes import Process


def create(inputs: Mapping[str, Any], fence: Fence | None = None) -> dict[str, Any]:
    """Make the node or adopt the one that runs; there are no outputs.

    After a reboot, its own or this machine's, it is made again over its old trees: what was installed in it, keys
    included, is still there, and its services are started again. What only the kernel had is gone.
    Raises `Fenced`, `ForeignStack`, `StillChanging`.
    """
    lab, name = Lab(inputs["host"]["stack"]), inputs["node"]
    if fence is not None:
        marks.make_folder(lab.folder)
    with fencing.held(lab.folder, fence, f"the lab of {lab.stack}"):
        return _make(lab, name, inputs, fence)


def _make(lab: Lab, name: str, inputs: Mapping[str, Any], fence: Fence | None) -> dict[str, Any]:
    folder = lab.node(name)
    fencing.require_own(lab, name)
    while True:
        with marks.locked(lab.folder, create=True):
            marks.make_folder(lab.nodes)
            marks.make_folder(folder)
            try:
                found = fabric.ensure(lab, inputs)
            except BaseException:
                if not lab.record(name):
                    folder.rmdir()
                    fabric.end_when_empty(lab)
                raise
        with marks.locked(folder) as mine:
            if mine:
                # Here too, so that from the first moment on nothing older can be done in the node.
                with fencing.held(folder, fence, name):
                    return _create(lab, found, inputs)


def _create(lab: Lab, found: Fabric, inputs: Mapping[str, Any]) -> dict[str, Any]:
    name = inputs["node"]
    record = lab.record(name)
    process = _whole(record, found)
    if process is not None:
        _adjust(lab, found, record, inputs)
    else:
        _take_apart(lab, found, name, record)
        try:
            services.boot(lab, found, *_build(lab, found, record, inputs), name)
        except Exception:
            _take_apart(lab, found, name, lab.record(name))
            raise
    return {}


def _whole(record: Mapping[str, Any], found: Fabric | None) -> Process | None:
    """The node's first process, None unless the node was made to the end and runs in this fabric."""
    process = Process.load(record.get("process"))
    if process is None or found is None or not record.get("ready"):
        return None
    return process if record.get("fabric") == found.process.dump() and process.alive() else None


def _build(
    lab: Lab, found: Fabric, record: Mapping[str, Any], inputs: Mapping[str, Any]
) -> tuple[Process, Collection[str]]:
    """Make the node; returns its first process and its control groups."""
    name, resources = inputs["node"], inputs.get("resources", {})
    folder = lab.node(name)
    available = cgroups.hierarchy()
    mark: dict[str, Any] = {
        "inputs": dict(inputs),
        "fabric": found.process.dump(),
        "filesystem": found.filesystem,
        "version": available.version,
        "cgroups": cgroups.plan(lab.tag, name, available, resources),
        # Trees made one way are of no use the other way.
        "prepared": bool(record.get("prepared")) and record.get("filesystem") == found.filesystem,
        "process": None,
        "ready": False,
    }
    marks.write(folder / "node.json", mark)
    if not mark["prepared"]:
        for part in ("tree", "upper", "work", "services"):
            fabric.remove_tree(folder / part)
        layout.prepare(folder, overlay=found.filesystem == "overlay")
        mark["prepared"] = True
    mark["cgroups"] = cgroups.make(mark["cgroups"], available.version, name, resources)
    request = layout.request(lab, mark, hidden=hidden(), wireguard=modes.wireguard_go())
    request |= {"op": "node", "map": None, "own_user": found.user, "tty_group": _maps_tty_group(found.process)}
    request["env"] = {"PATH": launch.NODE_PATH, marks.TAG: lab.tag, marks.NODE: name}
    with ExitStack() as stack, launch.into(found.process, user=found.rootless, mount=True) as (prefix, descriptors):
        request["cgroups"] = [stack.enter_context(cgroups.join(path)) for path in mark["cgroups"].values()]
        process = launch.start(request, lab.tag, prefix=prefix, descriptors=[*descriptors, *request["cgroups"]])
        starting = stack.enter_context(launch.Starting(process, name))
        first = starting.announced()
        mark["process"] = first.dump()
        marks.write(folder / "node.json", mark)
        network.connect(found.process, first, lab.tag, dict(inputs), user=found.rootless)
        starting.go()
    mark["ready"] = True
    marks.write(folder / "node.json", mark)
    return first, mark["cgroups"].values()


def _maps_tty_group(process: Process) -> bool:
    """Whether group 5 (tty) exists in the lab's user namespace."""
    for line in Path(f"/proc/{process.pid}/gid_map").read_text().splitlines():
        first, _, count = (int(part) for part in line.split())
        if first <= 5 < first + count:
            return True
    return False


def hidden() -> list[Path]:
    """What of this machine no node may see, wherever it stands."""
    found = [paths.data_home(), paths.cache_home()]
    checkout = Path(swarmctl.__file__).resolve().parents[1]
    if (checkout / "pyproject.toml").exists():
        found.append(checkout)
    if sys.prefix != sys.base_prefix:
        found.append(Path(sys.prefix))
    return found


def _take_apart(lab: Lab, found: Fabric | None, name: str, record: Mapping[str, Any]) -> None:
    """End what runs of a node; its trees stay, and the marks of its services."""
    process = Process.load(record.get("process"))
    if process is not None:
        process.kill()
    if found is not None:
        try:
            network.disconnect(found.process, lab.tag, name, user=found.rootless)
        except ProcessLookupError:
            pass  # the fabric went, and all cables with it
    cgroups.remove(set(record.get("cgroups", {}).values()))


def _adjust(lab: Lab, found: Fabric, record: dict[str, Any], inputs: Mapping[str, Any]) -> None:
    """Bring a node that runs to these inputs."""
    process = Process.load(record["process"])
    assert process is not None
    name, resources = inputs["node"], inputs.get("resources", {})
    available = cgroups.Hierarchy(record["version"], record["cgroups"])
    cgroups.plan(lab.tag, name, available, resources)
    marks.write(lab.node(name) / "node.json", {**record, "inputs": dict(inputs)})
    cgroups.limit(record["cgroups"], record["version"], name, resources)
    wanted = {key: inputs[key] for key in ("address", "gateway", "mtu")}
    seen = network.observe(found.process, process, lab.tag, user=found.rootless)
    if seen.pop("hostname") != name:
        network.rename(found.process, process, lab.tag, name, user=found.rootless)
    plugged_in = _plugged_in(lab, found, inputs)
    if seen != wanted or not plugged_in:
        if network.has_port(process, lab.tag, user=found.rootless):
            network.attach(found.process, lab.tag, dict(inputs), user=found.rootless)
            network.configure(process, lab.tag, dict(inputs), user=found.rootless)
        else:
            network.connect(found.process, process, lab.tag, dict(inputs), user=found.rootless)


def _plugged_in(lab: Lab, found: Fabric, inputs: Mapping[str, Any]) -> bool:
    """Whether the node's cable leads to where it should. Raises ProcessLookupError when the fabric is gone."""
    cable = network.plugged_in(found.process, lab.tag, inputs, user=found.rootless)
    behind = inputs.get("router")
    return cable and (not behind or router.stands(found.process, lab.tag, inputs, user=found.rootless))


def read(inputs: Mapping[str, Any], fence: Fence | None = None) -> dict[str, Any] | None:
    """The inputs as the world has them; None when the node is gone or was never made to the end.

    Raises `ForeignStack`, and with a fence `Fenced` and `StillChanging`.
    """
    lab, name = Lab(inputs["host"]["stack"]), inputs["node"]
    # Raised and not held: nothing older begins from here on, and nobody waits for one who only looks.
    with fencing.held(lab.folder, fence, f"the lab of {lab.stack}"), fencing.held(lab.node(name), fence, name):
        fencing.require_own(lab, name)
    return _read(lab, name)


def _read(lab: Lab, name: str) -> dict[str, Any] | None:
    record, found = lab.record(name), fabric.running(lab)
    process = _whole(record, found)
    if process is None or found is None:
        return None
    try:
        seen = network.observe(found.process, process, lab.tag, user=found.rootless)
        plugged_in = _plugged_in(lab, found, record["inputs"])
    except ProcessLookupError:
        return None
    if not plugged_in:
        seen["gateway"] = ""  # whatever the node believes, it leads nowhere
    if seen["hostname"] == name:
        del seen["hostname"]  # no input: it follows from the node's name
    made = record["inputs"]
    resources = cgroups.read(record["cgroups"], record["version"], made.get("resources", {}))
    kept = {key: value for key, value in made.items() if key != "resources"}
    return {**kept, **seen, **({"resources": resources} if resources else {})}


def delete(stack: str, name: str, fence: Fence | None = None) -> None:
    """Take the node away, and the lab with the last one. Raises `Fenced`, `ForeignStack`, `StillChanging`."""
    lab = Lab(stack)
    with fencing.held(lab.folder, fence, f"the lab of {stack}"):
        _delete(lab, name, fence)


def _delete(lab: Lab, name: str, fence: Fence | None) -> None:
    folder = lab.node(name)
    fencing.require_own(lab, name)
    with marks.locked(folder) as mine, fencing.held(folder, fence, name):
        if mine:
            _take_apart(lab, fabric.running(lab), name, lab.record(name))
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name == "node.json"):
                if entry.name != "node.json":
                    fabric.remove_tree(Path(entry.path))
            with marks.locked(lab.folder):
                names_of_nodes.drop(lab, name)
                fabric.remove_tree(folder)
    with marks.locked(lab.folder) as there:
        if there:
            fabric.end_when_empty(lab)
    if not there and name in marks.tagged_nodes(lab.tag):
        sweep(lab.stack)  # one lab without a mark: none of its nodes can be reached any more


def sweep(stack: str, fence: Fence | None = None) -> list[str]:
    """Take everything away that the lab has, in whatever state; returns the names of its nodes.

    Raises `Fenced`, `ForeignStack`, `StillChanging`.
    """
    lab = Lab(stack)
    fencing.require_own(lab)
    names_ = names(stack)
    with fencing.held(lab.folder, fence, f"the lab of {stack}"), marks.locked(lab.folder):
        fabric.end(lab)
    return names_


def clear(stack: str, fence: Fence | None = None) -> list[str]:
    """Take away what the lab has beside its nodes, see `fabric.remains`; returns what that was.

    Raises `Fenced`, `ForeignStack`, `StillChanging`.
    """
    lab = Lab(stack)
    fencing.require_own(lab)
    with fencing.held(lab.folder, fence, f"the lab of {stack}"), marks.locked(lab.folder) as there:
        found = fabric.remains(lab)
        if there:
            fabric.end_unknown(lab)
            fabric.end_when_empty(lab)
        elif found:
            fabric.end(lab)
    return found


def names(stack: str) -> list[str]:
    """The nodes that left a mark; where the lab's folder is lost, those that still run."""
    lab = Lab(stack)
    return lab.names() if lab.folder.exists() else marks.tagged_nodes(lab.tag)


def running(host: Mapping[str, Any]) -> tuple[Lab, Fabric, Process, dict[str, Any]]:
    """What it takes to enter a node. Raises `HostGone`, `ForeignStack`."""
    lab, name = Lab(host["stack"]), host["node"]
    fencing.require_own(lab, name)
    record, found = lab.record(name), fabric.running(lab)
    process = _whole(record, found)
    if process is None or found is None:
        why = "it was never made, or this machine was started anew" if not record else "its processes are gone"
        raise HostGone(f"{name} does not exist any more: {why}", "run `swarmctl apply` to make it again")
    return lab, found, process, record
