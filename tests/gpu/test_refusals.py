"""Impossible pairs: each is refused with its reason and a mend, in words that stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from swarmctl.gpu.catalogue import Branch, Drivers, Tables, tables
from swarmctl.gpu.decide import decide
from swarmctl.gpu.model import Device, Host, Refusal, Source, Wanted
from tests.gpu.hosts import HGX_H100, HGX_H200, host, refused

CASES: Mapping[str, tuple[Host, Wanted, str, str, str]] = {
    "Volta with 595": (
        host("V100"),
        Wanted("nvidia", driver="595"),
        "branch-window",
        "595.91.07 is impossible: 580 is the last branch for V100 SXM2 32GB (volta)",
        "declare 580, or `auto`",
    ),
    "B200 with the proprietary module": (
        host("B200"),
        Wanted("nvidia", kernel_module="proprietary"),
        "flavour-refused",
        "B200 (blackwell) is not driven by the proprietary kernel module",
        "declare the kernel module `open`, or `auto`",
    ),
    "GH200 with the proprietary module": (
        host("GH200", cpu="aarch64"),
        Wanted("nvidia", kernel_module="proprietary"),
        "flavour-refused",
        "GH200 96GB or GH200 120GB or GH200 480GB (grace-hopper) is not driven by the proprietary kernel module",
        "declare the kernel module `open`, or `auto`",
    ),
    "Volta with the open module": (
        host("V100"),
        Wanted("nvidia", kernel_module="open"),
        "flavour-refused",
        "V100 SXM2 32GB (volta) is not driven by the open kernel module",
        "declare the kernel module `proprietary`, or `auto`",
    ),
    "AMD with the proprietary module": (
        host("74a1", vendor="1002"),
        Wanted("amd", kernel_module="proprietary"),
        "flavour-refused",
        "MI300X (cdna3) is not driven by the proprietary kernel module",
        "declare the kernel module `open`, or `auto`",
    ),
    "B200 with 535": (
        host("B200"),
        Wanted("nvidia", driver="535"),
        "branch-window",
        "535.309.01 is impossible: B200 needs 570.133.20 or later",
        "declare 595 or 580, or `auto`",
    ),
    "B300 with an early 580": (
        host("B300"),
        Wanted("nvidia", version="580.65.06"),
        "branch-window",
        "580.65.06 is impossible: B300 needs 580.82.07 or later",
        "declare 595 or 580, or `auto`",
    ),
    "cards that share no kernel module": (
        host("V100", "B200"),
        Wanted("nvidia"),
        "no-shared-flavour",
        "no kernel module drives all cards of this host: V100 SXM2 32GB by proprietary; B200 by open",
        "put cards of before Turing and those from Grace Hopper or Blackwell on into hosts of their own",
    ),
    "a branch that nobody knows": (
        host("T4"),
        Wanted("nvidia", driver="620"),
        "branch-unknown",
        "'620' is no branch of nvidia's driver that is known here: 610, 595, 580, 535",
        "declare one of these, or `auto`",
    ),
    "a version of another branch": (
        host("T4"),
        Wanted("nvidia", driver="595", version="580.173.02"),
        "version-refused",
        "'580.173.02' is of branch 580, and 595 is declared",
        "declare a version such as 580.173.02 with its own branch, or leave it out",
    ),
    "what is no version": (
        host("T4"),
        Wanted("nvidia", version="580"),
        "version-refused",
        "'580' is not a whole driver version",
        "declare a version such as 580.173.02 with its own branch, or leave it out",
    ),
    "the distribution's packages without a version": (
        host("T4"),
        Wanted("nvidia", source=Source.DISTRIBUTION),
        "version-needed",
        "which version the distribution's archive has can't be known at plan time",
        "declare `version` as the archive has it (apt-cache policy, dnf info), or take the vendor's repository",
    ),
    "Debian's packages on a host with NVSwitches": (
        host("A100", "A100 NVSwitch", system="debian 12"),
        Wanted("nvidia", version="535.261.03", source=Source.DISTRIBUTION),
        "fabric-unavailable",
        "Debian's archive does not have what the NVSwitches of this host need",
        "take the packages from the vendor's repository (`source: vendor`)",
    ),
    "Fabric Manager held at another version": (
        host(*HGX_H100, held={"nvidia-fabricmanager": "590.48.01-1", "bash": "5.2"}),
        Wanted("nvidia", driver="580"),
        "lockstep-held",
        "nvidia-fabricmanager is held at 590.48.01, and must be 580.173.02 as the driver",
        "release the hold on the host",
    ),
    "NSCQ of another name held at another version": (
        host(*HGX_H100, held={"libnvidia-nscq-580": "3:580.95.05-1.el9"}),
        Wanted("nvidia", driver="580"),
        "lockstep-held",
        "libnvidia-nscq-580 is held at 580.95.05, and must be 580.173.02 as the driver",
        "release the hold on the host, or declare version 580.95.05 with driver `auto`",
    ),
    "a library held at another version": (
        host("T4", held={"libnvidia-compute": "595.45.04-1ubuntu1"}),
        Wanted("nvidia"),
        "lockstep-held",
        "libnvidia-compute is held at 595.45.04, and must be 595.91.07 as the driver",
        "release the hold on the host, or declare version 595.45.04 with driver `auto`",
    ),
    "a MIG profile of another card": (
        host(*HGX_H200),
        Wanted("nvidia", mig={"1g.12gb": 7}),
        "mig-profile",
        "'1g.12gb' is no profile of H200 SXM 141GB; it is one of H100 NVL 94GB, H100 96GB, H800 NVL 94GB, H20 96GB, "
        "GH200 96GB",
        "declare some of 1g.18gb, 1g.18gb+me, 1g.35gb, 2g.35gb, 3g.71gb, 4g.71gb, 7g.141gb",
    ),
    "a MIG profile of no card": (
        host("H100"),
        Wanted("nvidia", mig={"9g.90gb": 1}),
        "mig-profile",
        "'9g.90gb' is no profile of H100 SXM5 80GB",
        "declare some of 1g.10gb, 1g.10gb+me, 1g.20gb, 2g.20gb, 3g.40gb, 4g.40gb, 7g.80gb",
    ),
    "more instances than slices": (
        host("H100"),
        Wanted("nvidia", mig={"1g.10gb": 8}),
        "mig-count",
        "8 of 1g.10gb on one H100 SXM5 80GB: it has room for 1 to 7",
        "declare at most 7 per card",
    ),
    "more of the profile that a card has once": (
        host("H100"),
        Wanted("nvidia", mig={"4g.40gb": 2}),
        "mig-count",
        "2 of 4g.40gb on one H100 SXM5 80GB: it has room for one",
        "declare at most 1 per card",
    ),
    "profiles that have no room together": (
        host("H100"),
        Wanted("nvidia", mig={"3g.40gb": 2, "1g.10gb": 1}),
        "mig-layout",
        "2 of 3g.40gb and 1 of 1g.10gb have no room together on one H100 SXM5 80GB",
        "declare fewer or smaller profiles, or `balanced`",
    ),
    "an empty layout": (
        host("H100"),
        Wanted("nvidia", mig={}),
        "mig-layout",
        "an empty layout divides no card",
        "leave `mig` out, or name profiles",
    ),
    "a layout by no name": (
        host("A30"),
        Wanted("nvidia", mig="all-1g.5gb"),
        "mig-profile",
        "'all-1g.5gb' is no layout of A30",
        "declare balanced, or all- with one of 1g.6gb, 1g.6gb+me, 2g.12gb, 2g.12gb+me, 4g.24gb",
    ),
    "MIG on a card that has none": (
        host("L40S"),
        Wanted("nvidia", mig="balanced"),
        "mig-unknown",
        "L40S has no MIG profiles that are known here",
        "leave `mig` out for these cards",
    ),
    "MIG on AMD": (
        host("74a1", vendor="1002"),
        Wanted("amd", mig="balanced"),
        "mig-unknown",
        "MI300X is AMD's, and MIG is NVIDIA's way of dividing a card",
        "leave `mig` out for these cards",
    ),
    "another model than declared": (
        host(*HGX_H100),
        Wanted("nvidia", "H200"),
        "model-absent",
        "H200 is declared, and by its PCI ids this host has 8 x H100 SXM5 80GB",
        "declare the model H100 SXM5 80GB, or take this host out of the pool",
    ),
    "fewer cards than declared": (
        host(*["H100 PCIe"] * 3),
        Wanted("nvidia", "H100", 4),
        "count-differs",
        "4 H100 are declared, and by its PCI ids this host has 3 x H100 PCIe 80GB",
        "declare 3, or look for the card that has left the bus",
    ),
    "no card at all": (
        host(),
        Wanted("nvidia"),
        "no-cards",
        "no PCI device of this host is a GPU of nvidia",
        "declare the vendor whose cards are there, or take this host out of the pool",
    ),
    "cards of the other vendor": (
        host("74a1", vendor="1002"),
        Wanted("nvidia"),
        "no-cards",
        "no PCI device of this host is a GPU of nvidia, while there are some of amd",
        "declare the vendor whose cards are there, or take this host out of the pool",
    ),
    "an unknown id": (
        host("ffff"),
        Wanted("nvidia"),
        "unknown-id",
        "10de:ffff at 0000:10:00.0 is in no table here, so nothing is known of its driver",
        "install its driver by hand and leave accelerators out for this pool, until a newer swarmctl knows the id",
    ),
    "an unknown id where a switch may be its own": (
        host("H100 PCIe", "ffff", "H100 NVSwitch"),
        Wanted("nvidia"),
        "unknown-id",
        "10de:ffff at 0000:11:00.0 is in no table here, so nothing is known of its driver",
        "install its driver by hand and leave accelerators out for this pool, until a newer swarmctl knows the id",
    ),
    "an unknown id where NVLink 5 may be its own": (
        host("L40S", "ffff", switch_management=True),
        Wanted("nvidia"),
        "unknown-id",
        "10de:ffff at 0000:11:00.0 is in no table here, so nothing is known of its driver",
        "install its driver by hand and leave accelerators out for this pool, until a newer swarmctl knows the id",
    ),
    "a Grace Hopper with an Intel processor": (
        host("GH200"),
        Wanted("nvidia"),
        "cpu-contradicts",
        "GH200 96GB or GH200 120GB or GH200 480GB comes with aarch64 only, and this host is x86_64",
        "check what `lspci -nn -D` and `uname -m` say there; one of the two facts is wrong",
    ),
    "a system without packages": (
        host("T4", system="alpine 3.22"),
        Wanted("nvidia"),
        "os-unknown",
        "nothing of NVIDIA's is packaged for alpine 3.22 on x86_64",
        "packages that the vendor's repository has are for debian 12 13, ubuntu 22.04 24.04, rhel 8 9 10, "
        "on x86_64 and aarch64",
    ),
    "AMD without persistence": (
        host("74a1", vendor="1002"),
        Wanted("amd", persistence=False),
        "persistence-refused",
        "amdgpu stays loaded whether a client is there or not, and has no daemon that could be left out",
        "leave `persistence` out for AMD's cards",
    ),
    "AMD's firmware held at another release": (
        host("74a1", vendor="1002", held={"amdgpu-dkms-firmware": "30.20.1.0.30200100-2255209.24.04"}),
        Wanted("amd"),
        "lockstep-held",
        "amdgpu-dkms-firmware is held at 30.20.1.0.30200100, and must be 30.30.4.0.30300400",
        "release the hold on the host",
    ),
    "AMD on Arm": (
        host("74a1", vendor="1002", cpu="aarch64"),
        Wanted("amd"),
        "os-unknown",
        "nothing of AMD's is packaged for ubuntu 24.04 on aarch64",
        "packages that the vendor's repository has are for ubuntu 22.04 24.04, rhel 9, on x86_64",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_with_reason_and_mend(case: str) -> None:
    there, wanted, code, reason, mend = CASES[case]
    (refusal,) = refused(there, wanted)
    assert refusal == Refusal(code, reason, mend, refusal.source)
    assert refusal.source


ADVICE: Mapping[str, dict[str, Any]] = {
    "branch-window": {"driver": "auto", "version": ""},
    "flavour-refused": {"kernel_module": "auto"},
    "branch-unknown": {"driver": "auto"},
    "version-refused": {"driver": "auto", "version": "580.173.02"},
    "version-needed": {"source": Source.VENDOR},
    "fabric-unavailable": {"source": Source.VENDOR},
    "mig-profile": {"mig": "balanced"},
    "mig-count": {"mig": {"1g.10gb": 7}},
    "mig-layout": {"mig": "balanced"},
    "mig-unknown": {"mig": ""},
    "model-absent": {"model": "H100 SXM5 80GB"},
    "count-differs": {"count": 3},
}
"""What the mends say, by code; the other codes are mended on the host."""


@pytest.mark.parametrize("case", [name for name, each in CASES.items() if each[2] in ADVICE])
def test_whoever_does_as_the_mend_says_gets_a_decision(case: str) -> None:
    there, wanted, code, _, _ = CASES[case]
    outcome = decide(there, replace(wanted, **ADVICE[code]))
    assert not isinstance(outcome, tuple), outcome


@pytest.mark.parametrize("version", ["580.95.05", "595.45.04"])
def test_a_held_version_can_be_declared_instead(version: str) -> None:
    held = {"nvidia-fabricmanager": f"{version}-1", "libnvidia-nscq": f"{version}-1"}
    outcome = decide(host(*HGX_H100, held=held), Wanted("nvidia", version=version))
    assert not isinstance(outcome, tuple)
    assert outcome.version == version


def test_holds_of_what_goes_with_any_driver_are_nobodys_business_here() -> None:
    there = host("H100", held={"nvidia-container-toolkit": "1.19.0-1", "nvlsm": "2025.3-1", "nvidia-settings": "1"})
    assert decide(there, Wanted("nvidia")) == decide(replace(there, held={}), Wanted("nvidia"))


def test_a_held_version_that_the_cards_are_too_new_for_is_not_advised() -> None:
    (refusal,) = refused(host("B300", held={"nvidia-imex": "580.65.06-1"}), Wanted("nvidia"))
    assert (refusal.code, refusal.mend) == ("lockstep-held", "release the hold on the host")


def test_all_mistakes_come_out_at_once() -> None:
    wanted = Wanted("nvidia", "A30", 9, driver="600", kernel_module="open", mig="balanced")
    there = host("V100", "ffff", cpu="riscv64", system="plan9 4")
    codes = [refusal.code for refusal in refused(there, wanted)]
    assert codes == ["unknown-id", "model-absent", "os-unknown", "branch-unknown", "flavour-refused"]


def test_each_kind_of_card_is_named() -> None:
    refusals = refused(host("V100", "L40S", "V100"), Wanted("nvidia", driver="580", mig="balanced"))
    assert [refusal.reason for refusal in refusals] == [
        "V100 SXM2 32GB has no MIG profiles that are known here",
        "L40S has no MIG profiles that are known here",
    ]


def test_cards_that_share_no_branch_are_refused() -> None:
    """No two cards of the shipped table are so far apart; the next table's may be."""
    known = tables("nvidia")
    late = Drivers(known.drivers.sources, {"595": known.drivers.branches["595"]}, known.drivers.tools)
    outcome = decide(host("V100", "T4"), Wanted("nvidia"), Tables(known.catalogue, late))
    assert isinstance(outcome, tuple)
    assert [(refusal.code, refusal.reason) for refusal in outcome] == [
        (
            "no-shared-branch",
            "no supported branch drives all cards of this host: 580 is the last branch for V100 SXM2 32GB (volta)",
        )
    ]


def test_auto_takes_no_branch_whose_support_ended() -> None:
    known = tables("nvidia")
    ended = Branch("610.57.04", "new feature branch", ends="2026-08", ended=True)
    outcome = decide(
        host("T4"), Wanted("nvidia"), Tables(known.catalogue, Drivers({**known.drivers.sources}, {"610": ended}))
    )
    assert isinstance(outcome, tuple)
    assert [refusal.code for refusal in outcome] == ["no-shared-branch"]


def test_graphics_of_an_amd_processor_are_no_unknown_card() -> None:
    there = host("74a1", vendor="1002")
    graphics = Device("0000:0b:00.0", "1002", "164e", "0300")
    outcome = decide(replace(there, devices=(graphics, *there.devices)), Wanted("amd", "MI300X", 1))
    assert not isinstance(outcome, tuple)
    assert [warning.clause for warning in outcome.warnings] == [
        "1002:164e at 0000:0b:00.0 is taken for the processor's own graphics"
    ]


def test_other_functions_of_a_card_are_no_cards() -> None:
    there = host("T4")
    audio = Device("0000:10:00.1", "10de", "10f8", "0403")
    management = Device("0000:02:00.0", "1a03", "2000", "0300")
    assert decide(replace(there, devices=(management, audio, *there.devices)), Wanted("nvidia", "T4", 1)) == decide(
        there, Wanted("nvidia", "T4", 1)
    )


def test_other_models_beside_the_declared_are_driven_and_pointed_out() -> None:
    outcome = decide(host("H100", "T4", "T4"), Wanted("nvidia", "H100", 1))
    assert not isinstance(outcome, tuple)
    assert [warning.clause for warning in outcome.warnings] == [
        "2 x T4 are there too: they are driven, and not counted as H100"
    ]


@pytest.mark.parametrize("version", ["595.0", "580.9", "595.91.7", "595.91.07.1", "595.9107"])
def test_what_no_version_of_nvidia_s_looks_like_is_none(version: str) -> None:
    (refusal,) = refused(host("H100"), Wanted("nvidia", "H100", version=version))
    assert (refusal.code, "not a whole driver version" in refusal.reason) == ("version-refused", True)
