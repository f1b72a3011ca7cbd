"""Names of packages, by vendor, source and operating system; all that belong together carry one version. Pure.

Sources: NVIDIA Driver Installation Guide 610 (compute-only installation); NVIDIA gpu-driver-container, install.sh of
debian13 and rhel9, for the lockstep set; Debian's and Ubuntu's archives. AMD's are in `amd`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from swarmctl.gpu.catalogue import Card, Tables
from swarmctl.gpu.model import FabricManager, Flavour, Package, Reason, Refusal, Source
from swarmctl.gpu.systems import PINNED, System

SOURCE = "NVIDIA Driver Installation Guide 610; NVIDIA gpu-driver-container, install.sh (2026)"
PLAIN = 580
"""The first branch whose Fabric Manager, NSCQ and IMEX have no branch in their names in NVIDIA's repositories."""
TOOLKIT = (
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
)
DCGM = "datacenter-gpu-manager-4"
EXPORTER = "datacenter-gpu-manager-exporter"


def driver(on: System, source: Source, branch: int, version: str, flavour: Flavour) -> tuple[Package, ...]:
    """NVIDIA's driver for computing, without what displays need."""
    is_open = flavour == "open"
    if source is Source.DISTRIBUTION and on.family == "debian":
        module = "nvidia-open-kernel-dkms" if is_open else "nvidia-kernel-dkms"
        together = _all(version, module, "libcuda1", "libnvidia-ml1", "nvidia-smi")
        # Debian builds these two from sources with versions of their own.
        return (*together, Package("nvidia-modprobe", None), Package("nvidia-persistenced", None))
    dkms = "-open" if is_open else ""
    if on.family == "ubuntu" and (source is Source.DISTRIBUTION or branch < PINNED):
        names = (f"libnvidia-compute-{branch}", f"nvidia-utils-{branch}", f"nvidia-compute-utils-{branch}")
        together = _all(version, f"nvidia-dkms-{branch}{dkms}", *names)
        return together if source is Source.DISTRIBUTION else (*together, *_all(version, "nvidia-modprobe"))
    tools = ("nvidia-modprobe", "nvidia-persistenced")
    if on.family == "ubuntu":
        return _all(version, f"nvidia-dkms{dkms}", "libnvidia-compute", *tools)
    if on.family == "debian":
        return _all(version, f"nvidia-kernel{dkms}-dkms", "nvidia-driver-cuda", *tools)
    return _all(version, f"kmod-nvidia-{'open' if is_open else 'latest'}-dkms", "nvidia-driver-cuda", *tools)


def around(
    on: System, source: Source, branch: int, version: str, mode: FabricManager, rack: bool
) -> tuple[Package, ...] | Refusal:
    """What the NVSwitches need, in lockstep with the driver. A host of an NVL72 `rack` needs IMEX, whose own switches
    are run from elsewhere; what other switches need comes beside it, as `services` has them both."""
    if mode is FabricManager.NONE and not rack:
        return ()
    if source is Source.DISTRIBUTION and (on.family == "debian" or rack or mode is FabricManager.NVLINK5):
        return Refusal(
            "fabric-unavailable",
            f"{on.family.capitalize()}'s archive does not have what the NVSwitches of this host need",
            "take the packages from the vendor's repository (`source: vendor`)",
            SOURCE,
        )
    suffix = f"-{branch}" if source is Source.DISTRIBUTION or branch < PLAIN else ""
    manager = "nvidia-fabric-manager" if not on.apt and branch < PLAIN else f"nvidia-fabricmanager{suffix}"
    exported = _all(version, f"nvidia-imex{suffix}") if rack else ()
    if mode is FabricManager.NONE:
        return exported
    packages = (*exported, *_all(version, manager, f"libnvidia-nscq{suffix}"))
    if mode is FabricManager.CLASSIC:
        return packages
    switch = _all(version, f"libnvsdm{suffix}") if on.cpu == "x86_64" else ()  # there is none for Arm
    return (*packages, *switch, Package("nvlsm", None), Package("infiniband-diags", None))


def tools(tables: Tables, branch: str, cards: Iterable[Card]) -> tuple[Package, ...]:
    """Container toolkit, DCGM and its exporter, from NVIDIA's repositories."""
    versions = tables.drivers.tools
    cuda = (
        12 if any(tables.catalogue.architecture(card).last for card in cards) else tables.drivers.branches[branch].cuda
    )
    return (
        *(Package(name, versions["nvidia-container-toolkit"]) for name in TOOLKIT),
        Package(f"{DCGM}-core", versions[DCGM]),
        Package(f"{DCGM}-cuda{cuda}", versions[DCGM]),
        Package(EXPORTER, versions[EXPORTER]),
    )


def services(mode: FabricManager, rack: bool, persistence: bool, with_tools: bool) -> tuple[str, ...]:
    """Units of NVIDIA's packages that run, in the order in which they start."""
    units = ["nvidia-persistenced.service"] if persistence else []
    if mode is not FabricManager.NONE:
        units.append("nvidia-fabricmanager.service")
    if rack:
        units.append("nvidia-imex.service")
    if with_tools:
        units += ["nvidia-cdi-refresh.path", "nvidia-cdi-refresh.service"]
        units += ["nvidia-dcgm.service", "nvidia-dcgm-exporter.service"]
    return tuple(units)


def why(packages: Sequence[Package], version: str, with_tools: bool) -> Reason:
    """The packages in one clause."""
    together = sum(package.lockstep for package in packages)
    clause = f"{together} packages are of version {version} to the last digit, and all {len(packages)} are held"
    if not with_tools:
        clause += "; container toolkit and DCGM are not in the distribution's archive"
    return Reason("packages", clause, SOURCE)


def _all(version: str, *names: str) -> tuple[Package, ...]:
    return tuple(Package(name, version, lockstep=True) for name in names)
