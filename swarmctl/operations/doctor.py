"""What this machine can do: Python, platform, system tools, the engine, the data folder, and every backend."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from swarmctl import backends, packages, paths
from swarmctl.backends.base import Check
from swarmctl.errors import SwarmError

OLDEST_PYTHON = (3, 11)
LEAST_SPACE = 1 << 30
"""Bytes that should be free below the data folder: state, logs and the trees of a lab's nodes."""


@dataclass(frozen=True, slots=True)
class Area:
    """Checks that belong together."""

    title: str
    checks: tuple[Check, ...]


def examine() -> list[Area]:
    """Check everything. Changes nothing on the machine, and raises nothing: what can't be checked is a failed check."""
    areas = [
        Area(
            "this machine",
            (_python(), _platform(), *_tools(), *_optional_tools(), _engine(), _data_folder()),
        )
    ]
    return [*areas, *(Area(f"backend {name}", _backend(name)) for name in backends.names())]


def _python() -> Check:
    found = platform.python_version()
    oldest = ".".join(map(str, OLDEST_PYTHON))
    return Check("python", sys.version_info >= OLDEST_PYTHON, found, f"install Python {oldest} or newer")


def _platform() -> Check:
    here = f"{platform.system()} {platform.release()} {platform.machine()}"
    if sys.platform == "linux":
        return Check("platform", True, here)
    detail = f"{here}: swarmctl drives machines from Linux only; validate, fmt, explain and schema work here too"
    return Check("platform", False, detail, "run swarmctl on a Linux machine")


def _tools() -> list[Check]:
    missing = packages.missing()
    mend = packages.how_to_install(missing) if missing else ""
    return [Check(tool, tool not in missing, packages.which(tool) or "not installed", mend) for tool in packages.TOOLS]


def _optional_tools() -> list[Check]:
    """Of nodes too, and only where something is declared that needs them."""
    return [
        Check(tool, True, packages.which(tool) or f"not installed: needed for {what}", packages.how_to_install([tool]))
        for tool, what in packages.OPTIONAL.items()
    ]


def _engine() -> Check:
    from swarmctl.engine.install import EngineMissing, locate

    try:
        engine = locate()
    except EngineMissing as missing:
        return Check("engine", False, "; ".join([missing.message, *missing.details]), missing.hint)
    return Check("engine", True, f"Pulumi {engine.version} ({engine.source}): {engine.path}")


def _data_folder() -> Check:
    folder = paths.data_home()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Check("data", False, f"{folder}: {there} is not writable", "make it writable, or set XDG_DATA_HOME")
    free = shutil.disk_usage(there).free
    detail = f"{folder} ({free / (1 << 30):.1f} GiB free)"
    return Check("data", free >= LEAST_SPACE, detail, f"free {LEAST_SPACE >> 30} GiB there, or set XDG_DATA_HOME")


def _backend(name: str) -> tuple[Check, ...]:
    try:
        return tuple(backends.load(name).doctor())
    except SwarmError as error:
        return (Check(name, False, error.message, error.hint),)


def all_well(areas: Sequence[Area]) -> bool:
    """Whether no check failed."""
    return all(check.ok for area in areas for check in area.checks)
