"""Trusted execution: what the processor has, and what this kernel makes of it.

Flags as in Linux' arch/x86/include/asm/cpufeatures.h; parameters of the modules kvm_amd and kvm_intel; how many guests
are possible at a time from the control group `misc` (Documentation/admin-guide/cgroup-v2.rst).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from swarmctl.hosts.system.model import Tee
from swarmctl.hosts.system.text import flag, number, rows

_FLAGS = {"sev": "sev", "sev-es": "sev_es", "sev-snp": "sev_snp", "tdx": "tdx_host_platform", "sgx": "sgx"}
_MODULES = {"sev": "kvm_amd", "sev-es": "kvm_amd", "sev-snp": "kvm_amd", "tdx": "kvm_intel"}
_CAPACITY = {"sev": "sev", "sev-es": "sev_es", "tdx": "tdx"}
"""SEV-SNP's guests take SEV-ES' identifiers, and the control group counts them with those."""


def tee(parts: Mapping[str, str], flags: Collection[str] | None) -> dict[str, Tee]:
    """Every kind by its name. On what is no x86 there is none of them."""
    said = dict(rows(parts["tee"], 2))
    counted = {key: number(value) for key, _, value in (line.partition(" ") for line in parts["capacity"].splitlines())}
    found = {}
    for kind, name in _FLAGS.items():
        enabled = _enabled(kind, said)
        found[kind] = Tee(_has(name, enabled, flags), enabled, counted.get(_CAPACITY.get(kind, "")))
    return found


def _has(name: str, enabled: bool | None, flags: Collection[str] | None) -> bool | None:
    if enabled or (flags is not None and name in flags):
        return True
    if flags is None:
        return None
    # Kernels before 6.11 and 6.8 have these and no flag for them, so that its absence tells nothing there.
    certain = name not in ("sev_snp", "tdx_host_platform")
    return False if certain or not _maker(name, flags) else None


def _maker(name: str, flags: Collection[str]) -> bool:
    """Whether a processor with these flags could have it at all: SEV-SNP needs SEV-ES, TDX what encrypts memory."""
    return "sev_es" in flags if name == "sev_snp" else "tme" in flags


def _enabled(kind: str, said: Mapping[str, str]) -> bool | None:
    if kind == "sgx":
        return True if "dev/sgx_enclave" in said else None
    value = flag(said.get("tdx" if kind == "tdx" else kind.replace("-", "_")))
    if value is not None:
        return value
    # A module that is loaded and does not know of it can't do it; one that is not loaded tells nothing.
    return False if _MODULES[kind] in said else None


def guest(parts: Mapping[str, str], flags: Collection[str] | None) -> str | None:
    """What this machine is a guest of, by the device that guests have; empty where it is none."""
    said = dict(rows(parts["tee"], 2))
    if "dev/tdx_guest" in said or "dev/tdx-guest" in said or (flags and "tdx_guest" in flags):
        return "tdx"
    if "dev/sev-guest" in said:
        return "sev-snp"
    # Guests of SEV and SEV-ES have no device; no guest at all is certain only on real hardware.
    return "" if flags is not None and "hypervisor" not in flags else None
