"""A machine's own facts: one script that reads them, and a parser for each topic. Pure: no I/O here."""

from __future__ import annotations

from swarmctl.hosts.readings import Reading
from swarmctl.hosts.system.model import (
    TEES,
    Clock,
    Cpu,
    Disk,
    Iommu,
    Memory,
    Nic,
    Os,
    SystemFacts,
    Tee,
    Virtualisation,
)
from swarmctl.hosts.system.parse import parse
from swarmctl.hosts.system.script import SCRIPT

__all__ = [
    "READING",
    "TEES",
    "Clock",
    "Cpu",
    "Disk",
    "Iommu",
    "Memory",
    "Nic",
    "Os",
    "SystemFacts",
    "Tee",
    "Virtualisation",
]

TIMEOUT = 60.0
"""Seconds; below one on a machine that answers, and some more where the VPD of many network cards is read."""
READING: Reading[SystemFacts] = Reading("system", ("sh", "-c", SCRIPT), parse, TIMEOUT)
