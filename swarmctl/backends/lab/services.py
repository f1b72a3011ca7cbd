"""Processes that are kept running in a node: their marks on this machine, their start, and what a boot does with them.

`services/NAME.json` in the node's folder has the command and the process. It stays as long as the service is not
stopped, so that a node which was down starts its services again, as a machine does.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

from swarmctl.backends.lab import cgroups, launch, marks
from swarmctl.backends.lab.fabric import Fabric
from swarmctl.backends.lab.marks import Lab
from swarmctl.processes import Process

ENVIRONMENT = {"PATH": launch.NODE_PATH, "LC_ALL": "C", "HOME": "/root", "USER": "root", "SHELL": "/bin/sh"}
"""Of commands and services in a node."""


@contextmanager
def entered(
    lab: Lab,
    found: Fabric,
    process: Process,
    groups: Iterable[str],
    request: Mapping[str, Any],
    *,
    extra: Iterable[int] = (),
    streams: Mapping[str, Any] | None = None,
    held: bool = False,
) -> Iterator[Popen[bytes]]:
    """An operation of `inside/` in a node, `held` as in `launch.environment`.

    Raises ProcessLookupError or FileNotFoundError when the node is going.
    """
    with ExitStack() as stack:
        prefix, outer = stack.enter_context(launch.into(found.process, user=found.rootless, mount=True))
        own = ("user",) if found.user else ()
        spaces = stack.enter_context(process.namespaces("pid", "ipc", "uts", "net", "cgroup", "mnt", *own))
        joined = [stack.enter_context(cgroups.join(path)) for path in groups]
        whole = {**request, "map": None, "ns": spaces, "cgroups": joined}
        descriptors = [*outer, *spaces.values(), *joined, *extra]
        yield launch.start(whole, lab.tag, prefix=prefix, descriptors=descriptors, held=held, **(streams or {}))


def start(
    lab: Lab, found: Fabric, process: Process, groups: Iterable[str], node: str, name: str, argv: Sequence[str]
) -> None:
    """Start a service and note it. The caller holds the node's lock. Raises `launch.LabBroken`, and like `entered`."""
    mark, folder = mark_of(lab, node, name), lab.node(node)
    marks.make_folder(mark.parent)
    marks.make_folder(folder / "log")
    marks.write(mark, {"argv": list(argv), "process": None})
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    log = os.open(folder / "log" / f"{name}.log", flags, 0o600)
    try:
        request = {"op": "service", "argv": list(argv), "env": ENVIRONMENT, "log": log}
        with (
            entered(lab, found, process, groups, request, extra=[log]) as starter,
            launch.Starting(starter, f"{node}: {argv[0]}") as starting,
        ):
            marks.write(mark, {"argv": list(argv), "process": starting.announced().dump()})
            starting.go()
    finally:
        os.close(log)


def boot(lab: Lab, found: Fabric, process: Process, groups: Iterable[str], node: str) -> None:
    """Start every service that ran before the node went down. One that can't be is left as one that has ended."""
    for mark in noted(lab, node):
        argv = lab.read(mark).get("argv")
        if argv and running(lab, mark) is None:
            try:
                start(lab, found, process, groups, node, mark.stem, argv)
            except launch.LabBroken:
                continue


def noted(lab: Lab, node: str) -> list[Path]:
    """Marks of the services that were started and not stopped."""
    return sorted((lab.node(node) / "services").glob("[!.]*.json"))


def mark_of(lab: Lab, node: str, name: str) -> Path:
    """Where a service is noted."""
    return lab.node(node) / "services" / f"{name}.json"


def running(lab: Lab, mark: Path) -> Process | None:
    """The process of a service, None when it does not run."""
    process = Process.load(lab.read(mark).get("process"))
    return process if process is not None and process.alive() else None
