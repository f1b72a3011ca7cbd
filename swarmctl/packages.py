"""Programs of the operating system that swarmctl needs, the package of each, and the command that installs it here."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable, Mapping

TOOLS = ("ip", "nft", "wg", "ping", "nsenter", "setpriv")
"""Programs that a lab and its nodes always need."""
OPTIONAL = {
    "age": "preshared keys of a mesh (`presharedKeys: generated`)",
    "tcpdump": "`mesh verify` to look for plaintext on the underlay",
    "fping": "`mesh verify` to ping many nodes by one process",
}
"""Programs that nodes need only for what is declared so, or asked for; each with what that is."""
TESTING = ("qemu-system-x86_64", "qemu-img", "mmdebstrap", "dot", "mkfs.btrfs", "shellcheck")
"""What swarmctl's own tests make whole machines with, and hold what it makes against; nothing else needs them."""
WIREGUARD_GO = "wireguard-go"
"""Needed where the kernel has no WireGuard."""

_PACKAGES = {
    "ip": "iproute2",
    "nft": "nftables",
    "wg": "wireguard-tools",
    "ping": "iputils-ping",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "tcpdump": "tcpdump",
    "fping": "fping",
    "age": "age",
    WIREGUARD_GO: "wireguard-go",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "dot": "graphviz",
    "mkfs.btrfs": "btrfs-progs",
    "shellcheck": "shellcheck",
}
"""The Debian package of each."""
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


def which(program: str) -> str | None:
    """Where `program` is. An ordinary user's PATH often lacks the sbin folders, where ip and nft live."""
    return shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))


def missing(programs: Iterable[str] = TOOLS) -> list[str]:
    """Those of `programs` that are not installed."""
    return [program for program in programs if which(program) is None]


def debian_names(programs: Iterable[str]) -> list[str]:
    """What Debian calls the packages of `programs`."""
    return sorted({_PACKAGES[program] for program in programs})


def install_command(programs: Iterable[str], release: Mapping[str, str] | None = None) -> str:
    """The one command that installs `programs` here, to be run as root; "" where the package manager is not known.

    `release` is the content of /etc/os-release, by default this machine's.
    """
    known = _os_release() if release is None else release
    for name in (known.get("ID", ""), *known.get("ID_LIKE", "").split()):
        manager = _MANAGERS.get(name) or _MANAGERS.get(name.partition("-")[0])
        if manager:
            names = {_OTHER_NAMES.get(manager, {}).get(package, package) for package in debian_names(programs)}
            return " ".join([_INSTALL[manager], *sorted(names)])
    return ""


def how_to_install(programs: Iterable[str]) -> str:
    """What the current user has to type, or to look for, to have `programs`."""
    wanted = list(programs)
    command = install_command(wanted)
    if not command:
        return f"install what Debian calls {' '.join(debian_names(wanted))}"
    return command if os.geteuid() == 0 else f"sudo {command}"


def _os_release() -> Mapping[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}
