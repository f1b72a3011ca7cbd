"""AMD's packages and programs, from a decision: names, versions and what needs what as in repo.radeon.com."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from swarmctl.gpu.amd import code, packaged
from swarmctl.gpu.model import Decision, Package
from tests.debian.build import Deb
from tests.rpms.build import Rpm

from .programs import BUILT, RUN

Variant = Literal["", "mismatch", "agents"]
"""How a release fails: DKMS has built another module than it says, or programs of ROCm don't find the cards."""
REVISION = "1.22.04"
ROCM = "/usr/lib/standin/rocm"
BLIND = "/usr/lib/standin/blind"

SMI = """#!/bin/sh
# A stand-in for amd-smi: it answers where a module is loaded.
[ -f {run}/amdgpu ] || {
  echo 'ERROR:root:Unable to detect any GPU devices, check amdgpu version and module status (sudo modprobe amdgpu)'
  exit 255; }
case "$*" in
  "version --json")
    echo 'WARNING: User is missing the following required groups: render, video'
    printf '[{"tool": "AMDSMI Tool", "version": "26.2.2", "amdsmi_library_version": "26.2.2", "rocm_version": "%s", '\\
      "$(cat {rocm})"
    printf '"amdgpu_version": "%s", "amd_hsmp_driver_version": "N/A"}]\\n' "$(head -n 1 {run}/amdgpu)" ;;
  "list --json")
    number=0; first='['
    for card in $(lspci | sed -n 's/^\\([0-9a-f:.]*\\) Processing accelerators.*/\\1/p'); do
      printf '%s\\n    {"gpu": %d, "bdf": "%s", "uuid": "x", "partition_id": 0}' "$first" "$number" "$card"
      number=$((number + 1)); first=','
    done
    printf '\\n]\\n' ;;
  *) echo "not known to this stand-in: $*" >&2; exit 2 ;;
esac
""".replace("{run}", RUN).replace("{rocm}", ROCM)
INFO = """#!/bin/sh
# A stand-in for rocminfo: a paragraph for the processor and for each card.
[ -f {run}/amdgpu ] || { echo 'ROCk module is NOT loaded, possibly no GPU devices'; exit 1; }
echo '  Device Type:             CPU'
[ ! -e {blind} ] || exit 0
lspci | grep 'Processing accelerators' | while read -r _; do echo '  Device Type:             GPU'; done
""".replace("{run}", RUN).replace("{blind}", BLIND)
CTK = """#!/bin/sh
# A stand-in for `amd-ctk cdi generate`.
for word; do case $word in --output=*) file=${word#--output=} ;; esac; done
printf '{"cdiVersion": "0.6.0", "kind": "amd.com/gpu", "devices": [{"name": "0"}, {"name": "all"}]}\\n' >"$file"
"""


def debs(decision: Decision, variant: Variant = "") -> list[Deb]:
    """Every package that is decided."""
    return [_deb(package, decision, variant) for package in decision.packages]


def rpms(decision: Decision, build: str, variant: Variant = "") -> list[Rpm]:
    """The same for dnf: the module and its firmware are of one build."""
    unknown = {"amd-smi-lib": "26.2.2.70204-93.el9", "amd-container-toolkit": "1.2.0-1"}
    made = []
    for package in decision.packages:
        release = f"{build}.el9" if "dkms" in package.name else "93.el9"
        version = f"{package.version}-{release}" if package.version else unknown[package.name]
        needed = {"amdgpu-dkms": "amdgpu-dkms-firmware", "rocm-hip-runtime": "rocm-core"}.get(package.name)
        made.append(Rpm(package.name, version, (needed,) if needed else (), files=_files(package, decision, variant)))
    return made


def place(deb: Deb, decision: Decision, rocm: str) -> str:
    """The repository that a package of that decision stands in, below the vendor's address."""
    if deb.name.startswith("amdgpu-dkms"):
        return f"amdgpu/{decision.version}/ubuntu"
    return "amd-container-toolkit/apt/1.2.0" if "toolkit" in deb.name else f"rocm/apt/{rocm}"


def _deb(package: Package, decision: Decision, variant: Variant) -> Deb:
    unknown = {"amd-smi-lib": "26.2.2.70204-93~22.04", "amd-container-toolkit": "1.2.0"}
    version = f"{package.version}-{REVISION}" if package.version else unknown[package.name]
    needed = {
        "amdgpu-dkms": "amdgpu-dkms-firmware",
        "rocm-hip-runtime": "rocm-core",
    }.get(package.name)
    whose = next((one.version for one in decision.packages if one.name == needed), "")
    depends = f"{needed} (= {whose}-{REVISION})" if needed else ""
    return Deb(package.name, version, depends, files=_files(package, decision, variant))


def _files(package: Package, decision: Decision, variant: Variant) -> Mapping[str, str]:
    match package.name:
        case "amdgpu-dkms":
            own = packaged(package.version or "")[0] or package.version
            module = "999.1.1" if variant == "mismatch" else own
            return {BUILT: f"{module}\nOF-{code(decision.version)}\n"}
        case "amdgpu-dkms-firmware":
            return {BLIND: ""} if variant == "agents" else {}
        case "amd-smi-lib":
            return {"/opt/rocm/bin/amd-smi": SMI, ROCM: "7.2.4\n"}
        case "rocminfo":
            return {"/opt/rocm/bin/rocminfo": INFO}
        case "amd-container-toolkit":
            return {"/usr/bin/amd-ctk": CTK}
    return {}


def pci(cards: int = 2) -> str:
    """What `lspci -nn -D` prints of a machine with MI300X, composed from published ids."""
    return "".join(
        f"0000:{0x10 + number:02x}:00.0 Processing accelerators [1200]: "
        "Advanced Micro Devices, Inc. [AMD/ATI] Aqua Vanjaram [Instinct MI300X] [1002:74a1]\n"
        for number in range(cards)
    )
