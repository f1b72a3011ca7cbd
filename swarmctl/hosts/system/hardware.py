"""Processors, memory and disks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from swarmctl.hosts.system.model import Cpu, Disk, Memory
from swarmctl.hosts.system.text import MOST, bounded, flag, name, number, pairs, rows, whole, words

SECTOR = 512
"""Bytes that `/sys/block/*/size` counts in, whatever the disk's own sectors are (Linux, Documentation/ABI)."""
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_SKIPPED = ("loop", "ram", "zram", "sr", "fd", "dm-", "md", "nbd")
"""What `/sys/block` lists beside disks; lsblk tells what is what by its type."""


def cpu(parts: Mapping[str, str], architecture: str) -> Cpu:
    """From /proc/cpuinfo, lscpu and the topology in sysfs."""
    said = pairs(parts["lscpu"], ":").get("Model name") or pairs(parts["cpu"], ":").get("model name")
    model = words(said)
    siblings = {line for line in parts["siblings"].splitlines() if _counted(line)}
    packages = {number(line) for line in parts["packages"].splitlines()}
    # Some ARM kernels know of no packages and write -1.
    sockets = len(packages) if packages and None not in packages else None
    return Cpu(
        architecture,
        model if model not in ("", "-") else None,
        len(siblings) or None,
        _counted(parts["online"]),
        sockets,
    )


def flags(parts: Mapping[str, str]) -> frozenset[str] | None:
    """Of the first processor of an x86 machine; None on others."""
    said = pairs(parts["cpu"], ":").get("flags")
    return frozenset(said.split()) if said is not None else None


def _counted(text: str) -> int | None:
    """How many are in a list such as `0-3,8`; None for what is none."""
    total = 0
    for one in text.strip().split(","):
        match = _RANGE.fullmatch(one)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            return None
        total += int(match[2] or match[1]) - int(match[1]) + 1
    return total


def memory(parts: Mapping[str, str]) -> Memory:
    """From /proc/meminfo, whose kB have 1024 bytes."""
    said = pairs(parts["memory"], ":")

    def size(key: str) -> int | None:
        kilobytes = number(said.get(key, "").removesuffix(" kB"))
        return None if kilobytes is None else kilobytes * 1024

    return Memory(size("MemTotal"), size("SwapTotal"))


def disks(parts: Mapping[str, str]) -> tuple[Disk, ...] | None:
    """From `lsblk -J`, or else from /sys/block; None where neither told. Raises TooMany."""
    try:
        listed = json.loads(parts["lsblk"])["blockdevices"]
        found = [disk for one in whole(listed[: MOST + 1], "disks") if (disk := _listed(one)) is not None]
    except (ValueError, RecursionError, KeyError, TypeError):
        bounded(parts["block"], "disks")
        found = list(_from_sysfs(parts["block"]))
        if not parts["block"].strip():
            return None
    return tuple(sorted(found, key=lambda disk: disk.name))


def _listed(one: Any) -> Disk | None:
    if not isinstance(one, dict) or one.get("type") != "disk":
        return None
    size = number(one.get("size"))
    if not name(one.get("name")) or not size or one["name"].startswith("zram"):
        return None
    used = any(one.get(key) for key in ("children", "fstype", "mountpoint"))
    return Disk(
        one["name"], size, flag(one.get("rota")), words(one.get("model")), name(one.get("tran")), used=bool(used)
    )


def _from_sysfs(part: str) -> Iterator[Disk]:
    for called, sectors, turns, model, used in rows(part, 5):
        size = number(sectors)
        if name(called) and size and not called.startswith(_SKIPPED):
            # A file system on the disk as a whole does not show there.
            yield Disk(called, size * SECTOR, flag(turns), words(model), used=True if used else None)
