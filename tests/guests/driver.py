"""NVIDIA's packages for a guest: as `tests/gpu/standins`, with what a kernel and a systemd of its own allow beside.

The kernel module is a real one by the name of nvidia: the guest's own `tun`, with another name and version. The
packages with DKMS put it where depmod finds it; it is loaded by modprobe and in use as long as somebody holds its
device. Daemons are units of systemd's, by their real names.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from swarmctl.gpu.model import Decision
from tests.debian.build import Deb
from tests.gpu.standins import packages, programs
from tests.gpu.standins.packages import Variant

LOADED = "/sys/module/nvidia/version"
BUILT = "/var/lib/standin"
"""What DKMS would build: `VERSION.FLAVOUR.ko`."""
DEVICE = "/dev/net/tun"
"""Of the module: who has it open uses it."""
PCI = "/etc/standin-pci"

_LSPCI = f"#!/bin/sh\n# A stand-in: the cards that a test has put there.\ncat {PCI}\n"
_CAT = f"""#!/bin/sh
# A stand-in for one file of the kernel's: what the module that is loaded says of itself.
case "$*" in
  /proc/driver/nvidia/version)
    [ -e {LOADED} ] || exit 1
    read -r flavour </sys/module/nvidia/srcversion
    if [ "$flavour" = OPEN ]; then kind='Open Kernel Module for x86_64'; else kind='x86_64 Kernel Module'; fi
    echo "NVRM version: NVIDIA UNIX $kind  $(/bin/cat {LOADED})  Release Build" ;;
  *) exec /bin/cat "$@" ;;
esac
"""
_UNITS: Mapping[str, tuple[str, str]] = {
    "nvidia-persistenced": ("nvidia-persistenced.service", "/usr/bin/nvidia-persistenced --verbose --no-daemonize"),
    "nvidia-fabricmanager": (
        "nvidia-fabricmanager.service",
        "/usr/bin/nv-fabricmanager -c /usr/share/nvidia/nvswitch/fabricmanager.cfg",
    ),
    "datacenter-gpu-manager-4-core": ("nvidia-dcgm.service", "/usr/bin/nv-hostengine -n"),
    "datacenter-gpu-manager-exporter": ("nvidia-dcgm-exporter.service", "/usr/bin/dcgm-exporter"),
    "nvidia-container-toolkit-base": (
        "nvidia-cdi-refresh.service",
        "/bin/sh -c 'mkdir -p /var/run/cdi; /usr/bin/nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml'",
    ),
}


def kernel() -> Deb:
    """What is on the machine before any driver."""
    return Deb("standin-kernel", "1.0-1", files={"/usr/local/bin/lspci": _LSPCI, "/usr/local/bin/cat": _CAT})


def debs(decision: Decision, variant: Variant = "") -> list[Deb]:
    """Every package that is decided; see `standins.packages.debs`."""
    return [_real(deb) for deb in packages.debs(decision, variant)]


def _real(deb: Deb) -> Deb:
    files = dict(deb.files)
    for path, text in files.items():
        for loaded in (f"{programs.RUN}/loaded", "$run/loaded"):
            text = text.replace(loaded, LOADED)
        files[path] = text
    if "dkms" in deb.name:
        flavour = "open" if "open" in deb.name else "proprietary"
        at = "/lib/modules/$(uname -r)/updates/dkms"
        built = f"{BUILT}/{deb.version.partition('-')[0]}.{flavour}.ko"
        scripts = {
            "postinst": f"mkdir -p {at}; cp {built} {at}/nvidia.ko; depmod",
            "prerm": f"rm -f {at}/nvidia.ko; depmod",
        }
        return replace(deb, files=files, scripts=scripts)
    if deb.name in _UNITS:
        unit, command = _UNITS[deb.name]
        once = "Type=oneshot\n" if "refresh" in unit else ""
        text = f"[Service]\n{once}ExecStart={command}\n[Install]\nWantedBy=multi-user.target\n"
        files[f"/usr/lib/systemd/system/{unit}"] = text
        if once:
            path = "[Path]\nPathChanged=/usr/bin/nvidia-ctk\n[Install]\nWantedBy=multi-user.target\n"
            files["/usr/lib/systemd/system/nvidia-cdi-refresh.path"] = path
    return replace(deb, files=files)


def equip(host: Any, versions: Iterable[str]) -> None:
    """Put the bus there, and for each version what DKMS would make an open module of."""
    host.put(PCI, packages.pci().encode())
    donor = host.run(["sh", "-c", "cat /lib/modules/$(uname -r)/kernel/drivers/net/tun.ko"]).stdout
    host.run(["mkdir", "-p", BUILT])
    for version in versions:
        host.put(f"{BUILT}/{version}.open.ko", module(donor, version, "open"))


def module(donor: bytes, version: str, flavour: str) -> bytes:
    """The guest's `tun` by another name: in its description, and where the kernel keeps a module's name."""
    with tempfile.TemporaryDirectory() as made:
        file, info = Path(made) / "module", Path(made) / "info"
        file.write_bytes(donor)
        subprocess.run(["objcopy", "--dump-section", f".modinfo={info}", str(file), "/dev/null"], check=True)
        kept = [
            line
            for line in info.read_bytes().split(b"\0")
            if line.partition(b"=")[0] in (b"license", b"depends", b"retpoline", b"vermagic")
        ]
        lines = [b"name=nvidia", f"version={version}".encode(), f"srcversion={flavour.upper()}".encode(), *kept]
        info.write_bytes(b"\0".join([*lines, b""]))
        subprocess.run(["objcopy", "--update-section", f".modinfo={info}", str(file)], check=True)
        # `struct module` begins its name, of 56 bytes, behind a state and a list.
        return file.read_bytes().replace(b"tun" + bytes(53), b"nvidia" + bytes(50))
