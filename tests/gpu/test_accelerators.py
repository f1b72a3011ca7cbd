"""`accelerators:` of a pool becomes a driver per machine, or a refusal at the field that it is about."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmctl.errors import InvalidDeclaration, WorldUnreadable
from swarmctl.gpu.catalogue import Card, Vendor, tables
from swarmctl.gpu.declared import impossible
from swarmctl.gpu.model import Host, Wanted
from swarmctl.graph.model import Address, Graph, Machine, Resource
from swarmctl.hosts.packages import Packages, openpgp
from swarmctl.hosts.system import SystemFacts
from swarmctl.kinds.compile import compile_graph
from swarmctl.kinds.node_pool.accelerators import amd, decision, places, scripts, services
from swarmctl.kinds.node_pool.accelerators.codes import PLACES
from swarmctl.kinds.node_pool.accelerators.expand import DRIVER as TYPE
from swarmctl.kinds.node_pool.accelerators.reading import Seen, parse
from swarmctl.kinds.node_pool.accelerators.resources import DRIVER, observed
from swarmctl.kinds.node_pool.accelerators.signing import Signing
from swarmctl.kinds.node_pool.accelerators.spec import Accelerator
from swarmctl.operations.load import LoadedStack, load_stack
from tests.debian import repository
from tests.declarations.stacks import BASE, HEAD
from tests.gpu import hosts as composed

GOOD = "{vendor: nvidia, model: H100, count: 8, driver: {branch: auto}, mig: none}"


def loaded(folder: Path, *items: str) -> LoadedStack:
    for kind, text in BASE.items():
        if kind != "NodePool":
            (folder / f"{kind}.yaml").write_text(text)
    pools = [
        f"{HEAD}kind: NodePool\nmetadata: {{name: p{number}}}\nspec:\n  lab: {{count: 1}}\n  accelerators: [{item}]\n"
        for number, item in enumerate(items)
    ]
    (folder / "pools.yaml").write_text("---\n".join(pools))
    return load_stack(folder)


class Facts:
    """What machines tell: composed, see `hosts`."""

    def __init__(self, known: Mapping[str, Host | None], unread: Mapping[str, str] | None = None) -> None:
        self.known = known
        self.unread = unread or {}

    def __call__(self, machines: Iterable[Machine]) -> Mapping[str, SystemFacts]:
        names = [machine.name for machine in machines]
        return {name: facts(host) for name in names if (host := self.known.get(name)) is not None}


def facts(host: Host) -> SystemFacts:
    from swarmctl.hosts.system import Clock, Cpu, Memory, Os, Virtualisation

    return SystemFacts(
        hostname="n",
        boot_id=None,
        now=0,
        os=Os(host.os, host.release, ""),
        kernel="6.1",
        cpu=Cpu(host.cpu, None, None, None, None),
        memory=Memory(None),
        disks=None,
        nics=None,
        pci=host.devices,
        modules=dict.fromkeys(("wireguard", *host.in_tree), ""),
        secure_boot=host.secure_boot,
        iommu=None,
        virtualisation=Virtualisation(None, None),
        tee={},
        tee_guest=None,
        clock=Clock(None, ()),
        init="systemd",
        cgroups=None,
        switch_management=host.switch_management,
        held=host.held,
    )


HGX = composed.host(*composed.HGX_H100)


def compiled(stack: LoadedStack, known: Facts, recorded: Mapping[Address, Resource] | None = None) -> Graph:
    before = recorded or {}
    return compile_graph(
        stack.inventory, "s", lambda address: before[address].inputs if address in before else None, system=known
    )


def drivers(graph: Graph) -> dict[Address, Resource]:
    return {address: it for address, it in graph.resources.items() if it.type == TYPE}


def test_every_machine_gets_what_its_cards_need(tmp_path: Path) -> None:
    graph = compiled(loaded(tmp_path, GOOD), Facts({"p0-0": HGX}))
    ((address, resource),) = drivers(graph).items()
    assert str(address) == "nodepool/p0[0/driver]"
    assert resource.node == "p0-0"
    inputs = resource.inputs
    assert (inputs["version"], inputs["kernelModule"], inputs["fabricMode"]) == ("595.91.07", "open", "classic")
    assert inputs["repository"]["url"].endswith("/ubuntu2404/x86_64")
    assert set(inputs["held"]) == set(inputs["packages"])
    assert inputs["packages"]["nvidia-fabricmanager"] == inputs["loaded"] == inputs["answers"]
    texts = [effect.text for effect in DRIVER.effects(None, inputs)]
    assert texts[0] == "driver 595.91.07 (branch 595, open kernel module) for 8 x H100 SXM5 80GB"
    assert any(text.startswith("fabric manager: 4 NVSwitches") for text in texts)
    (named,) = (text for text in texts if text.startswith("packages nvidia") or text.startswith("packages datacenter"))
    assert set(named.removeprefix("packages ").split(", ")) == set(inputs["packages"])
    url = "https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/x86_64"
    fingerprint = "EB693B3035CD5710E231E123A4B469963BF863CC"
    assert f"from {url}, signed by {fingerprint} (key from {url}/3bf863cc.pub)" in texts
    mirrored = {**inputs, "repository": {"url": "file:///etc/ubuntu2404/x86_64", "key": "file:/k", "fingerprint": "F"}}
    texts = [effect.text for effect in DRIVER.effects(None, mirrored)]
    assert "from file:///etc/ubuntu2404/x86_64, signed by F (key from file:/k)" in texts
    archive = [effect.text for effect in DRIVER.effects(None, {**inputs, "repository": {}})]
    assert "from the distribution's own archive" in archive
    assert DRIVER.diff(inputs, {**inputs, "why": []}) == []


@pytest.mark.parametrize("system", ["rocky 9.6", "rhel 9.4", "almalinux 8.10", "ol 8.9"])
def test_enterprise_linux_takes_its_own_packages_by_its_own_key(tmp_path: Path, system: str) -> None:
    machine = composed.host(*composed.HGX_H100, system=system)
    (resource,) = drivers(compiled(loaded(tmp_path, GOOD), Facts({"p0-0": machine}))).values()
    inputs, release = resource.inputs, system.split()[1][0]
    assert inputs["pin"] == "nvidia-driver:595-open"
    assert "kmod-nvidia-open-dkms" in inputs["packages"]
    url = f"https://developer.download.nvidia.com/compute/cuda/repos/rhel{release}/x86_64"
    assert inputs["repository"] == {
        "url": url,
        "key": f"{url}/D42D0685.pub",
        "fingerprint": "610C7B14E068A878070DA4E99CD0A493D42D0685",
    }


def test_a_driver_has_an_hour_unless_the_pool_says_otherwise(tmp_path: Path) -> None:
    stack = loaded(tmp_path, GOOD)
    (only,) = drivers(compiled(stack, Facts({"p0-0": HGX}))).values()
    assert (only.timeouts.create, only.timeouts.update, only.timeouts.delete) == (3600, 3600, 600)
    path = tmp_path / "pools.yaml"
    path.write_text(path.read_text() + "  timeouts: {update: 50m}\n")
    (only,) = drivers(compiled(load_stack(tmp_path), Facts({"p0-0": HGX}))).values()
    assert (only.timeouts.create, only.timeouts.update) == (3600, 3000)


def test_secure_boot_is_told_as_a_step_by_hand(tmp_path: Path) -> None:
    graph = compiled(loaded(tmp_path, GOOD), Facts({"p0-0": replace(HGX, secure_boot=True)}))
    (resource,) = drivers(graph).values()
    assert any(effect.text.startswith("by hand: secure boot is on") for effect in DRIVER.effects(None, resource.inputs))


def test_what_is_unsure_about_a_decision_is_told(tmp_path: Path) -> None:
    graph = compiled(loaded(tmp_path, GOOD), Facts({"p0-0": replace(HGX, secure_boot=None)}))
    assert any(note.startswith("p0-0: whether secure boot is on could not be read") for note in graph.notes)


def test_what_of_the_kernel_gives_way_is_planned(tmp_path: Path) -> None:
    graph = compiled(loaded(tmp_path, GOOD), Facts({"p0-0": replace(HGX, in_tree=("nouveau",))}))
    (resource,) = drivers(graph).values()
    said = [effect.text for effect in DRIVER.effects(None, resource.inputs)]
    assert any(text.startswith("kernel: the kernel's own nouveau has the cards") for text in said)


def test_who_can_t_be_read_keeps_what_was_decided_or_is_left_out(tmp_path: Path) -> None:
    stack = loaded(tmp_path, GOOD)
    first = compiled(stack, Facts({}, {"p0-0": "no route to host"}))
    assert drivers(first) == {}
    assert first.notes == [
        "p0-0: its driver is left out of this plan, and decided once the machine can be read: no route to host"
    ]
    assert any(it.type == "swarm:nodepool:Machine" for it in first.resources.values()), "all else goes on"
    decided = compiled(stack, Facts({"p0-0": HGX}))
    again = compiled(stack, Facts({}, {"p0-0": "no route to host"}), decided.resources)
    assert drivers(again) == drivers(decided)
    assert again.notes == ["p0-0: its driver stays as it was decided before: no route to host"]


@pytest.mark.parametrize(
    ("item", "host", "code", "field", "words"),
    [
        (GOOD, composed.host(*["H100"] * 7), "SW3254", "8", "p0-0: 8 H100 are declared"),
        ("{vendor: nvidia, model: A100}", HGX, "SW3254", "A100", "this host has 8 x H100 SXM5 80GB"),
        ("{vendor: nvidia}", composed.host(), "SW3254", "nvidia", "no PCI device"),
        ("{vendor: amd}", composed.host("74a1", vendor="1002", system="rocky 10.0"), "SW3256", "amd", "by dnf"),
        (GOOD, composed.host(*composed.HGX_H100, system="rhel 10.1"), "SW3257", "H100", "whose key signs"),
        (GOOD, composed.host(*composed.HGX_H100, system="debian 13"), "SW3257", "H100", "whose key signs"),
        (
            GOOD,
            composed.host(*composed.HGX_H100, system="debian 11"),
            "SW3255",
            "H100",
            "nothing of NVIDIA's is packaged",
        ),
        ('{vendor: nvidia, driver: {branch: "595"}}', composed.host("V100"), "SW3251", '"595"', "last branch"),
        (
            "{vendor: nvidia, kernelModule: proprietary}",
            composed.host("GH200", cpu="aarch64"),
            "SW3252",
            "pro",
            "is not driven",
        ),
        ("{vendor: nvidia, mig: {1g.5gb: 7}}", HGX, "SW3253", "{1g", "no profile of H100"),
        (
            GOOD,
            replace(HGX, held={"nvidia-fabricmanager": "590.48.01-1"}),
            "SW3251",
            "{branch: auto}",
            "p0-0: nvidia-fabricmanager is held at 590.48.01, and must be 595.91.07 as the driver",
        ),
    ],
)
def test_what_facts_contradict_is_refused_at_its_field(
    tmp_path: Path, item: str, host: Host, code: str, field: str, words: str
) -> None:
    with pytest.raises(InvalidDeclaration) as raised:
        compiled(loaded(tmp_path, item), Facts({"p0-0": host}))
    found = [one for one in raised.value.diagnostics if one.code.id == code]
    assert found, [one.message for one in raised.value.diagnostics]
    assert any(words in one.message for one in found), [one.message for one in found]
    where = found[0].range
    assert where is not None
    line = (tmp_path / "pools.yaml").read_text().splitlines()[where.start.line - 1]
    assert line[where.start.column - 1 :].startswith(field)
    assert found[0].help


@pytest.mark.parametrize(("vendor", "number", "card"), composed.ALL)
def test_nothing_is_impossible_by_declaration_that_is_possible_on_a_machine(
    vendor: Vendor, number: str, card: Card
) -> None:
    machine = composed.alone(vendor, number, card)
    for model in card.models:
        for branch in ("auto", *tables(vendor).drivers.branches):
            for module in ("auto", "open", "proprietary"):
                wanted = Wanted(vendor, model, driver=branch, kernel_module=module)
                refusals = impossible(wanted)
                assert not refusals or composed.refused(machine, wanted)
                assert {refusal.code for refusal in refusals} <= PLACES.keys()


READING = b"""
@@ loaded
595.91.07

@@ module
NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  595.91.07  Release Build

@@ smi
0, 00000000:10:00.0, 595.91.07, Enabled
1, 00000000:11:00.0, 595.91.07, Disabled
@ 0

@@ instances
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)
  MIG 1g.10gb     Device  0: (UUID: MIG-1)
  MIG 1g.10gb     Device  1: (UUID: MIG-2)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-2)

@@ fabric
Fabric Manager version is : 595.91.07

@@ units
nvidia-fabricmanager.service
sshd.service

@@ cdi
libcuda.so.595.91.07

@@ enrolled
certificate /var/lib/dkms/mok.pub
/var/lib/dkms/mok.pub is not enrolled

@@ end
"""


def test_what_a_machine_tells_is_understood() -> None:
    seen = parse(READING, "n1")
    assert (seen.loaded, seen.flavour, seen.answers) == ("595.91.07", "open", "595.91.07")
    assert seen.instances == {"0000:10:00.0": {"1g.10gb": 2}}
    assert (seen.fabric, seen.cdi, seen.signing) == ("595.91.07", "595.91.07", Signing("/var/lib/dkms/mok.pub", False))
    assert seen.running == {"nvidia-fabricmanager.service"}
    closed = READING.replace(b"Open Kernel Module for x86_64", b"x86_64 Kernel Module")
    assert parse(closed, "n1").flavour == "proprietary"
    failing = READING.replace(b"Enabled\n", b"Enabled\nFailed\x1b\n").replace(b"@ 0", b"@ 18")
    assert parse(failing, "n1").answers == ""
    with pytest.raises(WorldUnreadable):
        parse(READING[:-8], "n1")


@given(st.binary(max_size=300))
def test_noise_is_never_taken_for_an_answer(noise: bytes) -> None:
    parts = (b"loaded", b"module", b"smi", b"instances", b"keyring", b"sources", b"units", b"end")
    seen = parse(b"".join(b"\n@@ " + part + b"\n" + noise for part in parts) + b"\n@@ end\n", "n1")
    assert seen.running <= services.DAEMONS.keys()
    assert all(len(text) < 300 for text in (seen.loaded, seen.failure, *seen.source))


def test_what_is_observed_has_the_shape_of_what_is_declared(tmp_path: Path) -> None:
    (resource,) = drivers(compiled(loaded(tmp_path, GOOD), Facts({"p0-0": HGX}))).values()
    inputs = resource.inputs
    versions = {name: f"{version}-1" for name, version in inputs["packages"].items()}
    there = Packages("apt", {**versions, inputs["pin"]: "1"}, frozenset(inputs["held"]))
    seen = Seen(
        loaded=inputs["version"],
        flavour="open",
        cards=(),
        fabric=inputs["version"],
        running=frozenset(inputs["services"]),
        cdi=inputs["version"],
        counters=frozenset(inputs["counters"]),
        source=(inputs["repository"]["url"],),
        fingerprints=(inputs["repository"]["fingerprint"],),
    )
    assert observed(inputs, there, seen).keys() == inputs.keys()
    found = {".".join(change.path) for change in DRIVER.diff(observed(inputs, there, seen), inputs)}
    assert found == {"answers"}
    other = replace(there, installed={**there.installed, "nvidia-fabricmanager": "580.173.02-1"})
    found = {".".join(change.path) for change in DRIVER.diff(observed(inputs, other, seen), inputs)}
    assert "packages.nvidia-fabricmanager" in found


@pytest.mark.integration
def test_a_key_is_known_by_its_fingerprint() -> None:
    if repository.missing():
        pytest.skip("no gpg here")
    key = repository.Key()
    try:
        assert openpgp.fingerprints(key.public) == [key.fingerprint]
        plain = openpgp.binary(key.public)
        assert openpgp.fingerprints(plain) == [key.fingerprint]
        assert openpgp.fingerprints(plain + plain) == [key.fingerprint] * 2
        for broken in (b"", b"hello", plain[:-3], key.public[:200], base64.b64encode(plain)):
            with pytest.raises(ValueError, match=r"."):
                openpgp.fingerprints(broken)
    finally:
        key.close()


@pytest.mark.parametrize(
    "script",
    [
        scripts.fetch_key(places.AMD, "https://a.example/k'; id"),
        scripts.elsewhere(places.AMD, {"sources": ["https://a.example/k'; id jammy main"]}),
        scripts.reload("595.91.07", "open", ["mlx5_core"]),
        scripts.divide({"0000:10:00.0": {"1g.10gb": 2}}, ["0000:10:00.0"]),
        scripts.cdi() + scripts.keep(places.NVIDIA) + scripts.busy() + scripts.diagnose(),
        services.counters_script(["DCGM_FI_DEV_XID_ERRORS"]) + services.start_script([]) + services.stop_script(),
        services.STATES,
        amd.SCRIPT + amd.reload("30.30.4", "open", []) + amd.cdi() + amd.diagnose(8) + amd.busy() + amd.forget(),
    ],
    ids=["key", "elsewhere", "reload", "divide", "last steps", "services", "states", "amd"],
)
def test_every_script_is_one_that_a_shell_understands(script: str) -> None:
    assert subprocess.run(["sh", "-n"], input=script.encode(), check=False).returncode == 0


def test_a_card_that_the_driver_does_not_see_is_drift() -> None:
    made = decision.inputs(HGX, Accelerator("nvidia", "H100", 8))
    assert isinstance(made, Mapping)
    wanted = {**made, "cards": {"0000:10:00.0": "H100", "0000:11:00.0": "H100"}}
    seen = parse(READING, "n1")
    there = Packages("apt", {name: version or "1" for name, version in wanted["packages"].items()})
    assert observed(wanted, there, seen)["cards"] == wanted["cards"]
    one = replace(seen, cards=seen.cards[:1])
    assert observed(wanted, there, one)["cards"] == {"0000:10:00.0": "H100"}
    none = replace(seen, cards=(), failure="No devices were found")
    assert observed(wanted, there, none)["cards"] == wanted["cards"], "what it says instead tells more"
