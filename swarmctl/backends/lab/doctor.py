"""What `swarmctl doctor` says about labs on this machine."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from swarmctl import packages, paths
from swarmctl.backends.base import Check
from swarmctl.backends.lab import cgroups, modes
from swarmctl.backends.lab.inside.seccomp import ARCHITECTURES

_LINUX_ONLY = "the lab backend works on Linux only"


def checks() -> list[Check]:
    """Whether labs work here, and in which mode."""
    if sys.platform != "linux":
        return [Check("lab", False, _LINUX_ONLY, "run swarmctl in a Linux machine or virtual machine")]
    try:
        paths.data_home().mkdir(parents=True, exist_ok=True)
        trial = tempfile.TemporaryDirectory(dir=paths.data_home(), prefix="doctor-")
    except OSError as error:
        detail = f"nothing can be written in {paths.data_home()}: {error.strerror}"
        return [Check("lab mode", False, detail, "make the folder writable, or set XDG_DATA_HOME to one that is")]
    with trial as folder:
        try:
            mode = modes.detect("doctor", Path(folder), network=True)
        except modes.LabImpossible as error:
            detail = "; ".join((error.message, *error.details))
            return [Check("lab mode", False, detail, error.hint)]
    found = [Check("lab mode", True, _mode(mode)), Check("lab file system", True, _filesystem(mode))]
    return [*found, _wireguard(mode), _nat(mode), _limits(), _isolation(mode)]


def _mode(mode: modes.Mode) -> str:
    return "rootless: one user namespace per lab" if mode.rootless else "root: namespaces of this machine's own"


def _filesystem(mode: modes.Mode) -> str:
    return "overlay over this machine's system folders" if mode.overlay else "system folders bound read-only"


def _wireguard(mode: modes.Mode) -> Check:
    if mode.kernel_wireguard:
        return Check("lab WireGuard", True, "kernel")
    if obstacle := modes.no_userspace_wireguard():
        return Check("lab WireGuard", False, *obstacle)
    return Check("lab WireGuard", True, "userspace (wireguard-go)")


def _nat(mode: modes.Mode) -> Check:
    if mode.nat:
        return Check("lab NAT", True, "pools can stand behind a router (`nat: true`)")
    detail = "pools with `nat: true` can't be made; without it all works"
    missing = packages.which("nft") is None
    return Check("lab NAT", True, detail, packages.how_to_install(["nft"]) if missing else "modprobe nft_chain_nat")


def _limits() -> Check:
    found = cgroups.hierarchy()
    able = [name for name, controller in (("cpus", "cpu"), ("memory", "memory")) if controller in found.parents]
    if len(able) == 2:
        return Check("lab limits", True, f"cpus and memory by control groups version {found.version}")
    detail = "pools that declare resources can't be made; without them all works"
    return Check("lab limits", True, detail, "run as root, or by `systemd-run --user --scope -p Delegate=yes`")


def _isolation(mode: modes.Mode) -> Check:
    walls = ["few capabilities"]
    if mode.user:
        walls.append("a user namespace per node")
    if os.uname().machine in ARCHITECTURES:
        walls.append("filtered system calls")
    return Check("lab isolation", True, ", ".join(walls))
