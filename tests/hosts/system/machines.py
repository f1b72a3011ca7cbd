"""Readings of machines: recorded ones (`recorded/SOURCES.md`), and ones that are composed of published PCI ids."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from swarmctl.hosts.system import READING, SystemFacts
from swarmctl.hosts.system.parse import PARTS

RECORDED = Path(__file__).parent / "recorded"
NOW = 1_790_000_000
BOOT = "5d6d1a4e-8f5b-4d5b-9c11-0d2f6a3f9b10"
INTEL = "fpu sse2 lm constant_tsc tme sgx tdx_host_platform"
AMD = "fpu sse2 lm constant_tsc sme sev sev_es sev_snp"


def cpuinfo(model: str, flags: str) -> str:
    return f"processor\t: 0\nmodel name\t: {model}\nflags\t\t: {flags}\n\n"


def siblings(cores: int, *, threads: int = 2) -> str:
    """As the kernel numbers them: the second thread of a core comes after the first ones of all."""
    return "\n".join(",".join(str(core + cores * one) for one in range(threads)) for core in range(cores))


def disk(name: str, size: int, model: str = "", *, used: bool = False, tran: str = "nvme") -> dict[str, Any]:
    children = {"children": [{"name": f"{name}p1", "type": "part", "size": size}]} if used else {}
    return {"name": name, "type": "disk", "size": size, "rota": False, "tran": tran, "model": model, **children}


def lspci(devices: Iterable[tuple[str, str, str, str]]) -> str:
    """Lines of `lspci -nn -D`: address, class with its number, name, ids."""
    return "".join(f"{address} {kind}: {name} [{ids}] (rev a1)\n" for address, kind, name, ids in devices)


def cards(count: int, ids: str, *, first: int = 0x10, kind: str = "3D controller [0302]", domain: str = "0000") -> str:
    return lspci((f"{domain}:{first + n:02x}:00.0", kind, "NVIDIA Corporation Device", ids) for n in range(count))


MELLANOX = "Infiniband controller [0207]"
BARE: dict[str, str] = {
    "hostname": "node",
    "now": str(NOW),
    "boot": BOOT,
    "os": 'PRETTY_NAME="Ubuntu 24.04.3 LTS"\nID=ubuntu\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\n',
    "kernel": "6.8.0-60-generic",
    "architecture": "x86_64",
    "cpu": cpuinfo("Intel(R) Xeon(R) Platinum 8480C", INTEL),
    "online": "0-223",
    "siblings": siblings(112),
    "packages": "0\n1",
    "memory": "MemTotal:       2113456789 kB\nSwapTotal:             0 kB",
    "lsblk": json.dumps(
        {
            "blockdevices": [
                *(disk(f"nvme{n}n1", 3_840_755_982_336, "SAMSUNG MZWLO3T8HCLS") for n in range(8)),
                disk("nvme8n1", 1_920_383_410_176, "SAMSUNG MZ1L21T9HCLS", used=True),
            ]
        }
    ),
    "link": json.dumps(
        [
            {"ifname": "lo", "link_type": "loopback", "mtu": 65536, "flags": ["UP"]},
            {
                "ifname": "ens1f0np0",
                "link_type": "ether",
                "mtu": 9000,
                "address": "94:6d:ae:00:00:01",
                "flags": ["BROADCAST", "UP"],
                "addr_info": [
                    {"local": "203.0.113.10", "prefixlen": 24, "scope": "global"},
                    {"local": "fe80::1", "prefixlen": 64, "scope": "link"},
                ],
            },
        ]
    ),
    "net": "ens1f0np0\t94:6d:ae:00:00:01\tup\t9000\t400000\tmlx5_core\t0000:18:00.0",
    "pci": "bus",
    "modules": "there\nmlx5_core\nnf_tables",
    "builtin": "wireguard",
    "versions": "/sys/module/wireguard/version:1.0.0\n/sys/module/mlx5_core/version:24.10-1.1.4",
    "firmware": "acpi\ndmi\nefi\nmemmap",
    "secureboot": "   6   0   0   0   1",
    "iommu": "there\ndmar0\ndmar1",
    "groups": "3/devices/0000:10:00.0\n4/devices/0000:11:00.0",
    "modes": "DMA-FQ\nidentity",
    "virtualisation": "machine\tnone\ncontainer\tnone\nsys_vendor\tNVIDIA\nproduct_name\tDGXH100",
    "tee": "kvm_intel\tthere\ntdx\tY",
    "capacity": "sev 0\ntdx 63",
    "clock": "NTPSynchronized=yes",
    "daemons": "chronyd",
    "init": "booted\nsystemd",
    "cgroups": "2",
}
"""A machine with two Xeons, without accelerators."""


def output(**parts: str) -> bytes:
    """What the script prints on a machine like `BARE` but for these parts; `end` left out breaks it off."""
    said = {**BARE, **parts}
    return "".join(
        f"\n@@ {part}\n{said.get(part, '')}\n" for part in PARTS if said.get(part) != "(broken off)"
    ).encode()


def read(**parts: str) -> SystemFacts:
    return READING.parse(output(**parts), "n1")


AMD_PARTS = {
    "cpu": cpuinfo("AMD EPYC 9654 96-Core Processor", AMD),
    "tee": "sev\tY\nsev_es\tY\nsev_snp\tY\nkvm_amd\tthere\ndev/sev\tthere",
    "capacity": "sev 404\nsev_es 99",
}
ARM_PARTS = {
    "architecture": "aarch64",
    "cpu": "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n\n",
    "lscpu": "Model name:                           Neoverse-V2",
    "online": "0-71",
    "siblings": siblings(72, threads=1),
    "packages": "0",
    "tee": "",
    "capacity": "",
    "iommu": "there\nsmmu3.0x0000000011000000",
}
AZURE = {
    "virtualisation": "machine\tmicrosoft\ncontainer\tnone\nsys_vendor\tMicrosoft Corporation",
    "cpu": cpuinfo("AMD EPYC 7V12 64-Core Processor", "fpu sse2 lm hypervisor"),
    "iommu": "there",
    "groups": "",
    "tee": "",
    "capacity": "",
}
B200_BRIDGES = lspci((f"0000:{n:02x}:00.0", MELLANOX, "Mellanox Technologies MT2910", "15b3:1021") for n in range(4))
GB200 = "".join(cards(1, "10de:2941", first=1, domain=domain) for domain in ("0008", "0009", "0018", "0019")) + lspci(
    (f"{domain}:03:00.0", MELLANOX, "Mellanox Technologies MT2910 Family [ConnectX-7]", "15b3:1021")
    for domain in ("0000", "0002", "0010", "0012")
)
NVIDIA_OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder)\n"

MACHINES: dict[str, dict[str, str]] = {
    "bare": {},
    "a100": {"lspci": (RECORDED / "a100.lspci").read_text(), **AZURE},
    "hgx-h100": {
        "lspci": (RECORDED / "hgx-h100.lspci").read_text(),
        "modules": "there\nnvidia\nnvidia_uvm\nmlx5_core",
        "versions": "/sys/module/nvidia/version:580.95.05",
        "nvidia": NVIDIA_OPEN,
    },
    "h200": {
        "lspci": cards(8, "10de:2335") + cards(4, "10de:22a3", first=0x60, kind="Bridge [0680]"),
        **AMD_PARTS,
    },
    "b200": {
        "lspci": cards(8, "10de:2901") + B200_BRIDGES,
        "switches": "0000:00:00.0\t1\n0000:01:00.0\t0\n0000:02:00.0\t1\n0000:03:00.0\t1",
    },
    "gh200": {"lspci": cards(1, "10de:2342", first=1, domain="0009"), **ARM_PARTS},
    "gb200": {
        "lspci": GB200,
        **ARM_PARTS,
        "switches": "".join(f"{d}:03:00.0\t1\n" for d in ("0000", "0002", "0010", "0012")),
    },
    "mixed": {"lspci": cards(2, "10de:1db5") + cards(2, "10de:1eb8", first=0x40), "lsblk": "", "link": ""},
}
"""By what they are; composed but for `lspci` of the first two."""
