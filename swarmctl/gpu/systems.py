"""Operating systems that drivers are packaged for, and how each keeps them on a branch. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from swarmctl.gpu.catalogue import Vendor
from swarmctl.gpu.model import Flavour, Host, Pin, Refusal, Source

Family = Literal["debian", "ubuntu", "rhel"]
FAMILIES: Mapping[str, Family] = {
    "debian": "debian",
    "ubuntu": "ubuntu",
    "rhel": "rhel",
    "rocky": "rhel",
    "almalinux": "rhel",
    "ol": "rhel",
}
"""`ID` of os-release → whose packages it takes."""
RELEASES: Mapping[tuple[Vendor, Source, Family], tuple[str, ...]] = {
    ("nvidia", Source.VENDOR, "debian"): ("12", "13"),
    ("nvidia", Source.VENDOR, "ubuntu"): ("22.04", "24.04"),
    ("nvidia", Source.VENDOR, "rhel"): ("8", "9", "10"),
    ("nvidia", Source.DISTRIBUTION, "debian"): ("12",),
    ("nvidia", Source.DISTRIBUTION, "ubuntu"): ("22.04", "24.04", "26.04"),
    ("amd", Source.VENDOR, "ubuntu"): ("22.04", "24.04"),
    ("amd", Source.VENDOR, "rhel"): ("9",),
}
"""Releases for which each source has packages of a branch of the table."""
CPUS: Mapping[Vendor, Mapping[str, str]] = {
    "nvidia": {"x86_64": "x86_64", "aarch64": "sbsa"},
    "amd": {"x86_64": "x86_64"},
}
"""CPU architecture → what the vendor's repository calls it."""
MAKERS: Mapping[Vendor, str] = {"nvidia": "NVIDIA", "amd": "AMD"}
"""The vendors as sentences name them."""
GUIDE = "NVIDIA Driver Installation Guide 610, Package Manager Installation and Version Locking"
PINNED = 590
"""The first branch whose apt packages have no branch in their names, so that a package pins the branch instead."""


@dataclass(frozen=True, slots=True)
class System:
    """One operating system on one kind of CPU."""

    family: Family
    release: str
    cpu: str
    """As `uname -m` says it."""

    @property
    def apt(self) -> bool:
        """Whether its packages are Debian's kind."""
        return self.family != "rhel"


def system(host: Host, vendor: Vendor, source: Source) -> System | Refusal:
    """What packages the host takes; refused where that source has none for it."""
    family = FAMILIES.get(host.os)
    release, _, minor = host.release.partition(".")
    if family not in ("rhel", "debian"):
        release = host.release
    elif vendor == "amd" and family == "rhel" and (release != "9" or not minor.isdecimal()):
        return _dnf(host)
    if family and release in RELEASES.get((vendor, source, family), ()) and host.cpu in CPUS[vendor]:
        return System(family, release, host.cpu)
    there = [
        f"{name} {' '.join(releases)}"
        for (owner, kind, name), releases in RELEASES.items()
        if owner == vendor and kind is source
    ]
    what = "the vendor's repository has" if source is Source.VENDOR else "distributions have themselves"
    on = f"{host.os[:40] or 'an unnamed system'} {host.release[:20]} on {host.cpu[:20]}"
    return Refusal(
        "os-unknown",
        f"nothing of {MAKERS[vendor]}'s is packaged for {on}",
        f"packages that {what} are for {', '.join(there) or 'none'}, on {' and '.join(CPUS[vendor])}",
        GUIDE if vendor == "nvidia" else "ROCm 7.2 installation on Linux, supported operating systems",
    )


def _dnf(host: Host) -> Refusal:
    """AMD's container toolkit is documented for Enterprise Linux 9 alone, and the driver's repositories are of minor
    releases."""
    return Refusal(
        "manager-unknown",
        f"AMD's driver is brought by dnf with minor releases of Enterprise Linux 9, such as 9.6, and this machine has "
        f"{host.os[:40]} {host.release[:20]}",
        "leave AMD's cards out of `accelerators` for this pool and install the driver as AMD's guide says, or take "
        "machines with Ubuntu 22.04 or 24.04, or with Enterprise Linux 9",
        "docs/gpu.md, With dnf",
    )


def repository(on: System, vendor: Vendor, source: Source, version: str, rocm: str) -> str:
    """The name of the repository, without whose mirror it is."""
    if source is Source.DISTRIBUTION:
        return f"{on.family} {on.release}"
    if vendor == "amd":
        return f"amdgpu/{version} and rocm/{rocm}"
    return f"{on.family}{on.release.replace('.', '')}/{CPUS[vendor][on.cpu]}"


def pin(on: System, vendor: Vendor, source: Source, branch: str, flavour: Flavour) -> Pin | None:
    """What keeps the package manager on `branch`; None where the packages' names or the repository do that."""
    if vendor == "amd" or source is Source.DISTRIBUTION:
        return None
    if on.apt:
        return Pin("package", f"nvidia-driver-pinning-{branch}") if int(branch) >= PINNED else None
    if on.release == "10":  # has no module streams any more: what is held keeps to the branch
        return None
    return Pin("module", f"nvidia-driver:{branch}-{'open' if flavour == 'open' else 'dkms'}")
