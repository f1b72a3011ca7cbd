"""What must be of the driver's version to the last digit, or it refuses to work. Pure.

Fabric Manager stops with `fabric manager NVIDIA GPU driver interface version … don't match`, and every CUDA program
then with `cudaErrorSystemNotReady` (802). That is why it is compared before anything is installed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from swarmctl.gpu.model import Package, Refusal

TOGETHER = ("nvidia-fabricmanager", "nvidia-fabric-manager", "libnvidia-nscq", "libnvsdm", "nvidia-imex")
"""Names of NVIDIA's packages that are released with each driver, without the branch that some carry."""
NAMED = re.compile(rf"(?:{'|'.join(TOGETHER)})(?:-[0-9]{{3}})?")
LONGEST = 40
"""Characters of a version that are shown; a host may print anything."""
RELEASE = "release the hold on the host"
SOURCE = "NVIDIA Fabric Manager User Guide 2.3; NVIDIA gpu-driver-container, install.sh"


def upstream(version: str) -> str:
    """A package manager's version without epoch and revision: `3:580.95.05-1.el9` → `580.95.05`."""
    return version.rpartition(":")[2].partition("-")[0]


def mismatches(version: str, packages: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Of `packages` (name → version as the package manager has it) those that can't run with driver `version`."""
    return tuple(
        (name, upstream(there))
        for name, there in sorted(packages.items())
        if NAMED.fullmatch(name) and upstream(there) != version
    )


def held_back(
    version: str, packages: Iterable[Package], held: Mapping[str, str], drives: Callable[[str], bool]
) -> list[Refusal]:
    """Refusals for what the host holds at another version than is decided; `drives` tells what could be declared."""
    wrong = {name: (there, version) for name, there in mismatches(version, held)}
    lockstep = {package.name: package.version or "" for package in packages if package.lockstep}
    wrong |= {name: (there, wanted) for name, there, wanted in contrary(lockstep, held)}
    return [
        Refusal(
            "lockstep-held",
            f"{name} is held at {there[:LONGEST]}, and must be {wanted}{' as the driver' if wanted == version else ''}",
            _mend(there, drives),
            SOURCE,
            there=RELEASE,
        )
        for name, (there, wanted) in sorted(wrong.items())
    ]


def contrary(wanted: Mapping[str, str], held: Mapping[str, str]) -> tuple[tuple[str, str, str], ...]:
    """Of `held` (as in `mismatches`) what has another version than is `wanted` (by name; empty for any), both as
    upstream has them."""
    return tuple(
        (name, upstream(held[name]), upstream(version))
        for name, version in sorted(wanted.items())
        if version and name in held and upstream(held[name]) not in ("", upstream(version))
    )


def _mend(there: str, drives: Callable[[str], bool]) -> str:
    return f"{RELEASE}, or declare version {there} with driver `auto`" if drives(there) else RELEASE
