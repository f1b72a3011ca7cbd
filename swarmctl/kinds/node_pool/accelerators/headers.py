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
IMAGE = re.compile(r"linux-image-([a-z][a-z0-9.-]{1,60})")
"""What follows the newest kernel of its kind: linux-image-amd64, linux-image-generic-hwe-24.04."""
_LOOK = """
release=$(uname -r)
printf 'release %s\\n' "$release"
[ ! -e "/lib/modules/$release/build/Makefile" ] || echo there
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
    wanted = _wanted(machine, there, needed, release)
    if not wanted:
        return
    try:
        machine.work_anew(machine.tools.install(wanted))
    except packages.UnknownPackage:
        if not needed:
            raise
        raise DriverImpossible(
            f"{machine.name}: DKMS can't build a driver for its kernel {release}: no repository there has "
            f"{needed.replace('=', ' ')}",
            "install the distribution's current kernel there and restart into it, then apply again; "
            "no driver was changed",
        ) from None
    if needed:
        # Where a driver is there already, only its module for this kernel is missing; what can't be built is told
        # when it is loaded.
        machine.script("! command -v dkms >/dev/null || dkms autoinstall >&2 || :\n", timeout=packages.SLOW)


def _wanted(machine: Machine, there: Packages, needed: str, release: str) -> list[str]:
    """What is to be installed. Beside what is `needed` only what the repositories have: some images have no headers of
    their own, and some kernels are not split."""
    must = [needed] if needed else []
    if there.manager == "dnf":
        return must
    beside = [name.format(release) for name in machine.vendor.beside_kernel]
    spare = [*following(there), *(name for name in beside if name not in there.installed)]
    offered = _offered(machine, [*must, *spare])
    if needed and needed not in offered:
        try:
            machine.work(machine.tools.refresh())  # what it knows of its repositories may be old, or nothing yet
        except packages.PackagesFailed:
            return must  # whose failure tells what is not there
        offered = _offered(machine, spare)
    return [*must, *(name for name in spare if name in offered)]


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
