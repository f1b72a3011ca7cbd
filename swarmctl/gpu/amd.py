"""AMD's driver: what its releases are called, which packages they are, and where those come from. Pure.

A release such as 30.30.4 has a repository of its own, and so has each release of ROCm. Packages carry the release at
the end of their version: `amdgpu-dkms` 1:6.16.13.30300400 is module 6.16.13 of driver 30.30.4, and `rocm-core`
7.2.4.70204 is of ROCm 7.2.4 (repo.radeon.com; issues of ROCm/ROCm show them as installed).

Packages for dnf are the same but for the module's, which has no release in its version: `amdgpu-dkms`
6.16.6-2255209.el9 is of driver 30.20.1 because its firmware is, which is of the same build:
30.20.1.0.30200100-2255209.el9.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from swarmctl.gpu.catalogue import Tables, version_key
from swarmctl.gpu.model import Package, Reason

GUIDE = "AMD GPU Driver documentation 30.30 and ROCm 7.2 installation on Linux, Ubuntu native installation"
ORIGIN = "repo.radeon.com"
"""As AMD's repositories call themselves: they go before the archive of the distribution, which has packages of the same
names and higher versions (ROCm installation guide)."""
CODENAMES = {"22.04": "jammy", "24.04": "noble"}
"""Ubuntu's releases as the repositories call them."""
DKMS = "amdgpu-dkms"
FIRMWARE = "amdgpu-dkms-firmware"
CORE = "rocm-core"
TOOLKIT = "amd-container-toolkit"
PACKAGED = re.compile(r"(?:[0-9]{1,9}:)?(?P<module>[0-9]{1,4}(?:\.[0-9]{1,4}){2})\.(?P<release>[0-9]{8})(?:-.*)?")
"""A version of `amdgpu-dkms` for apt."""
BUILT = re.compile(r"(?:[0-9]{1,9}:)?(?P<version>[0-9.]{1,60})-(?P<build>[0-9]{1,12})\.el[0-9]{1,2}")
"""One for dnf, or of its firmware."""


def code(version: str) -> str:
    """A driver's release as its packages carry it: `30.30.4` → `30300400`. Raises ValueError when it is none."""
    numbers = (*version_key(version), 0)[:3]
    if len(numbers) < 3 or max(numbers) > 99:
        raise ValueError(f"not a release of AMD's driver: {version!r}")
    return "".join(f"{number:02d}" for number in numbers) + "00"


def rocm_code(version: str) -> str:
    """The same of ROCm: `7.2.4` → `70204`. Raises ValueError when it is none."""
    numbers = (*version_key(version), 0)[:3]
    if len(numbers) < 3 or max(numbers) > 99:
        raise ValueError(f"not a release of ROCm: {version!r}")
    return f"{numbers[0]}{numbers[1]:02d}{numbers[2]:02d}"


def packaged(version: str) -> tuple[str, str]:
    """Module and driver of a version of `amdgpu-dkms`: `1:6.16.13.30300400-2341068.24.04` → `6.16.13`, `30.30.4`.

    Both empty for another version, such as one from before driver and ROCm were told apart.
    """
    match = PACKAGED.fullmatch(version)
    if match is None:
        return "", ""
    release = match["release"]
    return match["module"], ".".join(str(int(release[place : place + 2])) for place in (0, 2, 4))


def built(module: str, firmware: str) -> tuple[str, str]:
    """The same of packages for dnf: `6.16.6-2255209.el9` and `30.20.1.0.30200100-2255209.el9` → `6.16.6`, `30.20.1`.

    Both empty where the two are not of one build, or are nothing of that kind.
    """
    found, beside = BUILT.fullmatch(module), BUILT.fullmatch(firmware)
    if found is None or beside is None or found["build"] != beside["build"]:
        return "", ""
    release = packaged(f"0.0.0.{beside['version'].rpartition('.')[2]}")[1]
    return (found["version"], release) if release else ("", "")


def same_build(after: Mapping[str, str]) -> str:
    """What to ask dnf for where module and firmware, by the versions that they would have, are not of one build, since
    several releases share a module's version; empty where they are."""
    found, beside = BUILT.fullmatch(after.get(DKMS, "")), BUILT.fullmatch(after.get(FIRMWARE, ""))
    if found is None or beside is None or found["build"] == beside["build"]:
        return ""
    return f"{DKMS}={found['version']}-{after[FIRMWARE].rpartition('-')[2]}"


def packages(version: str, branch: str, tables: Tables, *, apt: bool = True) -> tuple[Package, ...]:
    """The kernel module with its firmware, ROCm's runtime without compilers and libraries, and the container toolkit.

    The versions of `amd-smi-lib` and of the toolkit are not known beforehand; their repositories have one each.
    """
    facts = tables.drivers.branches[branch]
    release, rocm = code(version), rocm_code(facts.rocm)
    return (
        Package(DKMS, f"1:{facts.module}.{release}" if apt else facts.module, lockstep=True),
        Package(FIRMWARE, f"{'.'.join(map(str, _whole(version)))}.0.{release}", lockstep=True),
        Package(CORE, f"{facts.rocm}.{rocm}", lockstep=True),
        Package("rocm-hip-runtime", f"{facts.rocm}.{rocm}", lockstep=True),
        Package("rocminfo", f"1.0.0.{rocm}", lockstep=True),
        Package("amd-smi-lib", None),
        Package(TOOLKIT, None),
    )


def sources(base: str, system: str, version: str, rocm: str, toolkit: str) -> tuple[str, ...]:
    """What apt takes them from, below `base`: address, suite and component of each repository.

    `system` is a release of Ubuntu's (`CODENAMES`).
    """
    suite = f"{CODENAMES[system]} main"
    root = base.rstrip("/")
    return (
        f"{root}/amdgpu/{folder(version)}/ubuntu {suite}",
        f"{root}/rocm/apt/{rocm} {suite}",
        f"{root}/graphics/{rocm}/ubuntu {suite}",
        f"{root}/{TOOLKIT}/apt/{toolkit} {suite}",
    )


def repositories(base: str, system: str, version: str, rocm: str) -> tuple[str, ...]:
    """The same for dnf: addresses alone. `system` is a minor release of Enterprise Linux, of which driver and graphics
    have a folder each, though not of every one.

    Sources: AMD GPU Driver documentation 30.30 and ROCm 7.2 installation on Linux, Red Hat Enterprise Linux native
    installation; AMD Container Toolkit, quick start guide, which has Enterprise Linux 9 alone.
    """
    root, major = base.rstrip("/"), system.partition(".")[0]
    return (
        f"{root}/amdgpu/{folder(version)}/el/{system}/main/x86_64",
        f"{root}/rocm/el{major}/{rocm}/main",
        f"{root}/graphics/{rocm}/el/{system}/main/x86_64",
        f"{root}/{TOOLKIT}/el{major}/main",
    )


def folder(version: str) -> str:
    """The driver's release as its repository is called: a third number of 0 is left out."""
    numbers = _whole(version)
    return ".".join(str(number) for number in (numbers if numbers[2] else numbers[:2]))


def why(found: tuple[Package, ...], version: str, rocm: str) -> Reason:
    """The packages in one clause."""
    clause = (
        f"the kernel module and its firmware are of release {version}, and the runtime of ROCm {rocm}; "
        f"all {len(found)} packages are held"
    )
    return Reason("packages", clause, GUIDE)


def _whole(version: str) -> tuple[int, ...]:
    return (*version_key(version), 0)[:3]
