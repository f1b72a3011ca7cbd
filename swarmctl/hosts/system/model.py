"""A machine as such, below everything that swarmctl makes on it, as plain data.

None everywhere means that it could not be found out; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from swarmctl.gpu.model import Device
from swarmctl.hosts.first_look import Seen


@dataclass(frozen=True, slots=True)
class Os:
    """From os-release(5)."""

    id: str
    """Such as `ubuntu`; empty where there is no such file."""
    version_id: str
    """Such as `24.04`; empty where the distribution has no versions."""
    codename: str
    """Such as `noble`; empty where there is none."""
    name: str = ""
    """For people, such as `Ubuntu 24.04.3 LTS`."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """All processors together."""

    architecture: str
    """As `uname -m` says it: `x86_64`, `aarch64`."""
    model: str | None
    cores: int | None
    """That run now, all sockets together."""
    threads: int | None
    """That run now; what the kernel calls a CPU."""
    sockets: int | None


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes."""

    total: int | None
    """What the kernel has of it, which is a little less than what is plugged in."""
    swap: int | None = None
    """Of all swap that is on; 0 when it is off."""


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk as a whole; no loop devices, RAM disks and partitions."""

    name: str
    """Such as `nvme0n1`."""
    size: int
    """Bytes."""
    rotational: bool | None
    """As the kernel has it; virtual disks often say so without turning."""
    model: str = ""
    transport: str = ""
    """Such as `nvme`, `sata`, `sas`; empty where it has none, as virtual disks."""
    used: bool | None = None
    """Whether it has partitions or a file system, is mounted, or is part of something else."""


@dataclass(frozen=True, slots=True)
class Nic:
    """One network interface."""

    name: str
    mac: str
    """Hardware address; empty where it has none. Of InfiniBand it has 20 bytes."""
    up: bool
    mtu: int
    kind: str = ""
    """What kind of virtual interface it is, such as `veth`, `bridge`, `wireguard`; empty for others."""
    speed: int | None = None
    """Mbit/s, as it is negotiated; None without a link."""
    driver: str = ""
    """Kernel module, such as `mlx5_core`; empty where no device is behind it."""
    pci: str = ""
    """PCI address of the device behind it."""


@dataclass(frozen=True, slots=True)
class Iommu:
    """What stands between devices and memory."""

    units: tuple[str, ...]
    """Such as `dmar0`, `ivhd0`, `smmu3.0x…`; none where it is off or there is none."""
    groups: Mapping[str, int]
    """PCI address → group: devices of one group can be given away only together."""
    modes: tuple[str, ...] = ()
    """How the kernel's own drivers use it: `DMA`, `DMA-FQ`, `identity`."""

    @property
    def on(self) -> bool:
        """Whether devices are in groups."""
        return bool(self.groups)


@dataclass(frozen=True, slots=True)
class Virtualisation:
    """What the machine runs in."""

    machine: str | None
    """`none` for real hardware, or else `kvm`, `vmware`, `microsoft` … as systemd-detect-virt(1) has them."""
    container: str | None
    """`none`, or else `docker`, `lxc`, `systemd-nspawn` …"""
    vendor: str = ""
    """Of the machine, by its firmware."""
    product: str = ""
    """By its firmware, such as `DGXH100`."""


@dataclass(frozen=True, slots=True)
class Tee:
    """One kind of trusted execution environment."""

    cpu: bool | None
    """Whether the processor has it and the firmware lets the kernel see it."""
    enabled: bool | None
    """Whether this kernel can begin such guests (or enclaves) now."""
    capacity: int | None = None
    """Guests at the same time."""


@dataclass(frozen=True, slots=True)
class Clock:
    """How the machine keeps time."""

    synchronised: bool | None
    """Whether the kernel's clock is held in step with a source."""
    services: tuple[str, ...]
    """Those of them that run: `chronyd`, `systemd-timesyncd`, `ntpd`."""


TEES = ("sev", "sev-es", "sev-snp", "tdx", "sgx")


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """Everything that one reading tells."""

    hostname: str
    boot_id: str | None
    """Another one after every restart."""
    now: int
    """The machine's clock, Unix time in seconds."""
    os: Os
    kernel: str
    """As `uname -r` says it."""
    cpu: Cpu
    memory: Memory
    disks: tuple[Disk, ...] | None
    nics: tuple[Nic, ...] | None
    """Without the loopback."""
    pci: tuple[Device, ...] | None
    """By address, without `gone`. Empty on a machine without PCI; None where neither lspci nor sysfs told."""
    modules: Mapping[str, str] | None
    """Kernel modules that are loaded → their own version, empty where they have none (the kernel's own mostly)."""
    secure_boot: bool | None
    iommu: Iommu | None
    virtualisation: Virtualisation
    tee: Mapping[str, Tee]
    """By `TEES`."""
    tee_guest: str | None
    """Which of these this machine is a guest of; empty for none."""
    clock: Clock
    init: str
    """`systemd`, or the name of the first process; empty where that can't be seen."""
    cgroups: int | None
    """Version of the control groups that services are in: 1 or 2."""
    nvidia_module: str | None = None
    """`open` or `proprietary`: the loaded kernel module of NVIDIA's. None when none is loaded, or it can't be told."""
    switch_management: bool | None = None
    """Whether the VPD of one of the Mellanox devices says `SW_MNG`: it leads to NVLink 5 switches."""
    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Interface → its addresses with prefix length, link-local ones left out."""
    held: Mapping[str, str] = field(default_factory=dict)
    """Packages that a GPU driver's version depends on, and that others than swarmctl hold: name → version."""
    seen: Seen | None = None
    """What a stack that takes it over would find; None where it was not asked."""
    gone: tuple[Device, ...] = ()
    """PCI devices that the kernel lists still, and that answer nothing: they have left the bus."""
