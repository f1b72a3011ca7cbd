"""How a lab can be driven here: as root, as an ordinary user in a user namespace of the lab's own, or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from swarmctl import packages, toolchain
from swarmctl.backends.lab import launch
from swarmctl.errors import SwarmError

TOOLS = ("ip", "nsenter")
"""Programs of this machine that a lab is built with."""


class LabImpossible(SwarmError):
    """This machine allows no lab; the details say what was tried."""


@dataclass(frozen=True, slots=True)
class Mode:
    """What this machine allows."""

    rootless: bool
    overlay: bool
    user: bool
    """Each node has a user namespace of its own."""
    kernel_wireguard: bool
    nat: bool = True
    """Pools can stand behind a router."""

    @property
    def name(self) -> str:
        """As `doctor` calls it."""
        return "rootless" if self.rootless else "root"

    @property
    def filesystem(self) -> str:
        """How a node gets this machine's system folders."""
        return "overlay" if self.overlay else "bind"

    @property
    def map(self) -> tuple[int, int] | None:
        """The user that is root in the lab's user namespace; None where there is none."""
        return (os.geteuid(), os.getegid()) if self.rootless else None


def detect(tag: str, folder: Path | None, *, network: bool = False) -> Mode:
    """Try out what works; `folder` is where an overlay is tried, and `network` what costs some more time.

    Raises `LabImpossible`.
    """
    if sys.platform != "linux":
        raise LabImpossible("the lab backend works on Linux only", "run swarmctl in a Linux machine or virtual machine")
    missing = [name for name in TOOLS if shutil.which(name, path=launch.environment(tag)["PATH"]) is None]
    if missing:
        raise LabImpossible(f"the lab needs {' and '.join(missing)}", packages.how_to_install(missing))
    tried: list[str] = []
    for rootless in (False, True) if os.geteuid() == 0 else (True,):
        done = _probe(tag, folder, rootless=rootless, network=network)
        if done.returncode == 0:
            words = done.stdout.decode().split()
            return Mode(rootless, "overlay" in words, "user" in words, "wireguard" in words, "nat" in words)
        tried.append(f"{'user namespace' if rootless else 'as root'}: {done.stderr.decode(errors='replace').strip()}")
    raise LabImpossible("this machine allows no lab", _mend(), details=tried)


def _probe(tag: str, folder: Path | None, *, rootless: bool, network: bool) -> subprocess.CompletedProcess[bytes]:
    request = {
        "op": "probe",
        "map": (os.geteuid(), os.getegid()) if rootless else None,
        "folder": str(folder) if folder is not None and not rootless else "",
        "network": network,
        "env": launch.environment(tag),
    }
    process = launch.start(request, tag)
    stdout, stderr = launch.converse(process, timeout=20)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def _mend() -> str:
    """What stands in the way of user namespaces, as an instruction."""
    if os.geteuid() == 0:
        return "allow CAP_SYS_ADMIN and CAP_NET_ADMIN (a container: run it privileged), or use another machine"
    for name, wrong, mend in (
        ("kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=15000"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
    ):
        try:
            value = Path("/proc/sys", name).read_text().strip()
        except OSError:
            continue
        if value == wrong:
            return f"have root run `{mend}`, or run as root"
    if not os.path.exists("/proc/self/ns/user"):
        return "run as root: this kernel has no user namespaces (CONFIG_USER_NS)"
    return "run as root, or have user namespaces allowed on this machine"


def wireguard_go() -> Path | None:
    """The userspace implementation where a node would not find it by itself, and this machine has it."""
    if shutil.which("wireguard-go", path=launch.SYSTEM_PATH):
        return None
    found = toolchain.wireguard_go()
    return None if found is None else found.resolve()


def has_wireguard_go() -> bool:
    """Whether nodes have the userspace implementation."""
    return wireguard_go() is not None or shutil.which("wireguard-go", path=launch.SYSTEM_PATH) is not None


def kernel_wireguard() -> bool:
    """Whether the kernel has WireGuard for a lab's nodes; where that can't be tried out, whether it has loaded it."""
    try:
        return detect("probe", None, network=True).kernel_wireguard
    except LabImpossible:
        return os.path.exists("/sys/module/wireguard")


def no_userspace_wireguard() -> tuple[str, str] | None:
    """What keeps wireguard-go from working in nodes, and how to mend it; None when it works."""
    if not has_wireguard_go():
        mend = f"{packages.how_to_install([packages.WIREGUARD_GO])}; or `make machine` where Go is installed"
        return "this kernel has no WireGuard, and there is no wireguard-go", mend
    if os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return None
    become = "" if os.geteuid() == 0 else "sudo "
    mend = "chmod 0666 /dev/net/tun" if os.path.exists("/dev/net/tun") else "modprobe tun"
    return "this kernel has no WireGuard, and wireguard-go may not use /dev/net/tun", f"{become}{mend}"


def require_wireguard() -> None:
    """Raises `LabImpossible` when nodes can't have WireGuard, neither from the kernel nor from wireguard-go."""
    # In this order: only the kernel has to be tried out, which takes a tenth of a second.
    obstacle = no_userspace_wireguard()
    if obstacle is not None and not kernel_wireguard():
        what, mend = obstacle
        raise LabImpossible(f"nodes of a lab can't have WireGuard here: {what}", mend)
