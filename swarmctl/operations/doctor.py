"""What this machine can do: Python, platform, system tools, the engine, the data folder, and every backend."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from swarmctl import backends, paths
from swarmctl.backends.base import Check
from swarmctl.errors import SwarmError

OLDEST_PYTHON = (3, 11)
LEAST_SPACE = 1 << 30
"""Bytes that should be free below the data folder: state, logs and the trees of a lab's nodes."""

TOOLS = {
    "ip": "iproute2",
    "nft": "nftables",
    "wg": "wireguard-tools",
    "ping": "iputils-ping",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
}
"""Programs that the lab and its nodes need, with the Debian package of each."""

_OTHER_NAMES = {
    "dnf": {"iproute2": "iproute", "iputils-ping": "iputils"},
    "pacman": {"iputils-ping": "iputils"},
    "zypper": {"iputils-ping": "iputils"},
}
_INSTALL = {
    "apt-get": "apt-get install -y --no-install-recommends",
    "dnf": "dnf install -y",
    "pacman": "pacman -S --needed --noconfirm",
    "zypper": "zypper --non-interactive install",
}
_MANAGERS = {
    "debian": "apt-get",
    "ubuntu": "apt-get",
    "fedora": "dnf",
    "rhel": "dnf",
    "centos": "dnf",
    "arch": "pacman",
    "suse": "zypper",
    "opensuse": "zypper",
}
"""Package managers by ID or ID_LIKE of /etc/os-release (os-release(5))."""


@dataclass(frozen=True, slots=True)
class Area:
    """Checks that belong together."""

    title: str
    checks: tuple[Check, ...]


def examine() -> list[Area]:
    """Check everything. Changes nothing on the machine, and raises nothing: what can't be checked is a failed check."""
    areas = [Area("this machine", (_python(), _platform(), *_tools(), _engine(), _data_folder()))]
    return [*areas, *(Area(f"backend {name}", _backend(name)) for name in backends.names())]


def missing_tools() -> list[str]:
    """The programs of TOOLS that are not installed."""
    return [tool for tool in TOOLS if _which(tool) is None]


def install_command(tools: list[str], release: Mapping[str, str] | None = None) -> str:
    """The one command that installs `tools` here, to be run as root; "" where the package manager is not known.

    `release` is the content of /etc/os-release, by default this machine's.
    """
    known = _os_release() if release is None else release
    for name in (known.get("ID", ""), *known.get("ID_LIKE", "").split()):
        manager = _MANAGERS.get(name) or _MANAGERS.get(name.partition("-")[0])
        if manager:
            names = {_OTHER_NAMES.get(manager, {}).get(TOOLS[tool], TOOLS[tool]) for tool in tools}
            return " ".join([_INSTALL[manager], *sorted(names)])
    return ""


def _os_release() -> Mapping[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _which(tool: str) -> str | None:
    # An ordinary user's PATH often lacks the sbin folders, where ip and nft live; the backends look there too.
    return shutil.which(tool, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))


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
    missing = missing_tools()
    names = " ".join(TOOLS[tool] for tool in missing)
    mend = user_command(install_command(missing)) or f"install what Debian calls {names}"
    return [Check(tool, tool not in missing, _which(tool) or "not installed", mend) for tool in TOOLS]


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


def user_command(command: str) -> str:
    """`command` as the current user would type it."""
    return command if os.geteuid() == 0 or not command else f"sudo {command}"
