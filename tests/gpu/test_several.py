"""Several models and vendors in one machine, and what of AMD's cards can't be: decided, or refused at both places."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmctl.errors import InvalidDeclaration, WorldUnreadable
from swarmctl.gpu.catalogue import Branch, Drivers, Tables, tables
from swarmctl.gpu.declared import together
from swarmctl.gpu.model import Cards, Host, Wanted
from swarmctl.graph.model import Address
from swarmctl.kinds.node_pool.accelerators import amd
from swarmctl.kinds.node_pool.accelerators.resources import DRIVER
from tests.gpu import hosts as composed
from tests.gpu.below import Below
from tests.gpu.hosts import decided, host, refused
from tests.gpu.test_accelerators import Facts, compiled, drivers, loaded

MIXED = "{vendor: nvidia, model: A100, count: 2, mig: all-1g.10gb}, {vendor: nvidia, model: H100, count: 1}"
BOTH = "{vendor: amd, model: MI210, count: 1}, {vendor: nvidia, model: L40S, count: 2}"


def with_both() -> Host:
    there = host("L40S", "L40S")
    card = replace(host("740f", vendor="1002").devices[0], address="0000:a0:00.0")
    return replace(there, devices=(*there.devices, card))


@pytest.mark.parametrize(
    ("there", "wanted", "code", "item", "reason"),
    [
        (
            host(*["A100"] * 2, "H100"),
            Wanted("nvidia", "A100", 2, beside=(Cards("H100", 2),)),
            "count-differs",
            1,
            "2 H100 are declared, and by its PCI ids this host has 1 x H100 SXM5 80GB",
        ),
        (
            host("A100"),
            Wanted("nvidia", "A100", 1, beside=(Cards("H100"),)),
            "model-absent",
            1,
            "H100 is declared, and by its PCI ids this host has 1 x A100 SXM4 80GB",
        ),
        (
            host("A100 40GB", "L40S"),
            Wanted("nvidia", "A100", mig="balanced", beside=(Cards("L40S", mig="balanced"),)),
            "mig-unknown",
            1,
            "L40S has no MIG profiles that are known here",
        ),
    ],
)
def test_a_refusal_tells_which_of_several_models_it_is_about(
    there: Host, wanted: Wanted, code: str, item: int, reason: str
) -> None:
    assert [(one.code, one.item, one.reason) for one in refused(there, wanted)] == [(code, item, reason)]


def test_a_missing_model_is_mended_by_the_one_that_nobody_declared() -> None:
    (refusal,) = refused(host("A100", "L40S"), Wanted("nvidia", "A100", beside=(Cards("H100"),)))
    assert refusal.mend == "declare the model L40S, or take this host out of the pool"
    (refusal,) = refused(host("A100"), Wanted("nvidia", "A100", beside=(Cards("H100"),)))
    assert refusal.mend == "leave this model out, or take this host out of the pool"


@pytest.mark.parametrize("version", ["30.30", "30.30.4.1", "30.30.100", "595.91.07"])
def test_what_is_no_release_of_amd_s_is_refused(version: str) -> None:
    codes = {one.code for one in refused(host("74a1", vendor="1002"), Wanted("amd", version=version))}
    assert codes <= {"version-refused", "branch-unknown"}


def test_models_without_a_common_branch_or_module_are_impossible_together() -> None:
    assert together(Wanted("nvidia", "V100", beside=(Cards("A100"),))) == ()
    assert {one.code for one in together(Wanted("nvidia", "V100", beside=(Cards("B200"),)))} == {"no-shared-flavour"}
    known = tables("nvidia")
    late: dict[str, Branch] = {"595": known.drivers.branches["595"]}
    found = together(
        Wanted("nvidia", "V100", beside=(Cards("A100"),)), Tables(known.catalogue, Drivers(known.drivers.sources, late))
    )
    assert {one.code for one in found} == {"no-shared-branch"}


def test_each_model_of_a_machine_is_counted_and_divided(tmp_path: Path) -> None:
    there = host(*["A100"] * 2, "H100")
    graph = compiled(loaded(tmp_path, MIXED), Facts({"p0-0": there}))
    ((address, resource),) = drivers(graph).items()
    assert str(address) == "nodepool/p0[0/driver]"
    assert resource.inputs["mig"] == {"0000:10:00.0": {"1g.10gb": 7}, "0000:11:00.0": {"1g.10gb": 7}}
    text = DRIVER.effects(None, resource.inputs)[0].text
    assert text == "driver 595.91.07 (branch 595, open kernel module) for 2 x A100 SXM4 80GB and 1 x H100 SXM5 80GB"


def test_a_count_that_differs_is_told_at_its_own_item(tmp_path: Path) -> None:
    with pytest.raises(InvalidDeclaration) as raised:
        compiled(loaded(tmp_path, MIXED), Facts({"p0-0": host(*["A100"] * 2, "H100", "H100")}))
    (found,) = raised.value.diagnostics
    assert found.code.id == "SW3254"
    assert found.message == "p0-0: 1 H100 are declared, and by its PCI ids this host has 2 x H100 SXM5 80GB"
    assert at(tmp_path, found.range) == "1}]"


def test_each_vendor_s_cards_have_a_driver_and_one_waits_for_the_other(tmp_path: Path) -> None:
    stack = loaded(tmp_path, BOTH)
    graph = compiled(stack, Facts({"p0-0": with_both()}))
    found = {str(address): resource for address, resource in drivers(graph).items()}
    assert {name: one.inputs["version"] for name, one in found.items()} == {
        "nodepool/p0[0/driver]": "595.91.07",
        "nodepool/p0[0/driver-amd]": "30.30.4",
    }
    first, second = Address("nodepool", "p0", "0/driver-amd"), Address("nodepool", "p0", "0/driver")
    assert graph.resources[first].depends_on == ()
    assert graph.resources[second].depends_on == (first,)
    inputs = graph.resources[first].inputs
    assert inputs["cards"] == {"0000:a0:00.0": "MI210"}
    assert inputs["repository"]["sources"] == [
        "https://repo.radeon.com/amdgpu/30.30.4/ubuntu noble main",
        "https://repo.radeon.com/rocm/apt/7.2.4 noble main",
        "https://repo.radeon.com/graphics/7.2.4/ubuntu noble main",
        "https://repo.radeon.com/amd-container-toolkit/apt/1.2.0 noble main",
    ]
    assert inputs["repository"]["key"] == "https://repo.radeon.com/rocm/rocm.gpg.key"
    assert inputs["repository"]["fingerprint"] == "CA8BB4727A47B4D09B4EE8969386B48A1A693C5C"
    again = compiled(stack, Facts({}), graph.resources)
    assert drivers(again) == drivers(graph)
    assert again.notes == [
        "p0-0: its driver of amd stays as it was decided before",
        "p0-0: its driver of nvidia stays as it was decided before",
    ]


def at(folder: Path, where: object) -> str:
    """The text from where a diagnostic points to the end of the line."""
    start = where.start  # type: ignore[attr-defined]
    return (folder / "pools.yaml").read_text().splitlines()[start.line - 1][start.column - 1 :]


@pytest.mark.parametrize(
    ("items", "code", "here", "there", "words"),
    [
        (
            '{vendor: nvidia, model: T4, driver: {branch: "580"}}, '
            '{vendor: nvidia, model: L4, driver: {branch: "595"}}',
            "SW3258",
            '"595"',
            '"580"',
            "`driver.branch` is `595` here and `580` for other cards of nvidia in the same machines",
        ),
        (
            "{vendor: nvidia, model: T4, kernelModule: open}, {vendor: nvidia, model: L4, kernelModule: proprietary}",
            "SW3258",
            "proprietary",
            "open",
            "`kernelModule` is `proprietary` here",
        ),
        (
            "{vendor: nvidia, model: T4, source: distribution, driver: {version: 580.95.05}}, "
            "{vendor: nvidia, model: L4}",
            "SW3258",
            "L4",
            "distribution",
            "`source` is `vendor` here and `distribution` for other cards",
        ),
        (
            "{vendor: nvidia, model: T4}, {vendor: nvidia, model: L4, persistence: false}",
            "SW3258",
            "false",
            "T4",
            "`persistence` is false here and true",
        ),
        (
            "{vendor: nvidia, model: H100}, {vendor: nvidia, model: H100-PCIe}",
            "SW3259",
            "H100-PCIe",
            "H100}",
            "H100-PCIe and H100 both mean H100 PCIe 80GB",
        ),
        ("{vendor: nvidia, model: H100}, {vendor: nvidia}", "SW3259", "nvidia", "H100", "this item means all cards"),
        (
            "{vendor: nvidia, model: V100}, {vendor: nvidia, model: B200}",
            "SW3252",
            "V100",
            "B200",
            "no kernel module drives all cards of this host: V100",
        ),
        (
            "{vendor: nvidia, model: T4}, {vendor: nvidia, model: V100, driver: {branch: auto}}, "
            '{vendor: nvidia, model: L4, driver: {branch: "595"}}',
            "SW3251",
            "auto",
            "V100",
            "595.91.07 is impossible: 580 is the last branch for V100",
        ),
    ],
)
def test_items_that_contradict_each_other_are_told_at_both_places(
    tmp_path: Path, items: str, code: str, here: str, there: str, words: str
) -> None:
    with pytest.raises(InvalidDeclaration) as raised:
        loaded(tmp_path, items)
    found = raised.value.diagnostics
    assert {one.code.id for one in found} == {code}, [one.message for one in found]
    assert words in found[0].message
    assert at(tmp_path, found[0].range).startswith(here)
    assert any(at(tmp_path, one.range).startswith(there) for one in found[0].related)
    assert found[0].help


@pytest.mark.parametrize(
    ("item", "code", "here", "words"),
    [
        ("{vendor: amd, model: MI300X, mig: balanced}", "SW3253", "balanced", "MIG is NVIDIA's way"),
        ("{vendor: amd, model: MI300X, kernelModule: proprietary}", "SW3252", "proprietary", "not driven by"),
        ("{vendor: amd, model: MI300X, persistence: false}", "SW3260", "false", "amdgpu stays loaded"),
        ("{vendor: amd, model: MI300X, source: distribution, driver: {version: 30.30.4}}", "SW3255", "dist", "no dist"),
        ('{vendor: amd, model: MI300X, driver: {branch: "580"}}', "SW3251", '"580"', "30.30, 30.20, 30.10"),
        ("{vendor: amd, model: MI355X, driver: {version: 6.4.4}}", "SW3251", "{version", "no branch of amd's driver"),
        ("{vendor: amd, model: H100}", "SW3250", "H100", "no card of amd"),
        ("{vendor: amd, source: mirror}", "SW3257", "mirror", "says not which"),
        ('{vendor: nvidia, model: H100, driver: {branch: "30.30"}}', "SW3251", '"30.30"', "no branch of nvidia's"),
    ],
)
def test_what_amd_s_cards_can_t_have_is_told_at_its_field(
    tmp_path: Path, item: str, code: str, here: str, words: str
) -> None:
    with pytest.raises(InvalidDeclaration) as raised:
        loaded(tmp_path, item)
    (found,) = raised.value.diagnostics
    assert (found.code.id, words in found.message) == (code, True), found.message
    assert at(tmp_path, found.range).startswith(here)


@pytest.mark.parametrize("system", ["rocky 9", "debian 12", "ubuntu 26.04"])
def test_amd_s_driver_comes_by_apt_on_ubuntu_alone(tmp_path: Path, system: str) -> None:
    there = host("74a1", vendor="1002", system=system)
    with pytest.raises(InvalidDeclaration) as raised:
        compiled(loaded(tmp_path, "{vendor: amd, model: MI300X}"), Facts({"p0-0": there}))
    assert {one.code.id for one in raised.value.diagnostics} <= {"SW3255", "SW3256"}


@pytest.mark.parametrize("number", [number for vendor, number, _ in composed.ALL if vendor == "amd"])
def test_every_card_of_amd_s_gets_the_same_driver_from_the_vendor_s_repositories(number: str, tmp_path: Path) -> None:
    there = host(*[number] * 8, vendor="1002", system="ubuntu 22.04")
    graph = compiled(loaded(tmp_path, "{vendor: amd, count: 8}"), Facts({"p0-0": there}))
    ((address, resource),) = drivers(graph).items()
    assert str(address) == "nodepool/p0[0/driver-amd]"
    assert (resource.inputs["loaded"], resource.inputs["answers"], resource.inputs["cdi"]) == (
        "30.30.4",
        "30.30.4",
        "amd.com/gpu",
    )
    assert len(resource.inputs["cards"]) == 8
    assert set(resource.inputs["held"]) == set(resource.inputs["packages"])
    assert all(" jammy main" in one for one in resource.inputs["repository"]["sources"])
    assert decided(there, Wanted("amd")).manual == ()


LOADED = b"""
@@ loaded
6.16.13

@@ state
live

@@ source
A6F143BEC60C0AFC3263226

@@ built
A6F143BEC60C0AFC3263226

@@ package
1:6.16.13.30300400-2341068.24.04

@@ rocm
7.2.4.70204-93~24.04

@@ version
[{"tool": "AMDSMI Tool", "version": "26.2.0", "rocm_version": "7.2.4", "amdgpu_version": "6.16.13"}]
@ 0

@@ list
[{"gpu": 0, "bdf": "0000:05:00.0", "uuid": "x"}, {"gpu": 1, "bdf": "0000:26:00.0", "uuid": "y"}]
@ 0

@@ end
"""
"""As amd-smi of ROCm 7.2 answers, by public recordings of its `version --json`; composed with the rest."""


def test_what_a_machine_with_amd_s_cards_tells_is_understood() -> None:
    seen = amd.parse(LOADED, "n1")
    assert (seen.loaded, seen.flavour, seen.answers, seen.failure) == ("30.30.4", "open", "30.30.4", "")
    assert [card.pci for card in seen.cards] == ["0000:05:00.0", "0000:26:00.0"]
    assert (seen.cdi, seen.origin, seen.source) == ("", "", ())


@pytest.mark.parametrize(
    ("before", "after", "loaded", "flavour", "answers", "failure"),
    [
        (b"@@ source\nA6", b"@@ source\nB6", "6.16.13", "open", "6.16.13", ""),
        (b"@@ loaded\n6.16.13", b"@@ loaded\n", "", "the kernel's own", "6.16.13", ""),
        (b"@@ loaded\n6.16.13", b"@@ loaded\n6.14.14", "6.14.14", "open", "6.16.13", ""),
        (b".30300400-", b".60404-", "6.16.13", "open", "6.16.13", ""),
        (b'"amdgpu_version": "6.16.13"', b'"amdgpu_version": "6.12.12"', "30.30.4", "open", "6.12.12", ""),
        (b"7.2.4.70204", b"7.1.1.70101", "30.30.4", "open", "", "amd-smi is of ROCm 7.2.4, and rocm-core of 7.1.1"),
        (b'"y"}]\n@ 0', b"no \x1b[31mcard\n@ 255", "30.30.4", "open", "", "[31mcard"),
        (b'[{"gpu"', b'{"gpu"', "30.30.4", "open", "", "it sees no card"),
        (b'[{"gpu": 0', b"[{", "30.30.4", "open", "", "it did not answer in JSON"),
        (b'"bdf": "', b'"bdf": "x', "30.30.4", "open", "", "it sees no card"),
    ],
)
def test_what_does_not_fit_together_is_never_taken_for_a_release(
    before: bytes, after: bytes, loaded: str, flavour: str, answers: str, failure: str
) -> None:
    assert before in LOADED
    seen = amd.parse(LOADED.replace(before, after), "n1")
    assert (seen.loaded, seen.flavour, seen.answers) == (loaded, flavour, answers)
    assert failure in seen.failure
    assert bool(failure) == bool(seen.failure)
    assert "\x1b" not in seen.failure


RPM = r"""
case "$*" in
  *amdgpu-dkms-firmware) echo 30.20.1.0.30200100-2255209.el9 ;;
  *amdgpu-dkms) echo 6.16.6-2255209.el9 ;;
  *rocm-core) echo 7.2.4.70204-93.el9 ;;
esac
"""
AMD_SMI = r"""
case "$1" in
  version) echo '[{"rocm_version": "7.2.4", "amdgpu_version": "6.16.6"}]' ;;
  list) echo '[{"bdf": "0000:05:00.0"}]' ;;
esac
"""


@pytest.mark.parametrize("of_epel", ["", "DPKG"])
def test_packages_are_rpm_s_also_where_a_machine_with_dnf_has_dpkg(tmp_path: Path, of_epel: str) -> None:
    below = Below(tmp_path / "n1", tools=())
    for name, text in {"rpm": RPM, "amd-smi": AMD_SMI, "modinfo": "echo A6F143"}.items():
        below.tool(name, text)
    below.put("/sys/module/amdgpu/version", b"6.16.6\n")
    below.put("/sys/module/amdgpu/srcversion", b"A6F143\n")
    if of_epel:
        below.tool("dpkg-query", 'echo "dpkg-query: no packages found matching $4" >&2; exit 1')
        below.put("/var/lib/dpkg/status", b"")
    seen = amd.parse(below.run(amd.READING.argv).stdout, "n1")
    assert (seen.loaded, seen.answers, seen.failure) == ("30.20.1", "30.20.1", "")


def test_a_reading_without_an_end_is_none() -> None:
    with pytest.raises(WorldUnreadable):
        amd.parse(LOADED[:-8], "n1")


@given(st.binary(max_size=300))
def test_noise_is_never_taken_for_amd_s_driver(noise: bytes) -> None:
    names = (b"loaded", b"state", b"source", b"built", b"package", b"rocm", b"version", b"list", b"cdi", b"sources")
    seen = amd.parse(b"".join(b"\n@@ " + name + b"\n" + noise for name in names) + b"\n@@ end\n", "n1")
    assert all(len(text) < 500 for text in (seen.loaded, seen.failure, seen.answers, *seen.source))
    assert seen.cards == ()
    assert seen.failure.isprintable()


def test_a_card_that_is_listed_and_answers_nothing_is_named_where_the_count_differs_and_where_none_is_declared() -> (
    None
):
    whole = host(*["H100"] * 3)
    there = replace(whole, devices=whole.devices[:2], gone=whole.devices[2:])
    why = "0000:12:00.0 is listed still, and answers nothing"
    (refusal,) = refused(there, Wanted("nvidia", "H100", 3))
    assert (refusal.code, refusal.reason) == (
        "count-differs",
        f"3 H100 are declared, and by its PCI ids this host has 2 x H100 SXM5 80GB; {why}",
    )
    assert "dmesg" in refusal.there
    found = decided(there, Wanted("nvidia", "H100"))
    assert [one.clause for one in found.warnings if one.about == "cards"] == [why]
    none = replace(whole, devices=(), gone=whole.devices[:2])
    (refusal,) = refused(none, Wanted("nvidia"))
    assert refusal.reason.endswith("; 0000:10:00.0, 0000:11:00.0 are listed still, and answer nothing")
