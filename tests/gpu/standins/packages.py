"""The packages, from a decision: the same names and versions that a real repository has."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Literal

from swarmctl.gpu.model import Decision, Package
from tests.debian.build import Deb
from tests.rpms.build import Rpm

from . import programs

Variant = Literal["", "mismatch", "fabric", "xid"]
"""How a version fails: its module is not the one of its libraries, its Fabric Manager is another, a card reports an
XID."""
OTHER = "999.1.1"
KMODS = frozenset({"kmod-nvidia-open-dkms", "kmod-nvidia-latest-dkms"})
UNNAMED = "libnvidia-ptxjitcompiler1"
"""What another package needs in its own version, and no decision names: real packages need many of that kind."""
NATIVE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "amd64")
FOREIGN = "i386"
"""Libraries for 32-bit programs are of the own ones' version, or apt installs neither."""
MODULE = """---
document: modulemd
version: 2
data:
  name: nvidia-driver
  stream: {0}
  version: 20261101
  context: c{0}
  arch: noarch
  summary: driver of a test
  description: driver of a test
  license: {{module: [none]}}
  artifacts:
    rpms:
{1}
...
"""


def debs(decision: Decision, variant: Variant = "") -> list[Deb]:
    """Every package that is decided, and the one that pins the branch."""
    made = [_deb(package, decision, variant) for package in decision.packages]
    both = {"Multi-Arch": "same"}
    made += [Deb(UNNAMED, f"{decision.version}-1", architecture=of, more=both) for of in (NATIVE, FOREIGN)]
    if decision.pin:
        prefers = f"Package: *nvidia* cuda-drivers*\nPin: version {decision.branch}.*\nPin-Priority: 1000\n"
        made.append(Deb(decision.pin.what, "1-1", files={f"/etc/apt/preferences.d/{decision.pin.what}": prefers}))
    return made


def kernel() -> Deb:
    """What is on the machine before any driver."""
    return Deb("standin-kernel", "1.0-1", files=dict(programs.KERNEL))


def headers(release: str = programs.RELEASE) -> Deb:
    """What DKMS builds with for one kernel."""
    return Deb(f"linux-headers-{release}", "1-1", files={f"/lib/modules/{release}/build/Makefile": ""})


def _deb(package: Package, decision: Decision, variant: Variant) -> Deb:
    version = f"{package.version or '1.0'}-1"
    conflicts = {"Conflicts": _other(package.name)} if "dkms" in package.name else {}
    depends = f"{UNNAMED} (= {version})" if package.name == "nvidia-driver-cuda" else ""
    return Deb(package.name, version, depends, files=_files(package, decision, variant), more=conflicts)


def _other(name: str) -> str:
    return "nvidia-kernel-dkms" if "open" in name else "nvidia-kernel-open-dkms"


def _files(package: Package, decision: Decision, variant: Variant) -> Mapping[str, str]:
    version = decision.version
    match package.name:
        case "nvidia-kernel-open-dkms" | "nvidia-kernel-dkms" | "kmod-nvidia-open-dkms" | "kmod-nvidia-latest-dkms":
            flavour = "open" if "open" in package.name else "proprietary"
            built = OTHER if variant == "mismatch" else version
            faulty = {programs.XID: "79\n"} if variant == "xid" else {}
            return {programs.MODULE: f"{built}\n{flavour}\n", **faulty}
        case "nvidia-driver-cuda":
            return {programs.LIBRARY: f"{version}\n", "/usr/bin/nvidia-smi": programs.SMI}
        case "nvidia-fabricmanager":
            own = OTHER if variant == "fabric" else version
            return {"/usr/bin/nv-fabricmanager": programs.FABRIC.replace("OWN", own)}
        case "nvidia-persistenced":
            return {"/usr/bin/nvidia-persistenced": programs.DAEMON}
        case "datacenter-gpu-manager-4-core":
            return {"/usr/bin/nv-hostengine": programs.DAEMON, "/usr/bin/dcgmi": programs.DCGMI}
        case "datacenter-gpu-manager-exporter":
            default = "# GPU\nDCGM_FI_DEV_GPU_TEMP, gauge, temperature\n# DCGM_FI_DEV_ECC_SBE_VOL_TOTAL, counter, off\n"
            return {"/usr/bin/dcgm-exporter": programs.DAEMON, "/etc/dcgm-exporter/default-counters.csv": default}
        case "nvidia-container-toolkit-base":
            return {"/usr/bin/nvidia-ctk": programs.CTK}
    return {}


def rpms(decision: Decision, variant: Variant = "") -> list[Rpm]:
    """The same for dnf, with the epochs and releases that NVIDIA's have."""
    made = [Rpm(UNNAMED, f"3:{decision.version}-1.el9")]
    for package in decision.packages:
        epoch = "3:" if package.lockstep else ""
        version = f"{epoch}{(package.version or '1.0').rpartition(':')[2]}-1.el9"
        conflicts = tuple(KMODS - {package.name}) if package.name in KMODS else ()
        requires = (f"{UNNAMED} = {version}",) if package.name == "nvidia-driver-cuda" else ()
        made.append(Rpm(package.name, version, requires, files=_files(package, decision, variant), conflicts=conflicts))
    return made


def streams(*rpms: Rpm) -> str:
    """What the repository says of the module `nvidia-driver`: two streams for each branch, with its packages."""
    branches: dict[str, list[str]] = {}
    for rpm in rpms:
        epoch, _, version = rpm.version.rpartition(":")
        if epoch:
            named = f"{rpm.name}-{epoch}:{version}.noarch"
            for stream in ("open", "dkms"):
                branches.setdefault(f"{version.partition('.')[0]}-{stream}", []).append(named)
    return "".join(
        MODULE.format(branch, "\n".join(f"      - {one}" for one in named)) for branch, named in branches.items()
    )


def pci(cards: int = 2, switches: int = 4) -> str:
    """What `lspci -nn -D` prints of an HGX H100 board, composed from published ids; fewer cards keep tests short."""
    lines = [
        f"0000:{0x10 + number:02x}:00.0 3D controller [0302]: GH100 [H100 SXM5 80GB] [10de:2330] (rev a1)"
        for number in range(cards)
    ]
    lines += [
        f"0000:{0x80 + number:02x}:00.0 Bridge [0680]: GH100 [H100 NVSwitch] [10de:22a3] (rev a1)"
        for number in range(switches)
    ]
    return "".join(f"{line}\n" for line in lines)
