"""AMD's driver: what its releases are called, which packages they are, and where those come from. Pure.

A release such as 30.30.4 has a repository of its own, and so has each release of ROCm. Packages carry the release at
the end of their version: `amdgpu-dkms` 1:6.16.13.30300400 is module 6.16.13 of driver 30.30.4, and `rocm-core`
7.2.4.70204 is of ROCm 7.2.4 (repo.radeon.com; issues of ROCm/ROCm show them as installed).
"""

from __future__ import annotations

import re

from swarmctl.gpu.catalogue import Tables, version_key
from swarmctl.gpu.model import Package, Reason

GUIDE = "AMD GPU Driver documentation 30.30 and ROCm 7.2 installation on Linux, Ubuntu native installation"
ORIGIN = "repo.radeon.com"
"""As AMD's repositories call themselves: they go before the archive of the distribution, which has packages of the same
names and higher versions (ROCm installation guide)."""
CODENAMES = {"22.04": "jammy", "24.04": "noble"}
"""Ubuntu's releases as the repositories call them."""
DKMS = "amdgpu-dkms"
CORE = "rocm-core"
TOOLKIT = "amd-container-toolkit"
PACKAGED = re.compile(r"(?:[0-9]{1,9}:)?(?P<module>[0-9]{1,4}(?:\.[0-9]{1,4}){2})\.(?P<release>[0-9]{8})(?:-.*)?")
"""A version of `amdgpu-dkms`."""


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


def packages(version: str, branch: str, tables: Tables) -> tuple[Package, ...]:
    """The kernel module with its firmware, ROCm's runtime without compilers and libraries, and the container toolkit.

    The versions of `amd-smi-lib` and of the toolkit are not known beforehand; their repositories have one each.
    """
    facts = tables.drivers.branches[branch]
    release, rocm = code(version), rocm_code(facts.rocm)
    return (
        Package(DKMS, f"1:{facts.module}.{release}", lockstep=True),
        Package(f"{DKMS}-firmware", f"{'.'.join(map(str, _whole(version)))}.0.{release}", lockstep=True),
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
