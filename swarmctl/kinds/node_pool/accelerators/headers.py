"""The kernel's headers, which DKMS builds a driver with: of the kernel that runs, and of those that come after it.

Packages of drivers only recommend them, and without them DKMS builds nothing and says so in a line that nobody sees.

Sources: NVIDIA Driver Installation Guide 610, Pre-installation Actions; ROCm 7.2, Installation prerequisites; Debian's
and Ubuntu's archives for the names of packages; Enterprise Linux's for those of rpm.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from swarmctl.hosts import packages
from swarmctl.hosts.packages import Packages
from swarmctl.kinds.node_pool.accelerators.errors import DriverImpossible
from swarmctl.kinds.node_pool.accelerators.machine import Machine

RELEASE = re.compile(r"[0-9][A-Za-z0-9._+~-]{0,100}")
"""As `uname -r` says it."""
SEVERAL = 4
"""Kernels that wait for a restart, at most."""
IMAGE = re.compile(r"linux-image-([a-z][a-z0-9.-]{1,60})")
"""What follows the newest kernel of its kind: linux-image-amd64, linux-image-generic-hwe-24.04."""
_LOOK = """
release=$(uname -r)
printf 'release %s\\n' "$release"
[ ! -e "/lib/modules/$release/build/Makefile" ] || echo there
{ echo "$release"; for at in /lib/modules/*/kernel; do [ ! -d "$at" ] || echo "$at"; done | cut -d / -f 4; } |
  sort -uV | awk -v now="$release" 'after { print } $0 == now { after = 1 }' | while read -r later; do
    [ -e "/lib/modules/$later/build/Makefile" ] || echo "later $later"
  done
"""


def bring(machine: Machine) -> None:
    """Have them there. Raises DriverImpossible where the repositories have none, `PackagesFailed` and its kin."""
    first, *rest = machine.script(_LOOK).text.splitlines() or [""]
    release = first.removeprefix("release ")
    if not RELEASE.fullmatch(release):
        raise DriverImpossible(
            f"{machine.name}: what kernel runs there can't be told (`uname -r`)",
            "see what that prints there; nothing was changed",
        )
    there = machine.installed()
    needed = "" if "there" in rest else of(there, release)
    later = [line.removeprefix("later ") for line in rest if line.startswith("later ")]
    kernels = [of(there, one) for one in later[:SEVERAL] if RELEASE.fullmatch(one)]
    spare = _spare(machine, there, needed, release, kernels)
    if needed:
        _install(machine, needed, release)
    if spare:
        try:
            machine.work_anew(machine.tools.install(spare))
        except packages.UnknownPackage:
            pass  # of a kernel that may run some day, or never
    if needed:
        # Where a driver is there already, only its module for this kernel is missing; what can't be built is told
        # when it is loaded.
        machine.script("! command -v dkms >/dev/null || dkms autoinstall >&2 || :\n", timeout=packages.SLOW)


def _install(machine: Machine, needed: str, release: str) -> None:
    try:
        machine.work_anew(machine.tools.install([needed]))
    except packages.UnknownPackage:
        raise DriverImpossible(
            f"{machine.name}: DKMS can't build a driver for its kernel {release}: no repository there has "
            f"{needed.replace('=', ' ')}",
            "install the distribution's current kernel there and restart into it, then apply again; "
            "no driver was changed",
        ) from None


def _spare(machine: Machine, there: Packages, needed: str, release: str, later: Sequence[str]) -> list[str]:
    """What is installed beside the headers that are `needed` now: those of `later` kernels that wait for a restart, and
    what follows kernels. Only what the repositories have: some images have no headers of their own, and some kernels
    are not split."""
    if there.manager == "dnf":
        return [*later]
    beside = [name.format(release) for name in machine.vendor.beside_kernel]
    spare = [*later, *following(there), *(name for name in beside if name not in there.installed)]
    offered = _offered(machine, [needed, *spare] if needed else spare)
    if needed and needed not in offered:
        try:
            machine.work(machine.tools.refresh())  # what it knows of its repositories may be old, or nothing yet
        except packages.PackagesFailed:
            return []
        offered = _offered(machine, spare)
    return [name for name in spare if name in offered]


def of(there: Packages, release: str) -> str:
    """The package with the headers of one kernel, as `install` takes it."""
    if there.manager != "dnf":
        return f"linux-headers-{release}"
    version, _, _ = release.rpartition(".")  # behind it stands the architecture
    return f"kernel-{'uek-' if 'uek' in release else ''}devel={version}"


def following(there: Packages) -> list[str]:
    """Packages that bring the headers of each kernel to come, where one does so for kernels themselves."""
    found = (IMAGE.fullmatch(name) for name in sorted(there.installed))
    names = [f"linux-headers-{match[1]}" for match in found if match]
    return [name for name in names if name not in there.installed]


def _offered(machine: Machine, names: Sequence[str]) -> set[str]:
    """Those of them that the repositories have, as far as the machine knows."""
    if not names:
        return set()
    script = f"for name in {' '.join(names)}; do apt-cache show $name >/dev/null 2>&1 && echo $name || :; done\n"
    return {*machine.script(script).text.split()} & {*names}
