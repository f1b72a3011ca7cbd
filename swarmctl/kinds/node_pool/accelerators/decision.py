"""From a machine's facts and what its pool declares to the inputs of its driver, or to why there are none. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from swarmctl.gpu import amd
from swarmctl.gpu.catalogue import drivers
from swarmctl.gpu.decide import decide
from swarmctl.gpu.model import IN_TREE, Decision, FabricManager, Host, Refusal, Refusals, Source
from swarmctl.gpu.systems import FAMILIES
from swarmctl.kinds.node_pool.accelerators.places import same
from swarmctl.kinds.node_pool.accelerators.rules import wanted
from swarmctl.kinds.node_pool.accelerators.spec import Accelerator

if TYPE_CHECKING:
    from swarmctl.hosts.system import SystemFacts

VENDORS = {"nvidia": "https://developer.download.nvidia.com/compute/cuda/repos", "amd": "https://repo.radeon.com"}
KEY_FILES = {"nvidia": "3bf863cc.pub", "amd": "rocm/rocm.gpg.key"}
"""NVIDIA's is beside the packages, AMD's below the address of all of its repositories."""
FINGERPRINTS = {
    "nvidia": "EB693B3035CD5710E231E123A4B469963BF863CC",
    "amd": "CA8BB4727A47B4D09B4EE8969386B48A1A693C5C",
}
"""Of these keys, as public installers pin them: both in Canonical's Checkbox (virtualization.py); AMD's also in
ROCm/ROCm issue 854 and Azure's AKSFlexNode (AMD GPU setup). That it signs AMD's rpm packages, too, public listings of
ROCm 7.1.1 show, by the key's end."""
RPM_KEY_FILE = "D42D0685.pub"
RPM_FINGERPRINT = "610C7B14E068A878070DA4E99CD0A493D42D0685"
"""Of the key in NVIDIA's repositories of rpm packages: as it is pinned by two public builders that fetch it from those
for Enterprise Linux 8 and 9 (dyng's ci/cuda_toolkit.py, a mirror script for driver 580); its end is the key's name in
NVIDIA Driver Installation Guide, GPG Keys Used to Sign the Packages."""
SIGNED = {("debian", "12"), ("ubuntu", "22.04"), ("ubuntu", "24.04"), ("rhel", "8"), ("rhel", "9")}
"""System and release whose repository of NVIDIA's these keys sign."""


def known(facts: SystemFacts) -> Host | None:
    """What `gpu` needs to know; None where the machine's PCI devices could not be read."""
    if facts.pci is None:
        return None
    return Host(
        devices=facts.pci,
        cpu=facts.cpu.architecture,
        os=facts.os.id,
        release=facts.os.version_id,
        secure_boot=facts.secure_boot,
        switch_management=facts.switch_management,
        held=facts.held,
        gone=facts.gone,
        in_tree=tuple(name for name in IN_TREE if name in (facts.modules or {})),
    )


def inputs(host: Host, *items: Accelerator) -> Mapping[str, Any] | Refusals:
    """Inputs of `swarm:nodepool:Driver`, without machine, host and node; or every reason why there are none.

    `items` are those of one vendor, one at least.
    """
    declared = items[0]
    decision = decide(host, wanted(items))
    if not isinstance(decision, Decision):
        return decision
    refusals = _key(host, declared)
    if refusals:
        return tuple(refusals)
    version = decision.version
    return {
        "vendor": decision.vendor,
        "cards": dict(decision.models),
        "branch": decision.branch,
        "version": version,
        "kernelModule": decision.flavour,
        "loaded": version,
        "answers": version,
        "verified": True,
        "fabricManager": {} if decision.fabric_manager is FabricManager.NONE else {"version": version},
        "fabricMode": str(decision.fabric_manager),
        "repository": _repository(host, decision, declared),
        "pin": decision.pin.what if decision.pin else "",
        "packages": {package.name: package.version or "" for package in decision.packages},
        "held": sorted(decision.held),
        "services": sorted(decision.services),
        "modules": list(decision.modules),
        "mig": _layout(decision),
        "persistence": declared.persistence,
        "counters": sorted(decision.counters),
        "cdi": _cdi(decision),
        "why": [f"{reason.about}: {reason.clause}" for reason in decision.reasons],
        "manual": [reason.clause for reason in decision.manual],
    }


def warnings(host: Host, *items: Accelerator) -> tuple[str, ...]:
    """What is unwise or unsure about the decision."""
    decision = decide(host, wanted(items))
    return tuple(reason.clause for reason in decision.warnings) if isinstance(decision, Decision) else ()


def _layout(decision: Decision) -> dict[str, dict[str, int]]:
    cards = decision.partitions.cards if decision.partitions else {}
    return {address: dict(profiles) for address, profiles in cards.items()}


def _cdi(decision: Decision) -> str:
    """What the CDI specification is known by: the libraries that it names, or for AMD's cards its kind."""
    if not any("toolkit" in name for name in decision.held):
        return ""
    return "amd.com/gpu" if decision.vendor == "amd" else decision.version


def _repository(host: Host, decision: Decision, declared: Accelerator) -> Mapping[str, Any]:
    """Where packages come from, and whose key signs them; nothing for what the machine has already."""
    if wanted([declared]).source is Source.DISTRIBUTION:
        return {}
    base = (declared.mirror.url if declared.mirror else VENDORS[declared.vendor]).rstrip("/")
    key = declared.mirror.key if declared.mirror else None
    fingerprint = declared.mirror.fingerprint if declared.mirror else FINGERPRINTS[declared.vendor]
    if declared.vendor == "nvidia":
        url, file = f"{base}/{decision.repository}", KEY_FILES["nvidia"]
        if FAMILIES.get(host.os) == "rhel":
            file, fingerprint = RPM_KEY_FILE, declared.mirror.fingerprint if declared.mirror else RPM_FINGERPRINT
        return {"url": url, "key": key or f"{url}/{file}", "fingerprint": fingerprint}
    known = drivers("amd")
    rocm, toolkit = known.branches[decision.branch].rocm, known.tools[amd.TOOLKIT]
    about = {"url": base, "key": key or f"{base}/{KEY_FILES['amd']}", "fingerprint": fingerprint}
    if FAMILIES.get(host.os) == "rhel":
        return {**about, "sources": list(amd.repositories(same(base), host.release, decision.version, rocm))}
    return {
        **about,
        "sources": list(amd.sources(base, host.release, decision.version, rocm, toolkit)),
        "origin": amd.ORIGIN,
    }


def _key(host: Host, declared: Accelerator) -> list[Refusal]:
    family = FAMILIES.get(host.os, host.os)
    release = host.release.partition(".")[0] if family in ("debian", "rhel") else host.release
    if declared.vendor != "nvidia" or declared.source != "vendor" or (family, release) in SIGNED:
        return []
    return [
        Refusal(
            "key-unknown",
            f"whose key signs the vendor's repository for {host.os[:40]} {host.release[:20]} is not known here",
            f"declare `source: mirror` with `mirror: {{url: {VENDORS['nvidia']}, fingerprint: …, key: …}}`",
            "docs/gpu.md",
        )
    ]
