"""What a machine boots with and runs in: its system, secure boot, virtualisation, init, control groups, clock."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping

from swarmctl.hosts.system.model import Clock, Os, Virtualisation
from swarmctl.hosts.system.text import name, pairs, rows, words

_BOOT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DAEMONS = {
    "chronyd": "chronyd",
    "ntpd": "ntpd",
    "ntpsec": "ntpd",
    "openntpd": "openntpd",
    "systemd-timesyn": "systemd-timesyncd",
}
"""First 15 characters of a process' name → what the service is called."""
_EFI_VARIABLE = re.compile(r"\s*[0-9]{1,3}(?:\s+[0-9]{1,3}){3}\s+([01])\s*")
"""Four bytes of attributes, then the value (Linux, Documentation/filesystems/efivarfs; UEFI 2.10, 3.3)."""


def os(parts: Mapping[str, str]) -> Os:
    """From os-release(5)."""
    said = {key: _unquoted(value) for key, value in pairs(parts["os"], "=").items()}
    codename = name(said.get("VERSION_CODENAME"))
    return Os(name(said.get("ID")), name(said.get("VERSION_ID")), codename, words(said.get("PRETTY_NAME")))


def _unquoted(value: str) -> str:
    try:
        found = shlex.split(value)
    except ValueError:
        return ""
    return found[0] if len(found) == 1 else ""


def boot_id(parts: Mapping[str, str]) -> str | None:
    """As random(4) has it."""
    said = parts["boot"].strip()
    return said if _BOOT_ID.fullmatch(said) else None


def secure_boot(parts: Mapping[str, str]) -> bool | None:
    """From the firmware's variable, or else from mokutil; without EFI there is none."""
    if match := _EFI_VARIABLE.fullmatch(parts["secureboot"]):
        return match[1] == "1"
    said = parts["mokutil"].splitlines()
    if "SecureBoot enabled" in said:
        return True
    if "SecureBoot disabled" in said:
        return False
    firmware = parts["firmware"].split()
    # Where it is empty, something hides the firmware, as containers do.
    return False if firmware and "efi" not in firmware else None


def virtualisation(parts: Mapping[str, str], flags: Collection[str] | None) -> Virtualisation:
    """As systemd-detect-virt tells it, or else from the processor's flag for it, which says only whether."""
    said = dict(rows(parts["virtualisation"], 2))
    machine = name(said.get("machine")) or None
    if machine is None and flags is not None:
        machine = "vm-other" if "hypervisor" in flags else "none"
    container = name(said.get("container")) or None
    return Virtualisation(machine, container, words(said.get("sys_vendor")), words(said.get("product_name")))


def clock(parts: Mapping[str, str]) -> Clock:
    """From timedatectl, or else from chronyc; which services run, from the names of processes."""
    said = pairs(parts["clock"], "=")
    synchronised = {"yes": True, "no": False}.get(said.get("NTPSynchronized", ""))
    leap = said.get("chrony", "").rpartition(",")[2]
    if synchronised is None and leap:
        synchronised = {"Normal": True, "Insert second": True, "Delete second": True, "Not synchronised": False}.get(
            leap
        )
    running = sorted({_DAEMONS[one] for one in parts["daemons"].splitlines() if one in _DAEMONS})
    return Clock(synchronised, tuple(running))


def init(parts: Mapping[str, str]) -> str:
    """`systemd` where that has booted the machine, as sd_booted(3) tells; or else the first process."""
    lines = parts["init"].split("\n")
    return "systemd" if lines[0] == "booted" else words(lines[0])


def cgroups(parts: Mapping[str, str]) -> int | None:
    """1 also where both are there: services are in those of version 1 then."""
    return {"1": 1, "2": 2}.get(parts["cgroups"].strip())
