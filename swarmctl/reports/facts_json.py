"""`swarmctl/facts/v1`; docs/json.md names every field."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from swarmctl.hosts.system import SystemFacts
from swarmctl.operations.facts import NodeFacts, Report, accelerators


def to_json(report: Report) -> dict[str, Any]:
    """The document."""
    return {
        "schema": "swarmctl/facts/v1",
        "stack": report.stack,
        "nodes": [_node(node, report.now) for node in report.nodes],
    }


def _node(node: NodeFacts, now: float) -> dict[str, Any]:
    known = node.facts is not None
    state = "unreadable" if node.error else "missing" if not known else "kept" if node.kept else "read"
    moment = datetime.fromtimestamp(node.read, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "node": node.name,
        "pool": node.pool,
        "backend": node.backend,
        "state": state,
        "error": node.error.message if node.error else None,
        "hint": node.error.hint if node.error else None,
        "read": moment if known else None,
        "age": max(0, round(now - node.read)) if known else None,
        "clockOffset": node.offset,
        "facts": _facts(node.facts) if node.facts else None,
    }


def _facts(found: SystemFacts) -> dict[str, Any]:
    return {
        "hostname": found.hostname,
        "bootId": found.boot_id,
        "now": found.now,
        "os": {
            "id": found.os.id,
            "versionId": found.os.version_id,
            "codename": found.os.codename,
            "name": found.os.name,
        },
        "kernel": found.kernel,
        "cpu": {
            "architecture": found.cpu.architecture,
            "model": found.cpu.model,
            "cores": found.cpu.cores,
            "threads": found.cpu.threads,
            "sockets": found.cpu.sockets,
        },
        "memory": {"total": found.memory.total, "swap": found.memory.swap},
        **_devices(found),
        "secureBoot": found.secure_boot,
        "virtualisation": {
            "machine": found.virtualisation.machine,
            "container": found.virtualisation.container,
            "vendor": found.virtualisation.vendor,
            "product": found.virtualisation.product,
        },
        "tee": {
            name: {"cpu": one.cpu, "enabled": one.enabled, "capacity": one.capacity} for name, one in found.tee.items()
        },
        "teeGuest": found.tee_guest,
        "clock": {"synchronised": found.clock.synchronised, "services": list(found.clock.services)},
        "init": found.init,
        "cgroups": found.cgroups,
    }


def _devices(found: SystemFacts) -> dict[str, Any]:
    return {
        "disks": None
        if found.disks is None
        else [
            {
                "name": disk.name,
                "size": disk.size,
                "rotational": disk.rotational,
                "model": disk.model,
                "transport": disk.transport,
                "used": disk.used,
            }
            for disk in found.disks
        ],
        "nics": None
        if found.nics is None
        else [
            {
                "name": nic.name,
                "mac": nic.mac,
                "up": nic.up,
                "mtu": nic.mtu,
                "kind": nic.kind,
                "speed": nic.speed,
                "driver": nic.driver,
                "pci": nic.pci,
                "addresses": list(found.addresses.get(nic.name, ())),
            }
            for nic in found.nics
        ],
        "pci": None
        if found.pci is None
        else [
            {"address": one.address, "vendor": one.vendor, "device": one.device, "class": one.kind} for one in found.pci
        ],
        "gone": [
            {"address": one.address, "vendor": one.vendor, "device": one.device, "class": one.kind}
            for one in found.gone
        ],
        "accelerators": [
            {
                "address": one.device.address,
                "vendor": one.vendor,
                "device": one.device.device,
                "model": one.card.name if one.card else None,
                "confidential": one.card.confidential if one.card else None,
            }
            for one in accelerators(found)
        ],
        "modules": None if found.modules is None else dict(found.modules),
        "nvidiaModule": found.nvidia_module,
        "switchManagement": found.switch_management,
        "iommu": None
        if found.iommu is None
        else {"units": list(found.iommu.units), "groups": dict(found.iommu.groups), "modes": list(found.iommu.modes)},
    }
