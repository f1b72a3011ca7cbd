"""One decision per host, with its reasons; the hosts are composed (`hosts.py`)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarmctl.gpu import amd
from swarmctl.gpu.catalogue import Card, Vendor, catalogue, drivers
from swarmctl.gpu.model import Cards, Decision, Device, FabricManager, Flavour, Host, Pin, Source, Wanted
from tests.gpu.hosts import ALL, HGX_A100, HGX_B200, HGX_H100, HGX_H200, alone, decided, host, refused

NVIDIA = Wanted("nvidia")


def said(decision: Decision, about: str) -> str:
    return next(reason.clause for reason in decision.reasons if reason.about == about)


def specs(decision: Decision) -> list[str]:
    return [package.apt for package in decision.packages]


@pytest.mark.parametrize(("vendor", "number", "card"), ALL, ids=[f"{v}:{n}" for v, n, _ in ALL])
def test_every_known_card_gets_a_decision_that_its_table_allows(vendor: Vendor, number: str, card: Card) -> None:
    decision = decided(alone(vendor, number, card), Wanted(vendor, card.models[0], 1))
    architecture = catalogue(vendor).architecture(card)
    assert decision.flavour in architecture.flavours
    assert not drivers(vendor).branches[decision.branch].ended
    if vendor == "nvidia":
        assert decision.branch == ("580" if card.architecture in ("maxwell", "pascal", "volta") else "595")
        assert decision.flavour == ("proprietary" if decision.branch == "580" else "open")
    else:
        assert (decision.branch, decision.flavour) == ("30.30", "open")
    assert all(reason.clause and reason.source for reason in decision.reasons)
    assert decision.models == (("0000:10:00.0", card.name),)


@pytest.mark.parametrize(
    ("names", "cpu", "branch", "flavour", "mode"),
    [
        (HGX_A100, "x86_64", "595", "open", FabricManager.CLASSIC),
        (("A100 PCIe",) * 4, "x86_64", "595", "open", FabricManager.NONE),
        (HGX_H100, "x86_64", "595", "open", FabricManager.CLASSIC),
        (HGX_H200, "x86_64", "595", "open", FabricManager.CLASSIC),
        (HGX_B200, "x86_64", "595", "open", FabricManager.NVLINK5),
        (("B300",) * 8, "x86_64", "595", "open", FabricManager.NVLINK5),
        (("GH200",), "aarch64", "595", "open", FabricManager.NONE),
        (("GB200",) * 4, "aarch64", "595", "open", FabricManager.NONE),
        (("V100",) * 8, "x86_64", "580", "proprietary", FabricManager.NONE),
        (("V100", "T4"), "x86_64", "580", "proprietary", FabricManager.NONE),
        (("T4", "L40S", "RTX PRO 6000"), "x86_64", "595", "open", FabricManager.NONE),
    ],
    ids=[
        "HGX A100",
        "A100 PCIe",
        "HGX H100",
        "HGX H200",
        "HGX B200",
        "HGX B300",
        "GH200",
        "GB200",
        "V100",
        "old",
        "new",
    ],
)
def test_composed_machines(
    names: tuple[str, ...], cpu: str, branch: str, flavour: Flavour, mode: FabricManager
) -> None:
    decision = decided(host(*names, cpu=cpu), NVIDIA)
    assert (decision.branch, decision.flavour, decision.fabric_manager) == (branch, flavour, mode)
    assert decision.warnings == ()


def test_an_hgx_h100_gets_fabric_manager_of_the_very_version() -> None:
    decision = decided(host(*HGX_H100), NVIDIA)
    assert specs(decision)[:6] == [
        "nvidia-dkms-open=595.91.07-*",
        "libnvidia-compute=595.91.07-*",
        "nvidia-modprobe=595.91.07-*",
        "nvidia-persistenced=595.91.07-*",
        "nvidia-fabricmanager=595.91.07-*",
        "libnvidia-nscq=595.91.07-*",
    ]
    assert decision.held == tuple(package.name for package in decision.packages)
    assert decision.services == (
        "nvidia-persistenced.service",
        "nvidia-fabricmanager.service",
        "nvidia-cdi-refresh.path",
        "nvidia-cdi-refresh.service",
        "nvidia-dcgm.service",
        "nvidia-dcgm-exporter.service",
    )
    assert decision.pin == Pin("package", "nvidia-driver-pinning-595")
    assert decision.repository == "ubuntu2404/x86_64"
    assert (
        said(decision, "fabric manager") == "4 NVSwitches are PCI devices here; CUDA fails (802) until they are set up"
    )


def test_an_hgx_b200_gets_the_subnet_manager_too() -> None:
    decision = decided(host(*HGX_B200, switch_management=True), NVIDIA)
    around = [package for package in decision.packages if package.name in ("libnvsdm", "nvlsm", "infiniband-diags")]
    assert [package.apt for package in around] == ["libnvsdm=595.91.07-*", "nvlsm", "infiniband-diags"]
    assert decision.modules == ("mlx5_core", "ib_umad")
    assert said(decision, "fabric manager").endswith("a Mellanox device says SW_MNG")


def test_there_is_no_libnvsdm_for_arm() -> None:
    decision = decided(host(*HGX_B200, cpu="aarch64"), NVIDIA)
    assert "libnvsdm" not in decision.held
    assert {"nvlsm", "nvidia-fabricmanager", "libnvidia-nscq"} <= set(decision.held)


def test_cards_passed_through_without_their_switches_need_no_fabric_manager() -> None:
    decision = decided(host("B200", switch_management=False), NVIDIA)
    assert decision.fabric_manager is FabricManager.NONE
    assert "nvidia-fabricmanager" not in decision.held
    assert "SW_MNG" in said(decision, "fabric manager")


def test_eight_sxm_cards_without_a_switch_are_pointed_out() -> None:
    (warning,) = decided(host(*["H100"] * 8), NVIDIA).warnings
    assert warning.clause == "8 SXM cards and no NVSwitch: true of a guest with passed-through cards, else a fault"


def test_pcie_cards_beside_switches_need_no_fabric_manager() -> None:
    decision = decided(host("H100 PCIe", "H100 NVSwitch"), NVIDIA)
    assert (decision.fabric_manager, said(decision, "fabric manager")) == (
        FabricManager.NONE,
        "PCIe cards are never wired to NVSwitches",
    )


def test_a_rack_gets_imex_and_no_fabric_manager() -> None:
    decision = decided(host(*["GB200"] * 4, cpu="aarch64"), NVIDIA)
    assert "nvidia-imex=595.91.07-*" in specs(decision)
    assert "nvidia-fabricmanager" not in decision.held
    assert "nvidia-imex.service" in decision.services
    assert decision.repository == "ubuntu2404/sbsa"


@pytest.mark.parametrize(
    ("system", "driver", "module", "first", "pin", "repository"),
    [
        (
            "debian 12",
            "auto",
            "nvidia-kernel-open-dkms",
            "=595.91.07-*",
            Pin("package", "nvidia-driver-pinning-595"),
            "debian12",
        ),
        ("debian 13", "580", "nvidia-kernel-open-dkms", "=580.173.02-*", None, "debian13"),
        ("ubuntu 22.04", "580", "nvidia-dkms-580-open", "=580.173.02-*", None, "ubuntu2204"),
        ("rocky 9.6", "auto", "kmod-nvidia-open-dkms", "-595.91.07", Pin("module", "nvidia-driver:595-open"), "rhel9"),
        ("rhel 10.1", "580", "kmod-nvidia-open-dkms", "-580.173.02", None, "rhel10"),
        (
            "almalinux 8.10",
            "535",
            "kmod-nvidia-latest-dkms",
            "-535.309.01",
            Pin("module", "nvidia-driver:535-dkms"),
            "rhel8",
        ),
    ],
)
def test_names_are_those_of_the_system(
    system: str, driver: str, module: str, first: str, pin: Pin | None, repository: str
) -> None:
    decision = decided(host("A100", "A100 NVSwitch", system=system), Wanted("nvidia", driver=driver))
    package = decision.packages[0]
    apt = system.startswith(("debian", "ubuntu"))
    assert (package.apt if apt else package.dnf) == module + first
    assert (decision.pin, decision.repository) == (pin, f"{repository}/x86_64")
    manager = next(name for name in decision.held if "fabric" in name)
    assert manager == ("nvidia-fabric-manager" if driver == "535" else "nvidia-fabricmanager")


@pytest.mark.parametrize(
    ("system", "version", "kernel", "extra"),
    [
        ("ubuntu 24.04", "595.84", "nvidia-dkms-595-open=595.84-*", "nvidia-fabricmanager-595=595.84-*"),
        ("debian 12", "535.261.03", "nvidia-kernel-dkms=535.261.03-*", ""),
    ],
)
def test_the_distributions_own_packages_are_taken_at_the_declared_version(
    system: str, version: str, kernel: str, extra: str
) -> None:
    names = HGX_A100 if extra else ("A100 PCIe",)
    decision = decided(host(*names, system=system), Wanted("nvidia", version=version, source=Source.DISTRIBUTION))
    assert kernel in specs(decision)
    assert not extra or extra in specs(decision)
    assert decision.repository == system
    assert decision.counters == ()
    assert not [name for name in decision.services if "dcgm" in name or "cdi" in name]


@pytest.mark.parametrize(("names", "cuda"), [(("V100",), 12), (("V100", "T4"), 12), (("T4",), 13)])
def test_dcgm_is_built_for_a_cuda_that_runs_on_the_cards(names: tuple[str, ...], cuda: int) -> None:
    decision = decided(host(*names), Wanted("nvidia", driver="580"))
    assert f"datacenter-gpu-manager-4-cuda{cuda}=1:4.6.0-*" in specs(decision)


def test_counters_of_nvlink_are_on_only_where_there_is_nvlink() -> None:
    linked, unlinked = (decided(host(name), NVIDIA).counters for name in ("H100", "L40S"))
    assert {name for name in linked if "NVLINK" in name} == set(linked) - set(unlinked) != set()
    assert {"DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "DCGM_FI_DEV_XID_ERRORS"} <= set(unlinked)


def test_what_of_the_kernel_s_own_has_the_cards_is_told() -> None:
    def told(*loaded: str) -> list[str]:
        decision = decided(replace(host("T4"), in_tree=loaded), NVIDIA)
        return [reason.clause for reason in decision.reasons if reason.about == "kernel"]

    assert told() == []
    assert "the kernel's own nouveau has the cards" in told("nouveau")[0]
    assert "nova_core and nova_drm have the cards" in told("nova_drm", "nova_core")[0]


def test_secure_boot_leaves_something_to_do_by_hand() -> None:
    (step,) = decided(host("T4", secure_boot=True), NVIDIA).manual
    assert "mokutil --import" in step.clause
    assert "console" in step.clause
    unknown = decided(host("T4", secure_boot=None), NVIDIA)
    assert unknown.manual == ()
    assert [warning.about for warning in unknown.warnings] == ["secure boot"]
    assert decided(host("T4", secure_boot=False), NVIDIA).manual == ()


@pytest.mark.parametrize(("persistence", "runs"), [(None, True), (True, True), (False, False)])
def test_persistence_is_as_declared(persistence: bool | None, runs: bool) -> None:
    decision = decided(host("T4"), Wanted("nvidia", persistence=persistence))
    assert ("nvidia-persistenced.service" in decision.services) is runs


def test_amd_has_the_same_shape() -> None:
    decision = decided(host(*["74a1"] * 8, vendor="1002"), Wanted("amd", "MI300X", 8))
    assert (decision.version, decision.flavour, decision.repository) == (
        "30.30.4",
        "open",
        "amdgpu/30.30.4 and rocm/7.2.4",
    )
    assert specs(decision) == [
        "amdgpu-dkms=1:6.16.13.30300400-*",
        "amdgpu-dkms-firmware=30.30.4.0.30300400-*",
        "rocm-core=7.2.4.70204-*",
        "rocm-hip-runtime=7.2.4.70204-*",
        "rocminfo=1.0.0.70204-*",
        "amd-smi-lib",
        "amd-container-toolkit",
    ]
    assert (decision.warnings, decision.services, decision.counters) == ((), (), ())


@pytest.mark.parametrize(
    ("version", "code", "folder"), [("30.30.4", "30300400", "30.30.4"), ("30.20.0", "30200000", "30.20")]
)
def test_amd_s_packages_tell_their_release_and_their_repository_is_called_after_it(
    version: str, code: str, folder: str
) -> None:
    assert (amd.code(version), amd.folder(version)) == (code, folder)
    assert amd.packaged(f"1:6.16.6.{code}-2255209.24.04") == ("6.16.6", version)
    assert amd.packaged("1:6.12.12.60404-2202139.24.04") == ("", ""), "from before driver and ROCm were told apart"


def test_amd_s_packages_for_dnf_tell_their_release_by_the_build_of_the_firmware() -> None:
    decision = decided(host("74a1", vendor="1002", system="rocky 9.6"), Wanted("amd", version="30.20.1"))
    assert [package.dnf for package in decision.packages][:2] == [
        "amdgpu-dkms-6.16.6",
        "amdgpu-dkms-firmware-30.20.1.0.30200100",
    ]
    module, firmware = "1:6.16.6-2255209.el9", "30.20.1.0.30200100-2255209.el9"
    assert amd.built(module, firmware) == ("6.16.6", "30.20.1")
    later = "30.20.2.0.30200200-2270000.el9"
    assert amd.built(module, later) == amd.built(module, "") == amd.built("", firmware) == ("", "")
    assert amd.built("6.16.6-1.el9", "6.16.6-1.el9") == ("", ""), "no release is in that"
    assert amd.same_build({amd.DKMS: module, amd.FIRMWARE: firmware}) == ""
    assert amd.same_build({amd.DKMS: module, amd.FIRMWARE: later}) == "amdgpu-dkms=6.16.6-2270000.el9"
    assert amd.same_build({amd.DKMS: "1:6.16.6.30200100-2255209.24.04", amd.FIRMWARE: later}) == "", "apt tells it"
    assert amd.same_build({}) == ""


def test_amd_s_repositories_for_dnf_are_those_of_the_minor_release() -> None:
    assert amd.repositories("https://repo.radeon.com/", "9.7", "30.30.4", "7.2.4") == (
        "https://repo.radeon.com/amdgpu/30.30.4/el/9.7/main/x86_64",
        "https://repo.radeon.com/rocm/el9/7.2.4/main",
        "https://repo.radeon.com/graphics/7.2.4/el/9.7/main/x86_64",
        "https://repo.radeon.com/amd-container-toolkit/el9/main",
    )


@pytest.mark.parametrize("system", ["rhel 8.10", "ol 9", "almalinux 10.0"])
def test_amd_s_driver_is_refused_where_its_repositories_for_dnf_are_not_known(system: str) -> None:
    (refusal,) = refused(host("74a1", vendor="1002", system=system), Wanted("amd"))
    assert refusal.code == "manager-unknown"
    assert refusal.reason == (
        "AMD's driver is brought by dnf with minor releases of Enterprise Linux 9, such as 9.6, and this machine has "
        + system
    )
    assert refusal.mend.endswith("or take machines with Ubuntu 22.04 or 24.04, or with Enterprise Linux 9")


def test_several_models_in_one_machine_share_a_driver_and_have_a_layout_each() -> None:
    there = host(*["A100 40GB"] * 2, "H100", "L40S")
    wanted = Wanted("nvidia", "A100", 2, mig="all-1g.5gb", beside=(Cards("H100", 1, {"1g.10gb": 7}),))
    decision = decided(there, wanted)
    assert (decision.branch, decision.flavour) == ("595", "open")
    assert decision.partitions is not None
    assert decision.partitions.cards == {
        "0000:10:00.0": (("1g.5gb", 7),),
        "0000:11:00.0": (("1g.5gb", 7),),
        "0000:12:00.0": (("1g.10gb", 7),),
    }
    assert decision.partitions.total == {"1g.10gb": 7, "1g.5gb": 14}
    assert [warning.clause for warning in decision.warnings] == [
        "1 x L40S are there too: they are driven, and not counted as A100 or H100"
    ]
    undivided = decided(there, Wanted("nvidia", "A100", beside=(Cards("H100"), Cards("L40S"))))
    assert (undivided.partitions, undivided.warnings) == (None, ())


def with_display(*names: str, kind: str = "0300") -> Host:
    """A host with a card beside that is in no table."""
    there = host(*names)
    return replace(there, devices=(*there.devices, Device("0000:65:00.0", "10de", "1ff2", kind)))


@pytest.mark.parametrize("kind", ["0300", "0302"])
@pytest.mark.parametrize("names", [HGX_H100, ("L40S", "T4"), ("V100",)])
def test_a_card_that_is_not_known_keeps_nobody_from_the_driver_of_the_known_ones(
    names: tuple[str, ...], kind: str
) -> None:
    without = decided(host(*names), NVIDIA)
    decision = decided(with_display(*names, kind=kind), NVIDIA)
    (warning,) = decision.warnings
    assert warning.clause == (
        "10de:1ff2 at 0000:65:00.0 is in no table here: it is left out of account, and whether the driver of the other "
        "cards runs it, too, is not known"
    )
    assert replace(decision, warnings=()) == without


@pytest.mark.parametrize(
    ("wanted", "refused_too"),
    [
        (Wanted("nvidia", "H100", 2), "count-differs"),
        (Wanted("nvidia", count=2), "count-differs"),
        (Wanted("nvidia", "T400"), "model-absent"),
        (Wanted("nvidia", "H100", 1, beside=(Cards("T400"),)), "model-absent"),
    ],
)
def test_a_card_that_is_not_known_may_be_what_is_declared(wanted: Wanted, refused_too: str) -> None:
    codes = {refusal.code for refusal in refused(with_display("H100"), wanted)}
    assert codes == {"unknown-id", refused_too}


@pytest.mark.parametrize("wanted", [Wanted("nvidia", "H100", 1), Wanted("nvidia", count=1), Wanted("nvidia", "H100")])
def test_a_card_that_is_not_known_is_not_counted_where_the_known_ones_are_what_is_declared(wanted: Wanted) -> None:
    assert [model for _, model in decided(with_display("H100"), wanted).models] == ["H100 SXM5 80GB"]


def test_a_branch_without_support_is_taken_when_declared_and_pointed_out() -> None:
    decision = decided(host("T4"), Wanted("nvidia", driver="535"))
    assert (decision.version, decision.flavour) == ("535.309.01", "proprietary")
    (warning,) = decision.warnings
    assert warning.clause == "support of 535 ended in 2026-06: no more security fixes; 595 or 580 would do"


def test_a_gh200_is_open_even_where_the_branch_is_proprietary_by_default() -> None:
    assert decided(host("GH200", cpu="aarch64"), Wanted("nvidia", driver="535")).flavour == "open"


def test_the_proprietary_module_costs_confidential_computing() -> None:
    decision = decided(host("H100"), Wanted("nvidia", kernel_module="proprietary"))
    assert decision.flavour == "proprietary"
    (warning,) = decision.warnings
    assert warning.clause == "confidential computing on H100 SXM5 80GB needs the open module"


@pytest.mark.parametrize("beside", [["B200"], ["B300", "B200"]])
def test_every_service_has_its_package_where_a_rack_s_card_has_others_beside_it(beside: list[str]) -> None:
    decision = decided(host("GB200", *beside, cpu="aarch64", system="debian 12"), Wanted("nvidia"))
    assert {"nvidia-fabricmanager.service", "nvidia-imex.service"} <= set(decision.services)
    assert {"nvidia-fabricmanager", "nvidia-imex", "libnvidia-nscq"} <= set(decision.held)
    assert {package.version for package in decision.packages if package.lockstep} == {decision.version}
