"""What the driver decision is made from and what comes of it, as plain data. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Literal

Flavour = Literal["open", "proprietary"]
"""Which kernel module drives the cards. AMD's is `open`; there is no other."""


@unique
class Source(StrEnum):
    """Where the packages come from."""

    VENDOR = "vendor"
    """The vendor's own apt or dnf repository, or a mirror of it."""
    DISTRIBUTION = "distribution"
    """The archive of the distribution itself."""


@unique
class FabricManager(StrEnum):
    """How NVIDIA's Fabric Manager runs on a host."""

    NONE = "none"
    CLASSIC = "classic"
    """NVSwitches up to NVLink 4 are devices of the host: A100, H100, H200."""
    NVLINK5 = "nvlink5"
    """It is started with NVLink's subnet manager, over Mellanox devices: B200, B300."""


@dataclass(frozen=True, slots=True, order=True)
class Device:
    """One PCI device as `lspci -nn -D` or sysfs tells it; numbers in lower-case hex without `0x`."""

    address: str
    """Domain, bus, device and function, such as `0000:17:00.0`."""
    vendor: str
    device: str
    kind: str = "0302"
    """Class and subclass: `0300` VGA, `0302` 3D controller, `0380` display, `1200` accelerator, `0680` bridge."""


IN_TREE = ("nova_drm", "nova_core", "nouveau")
"""The kernel's own drivers of NVIDIA's cards; each uses those after it. While one has a card, NVIDIA's module does not
load: "NVRM: GPU 0000:01:00.0 is already bound to nouveau" (NVIDIA open-gpu-kernel-modules)."""


@dataclass(frozen=True, slots=True)
class Host:
    """What is known of a host before any driver is there."""

    devices: tuple[Device, ...]
    cpu: str
    """As `uname -m` says it: `x86_64`, `aarch64`."""
    os: str
    """`ID` of os-release, such as `ubuntu`."""
    release: str
    """`VERSION_ID` of os-release, such as `24.04`."""
    secure_boot: bool | None
    """None where it could not be read."""
    switch_management: bool | None = None
    """Whether a Mellanox device's VPD says `SW_MNG`, which is how NVLink 5 switches are reached; None when not read."""
    held: Mapping[str, str] = field(default_factory=dict)
    """Packages that are held there (`apt-mark hold`, versionlock) by anyone but swarmctl: name → the package manager's
    version. What swarmctl holds itself it releases when it changes it."""
    in_tree: tuple[str, ...] = ()
    """Those of `IN_TREE` that are loaded."""
    gone: tuple[Device, ...] = ()
    """Devices that the kernel lists still, and that have left the bus; none of `devices`."""


@dataclass(frozen=True, slots=True)
class Cards:
    """What a pool declares of the cards of one model; the fields are those of `Wanted`."""

    model: str
    count: int | None = None
    mig: str | Mapping[str, int] = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a pool declares of one vendor's accelerators."""

    vendor: Literal["nvidia", "amd"]
    model: str = ""
    """Such as `H100` or `A100 SXM4 80GB`; empty for whatever is there."""
    count: int | None = None
    """PCI devices of that model on every host; None for whatever is there."""
    driver: str = "auto"
    """A branch such as `580`, or `auto`."""
    version: str = ""
    """An exact version of the branch; empty for the one of the table. The distribution's archive needs it."""
    kernel_module: Literal["auto", "open", "proprietary"] = "auto"
    mig: str | Mapping[str, int] = ""
    """Per card: profile → how many; or `balanced`, or `all-PROFILE` for as many as fit; empty for MIG off."""
    persistence: bool | None = None
    """Whether the driver stays loaded without a client; None for what the vendor advises. AMD's always does, and to
    declare that it should not is refused."""
    source: Source = Source.VENDOR
    beside: tuple[Cards, ...] = ()
    """Further models of the vendor in the same machine; all are run by one driver."""

    @property
    def cards(self) -> tuple[Cards, ...]:
        """Every model that is declared, this one first."""
        return (Cards(self.model, self.count, self.mig), *self.beside)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is as it was decided: one clause, and who says so."""

    about: str
    """What it explains: `branch`, `flavour`, `fabric manager`, `packages`, `mig` …"""
    clause: str
    source: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no decision: `code` never changes, `mend` says what to declare or do instead."""

    code: str
    reason: str
    mend: str
    source: str
    item: int = 0
    """Which of `Wanted.cards` it is about; the first one also where it is about all."""
    there: str = field(default="", compare=False)
    """What to do on the host instead, where the declaration is right for others."""


@dataclass(frozen=True, slots=True)
class Package:
    """One package to install and hold."""

    name: str
    version: str | None
    """Upstream version, with epoch where there is one; the packager's revision after it is not known at plan time.
    None for what has versions of its own and goes with any: it is held as installed."""
    lockstep: bool = False
    """Whether its version must be the driver's, to the last digit."""

    @property
    def apt(self) -> str:
        """As apt takes it, whatever the packager's revision is: `nvidia-imex=595.91.07-*`."""
        return f"{self.name}={self.version}-*" if self.version else self.name

    @property
    def dnf(self) -> str:
        """As dnf takes it, whatever the packager's release is: `nvidia-imex-595.91.07`."""
        return f"{self.name}-{self.version}" if self.version else self.name


@dataclass(frozen=True, slots=True)
class Pin:
    """What keeps the package manager on the branch, before anything is installed."""

    how: Literal["package", "module"]
    """An apt package that pins, or a dnf module stream."""
    what: str


@dataclass(frozen=True, slots=True)
class Partitions:
    """A MIG layout, resolved."""

    cards: Mapping[str, tuple[tuple[str, int], ...]]
    """PCI address → profiles with their number on that card."""
    total: Mapping[str, int]
    """Profile → devices on the whole host."""


Refusals = tuple[Refusal, ...]
"""At least one."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Everything that follows for one host."""

    vendor: str
    models: tuple[tuple[str, str], ...]
    """PCI address → model, of every card that the driver drives."""
    branch: str
    version: str
    flavour: Flavour
    fabric_manager: FabricManager
    repository: str
    """Such as `ubuntu2404/x86_64` of the vendor's, or `ubuntu 24.04` of the distribution."""
    pin: Pin | None
    packages: tuple[Package, ...]
    services: tuple[str, ...]
    """systemd units that run from now on."""
    modules: tuple[str, ...]
    """Kernel modules that must be loaded before the services, beside the driver's own."""
    partitions: Partitions | None
    counters: tuple[str, ...]
    """Fields that the exporter must have on, whether its own list has them or not."""
    manual: tuple[Reason, ...]
    """What nobody can do from afar."""
    warnings: tuple[Reason, ...]
    reasons: tuple[Reason, ...]

    @property
    def held(self) -> tuple[str, ...]:
        """Names of the packages to hold: all of them, since an upgrade of one alone breaks the others."""
        return tuple(package.name for package in self.packages)
