"""What the script printed → `SystemFacts`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from swarmctl.errors import WorldUnreadable
from swarmctl.hosts import first_look, readings
from swarmctl.hosts.first_look import Seen
from swarmctl.hosts.system import devices, hardware, holds, network, platform, script, tee
from swarmctl.hosts.system.model import SystemFacts
from swarmctl.hosts.system.text import TooMany, name, number, words

LIMIT = 16 * 1024 * 1024
"""Bytes of a reading; the parts together have less than half of that."""
PARTS = tuple(re.findall(r"(?m)^part ([a-z]+)", script.SCRIPT))
LATER = ("gone", "held", "look")
"""Parts that answers which were recorded earlier don't have; then nothing is known of that."""


def parse(output: bytes, host: str) -> SystemFacts:
    """What the script printed on the machine called `host`.

    Raises WorldUnreadable when it broke off, when it tells of more things than are taken, or when even host name, time,
    kernel or architecture make no sense; all else that makes none is unknown.
    """
    if len(output) > LIMIT:
        raise _unreadable(host, f"it printed more than {LIMIT >> 20} MiB")
    parts = readings.parts(output.decode("utf-8", "replace"))
    missing = [part for part in PARTS if part not in parts and part not in LATER]
    if missing:
        raise _unreadable(host, f"its answer broke off before {missing[0]!r}")
    hostname, now = words(parts["hostname"]), number(parts["now"].strip())
    kernel, architecture = name(parts["kernel"].strip()), name(parts["architecture"].strip())
    for what, value in {"host name": hostname, "time": now, "kernel": kernel, "architecture": architecture}.items():
        if not value:
            raise _unreadable(host, f"it told no {what} that makes sense")
    try:
        return _facts(parts, hostname, now or 0, kernel, architecture)
    except TooMany as error:
        raise _unreadable(
            host, f"it tells of {error}", "see what makes so many there, or take the machine out of the declaration"
        ) from None


def _facts(parts: Mapping[str, str], hostname: str, now: int, kernel: str, architecture: str) -> SystemFacts:
    flags = hardware.flags(parts)
    found = devices.devices(parts)
    answering, gone = devices.answering(parts, found)
    return SystemFacts(
        hostname=hostname,
        boot_id=platform.boot_id(parts),
        now=now,
        os=platform.os(parts),
        kernel=kernel,
        cpu=hardware.cpu(parts, architecture),
        memory=hardware.memory(parts),
        disks=hardware.disks(parts),
        nics=network.nics(parts),
        pci=answering,
        modules=devices.modules(parts),
        secure_boot=platform.secure_boot(parts),
        iommu=devices.iommu(parts),
        virtualisation=platform.virtualisation(parts, flags),
        tee=tee.tee(parts, flags),
        tee_guest=tee.guest(parts, flags),
        clock=platform.clock(parts),
        init=platform.init(parts),
        cgroups=platform.cgroups(parts),
        nvidia_module=devices.nvidia_module(parts),
        switch_management=devices.switch_management(parts, found),
        addresses=network.addresses(parts),
        held=holds.held(parts),
        seen=_seen(parts, now, architecture),
        gone=gone,
    )


def _seen(parts: Mapping[str, str], now: int, architecture: str) -> Seen | None:
    said = parts.get("look", "").strip()
    return first_look.parse(f"arch {architecture}\nclock {now}\n{said}".encode()) if said else None


def _unreadable(host: str, why: str, mend: str = "") -> WorldUnreadable:
    return WorldUnreadable(
        f"the system of {host} cannot be read: {why}",
        mend or f"see whether `swarmctl exec {host} -- sh -c 'uname -a; date'` prints what it should",
    )
