"""What the doctor says of a machine: what its cards are, what they should run, what runs, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from swarmctl.backends.base import Completed
from swarmctl.gpu.model import Device, Host
from swarmctl.graph.model import Address, Machine
from swarmctl.kinds.node_pool.accelerators.spec import Accelerator, Driver
from swarmctl.operations.facts import NodeFacts, Report
from swarmctl.operations.gpu_doctor import Examination, Node, examine, node
from swarmctl.reports import gpu_doctor
from tests.gpu import hosts as composed
from tests.gpu.test_accelerators import HGX, READING, facts
from tests.gpu.test_several import with_both
from tests.reports.test_json import compare

MACHINE = Machine("n1", Address("nodepool", "gpu", "0"), "gpu", "core", "eu", {}, (), {"backend": "lab", "node": "n1"})
INSTALLED = b"@ apt amd64\nii \tnvidia-fabricmanager\tamd64\t580.173.02-1\n@ end\n"


class Answering:
    """A machine that answers both readings."""

    name = "n1"

    def __init__(self, driver: bytes = READING, amd: bytes = b"") -> None:
        self.driver = driver
        self.amd = amd

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, check: bool = True) -> Completed:
        for word, answer in (("amdgpu", self.amd), ("dpkg-query", INSTALLED)):
            if word in argv[-1]:
                return Completed(tuple(argv), 0, answer, b"")
        return Completed(tuple(argv), 0, self.driver, b"")


def examined(host: Host, *says: Accelerator, driver: bytes = READING, amd: bytes = b"") -> Node:
    """By a driver that sees all of NVIDIA's cards."""
    nvidia = [device.address for device in host.devices if device.vendor == "10de" and device.kind == "0302"]
    lines = "".join(f"{number}, 0000{pci.upper()}, 595.91.07, Disabled\n" for number, pci in enumerate(nvidia[2:], 2))
    driver = driver.replace(b"1, 00000000:11:00.0, 595.91.07, Disabled\n", SECOND + lines.encode())
    return node(MACHINE, facts(host), says, lambda machine: Answering(driver, amd))  # type: ignore[arg-type,return-value]


H100 = Accelerator("nvidia", "H100", 8)
SECOND = b"1, 00000000:11:00.0, 595.91.07, Disabled\n"


AMD = b"""
@@ loaded
6.16.6

@@ state
live

@@ source
ABC

@@ built
ABC

@@ package
1:6.16.6.30200100-2255209.22.04

@@ rocm
7.2.4.70204-93~22.04

@@ version
[WARNING] User is missing the following required groups: render
[{"tool": "AMDSMI Tool", "rocm_version": "7.2.4", "amdgpu_version": "6.16.6"}]
@ 0

@@ list
[{"gpu": 0, "bdf": "0000:a0:00.0"}, {"gpu": 1, "bdf": "0000:a0:00.0", "partition_id": 1}]
@ 0

@@ cdi
"amd.com/gpu"

@@ end
"""
"""What a machine with AMD's driver prints; composed, with versions as repo.radeon.com has them."""


def test_each_vendor_s_cards_are_told_of() -> None:
    there = with_both()
    found = examined(there, Accelerator("amd", "MI210", 1), Accelerator("nvidia", "L40S", 2), amd=AMD)
    text = gpu_doctor.render(Examination("s", (found,)))
    assert "is      2 x L40S and 1 x MI210" in text
    assert "runs    30.20.1 open; amd-smi answers: 30.20.1" in text
    assert "differs version 30.20.1" not in text
    assert "should  run 30.30.4, open kernel module\n" in text
    assert "nvidia-smi answers: 595.91.07" in text
    assert found.labels["swarmctl/gpu-driver"] == "595.91.07_30.20.1"
    assert found.labels["swarmctl/gpu-driver-wanted"] == "595.91.07_30.30.4"
    document = gpu_doctor.to_json(Examination("s", (found,)))["nodes"][0]
    assert [one["vendor"] for one in document["drivers"]] == ["nvidia", "amd"]
    assert document["should"] == document["drivers"][0]["should"]


def test_what_is_unsure_about_a_decision_is_told_as_a_plan_tells_it() -> None:
    bare = composed.host(*["H100"] * 8)
    warning = "8 SXM cards and no NVSwitch: true of a guest with passed-through cards, else a fault"
    for says in ([H100], []):
        found = examined(bare, *says)
        assert found.drivers[0].warnings == (warning,)
        assert f"  warning {warning}" in gpu_doctor.render(Examination("s", (found,))).splitlines()
        document = gpu_doctor.to_json(Examination("s", (found,)))["nodes"][0]
        assert document["warnings"] == document["drivers"][0]["warnings"] == [warning]
    assert "warning" not in gpu_doctor.render(Examination("s", (examined(HGX, H100),)))


def test_a_card_that_is_not_known_is_told_and_kept_out_of_what_is_advised() -> None:
    from dataclasses import replace

    there = replace(HGX, devices=(*HGX.devices, Device("0000:65:00.0", "10de", "1ff2", "0300")))
    found = examined(there)
    assert found.todo == examined(HGX).todo, "what is to be declared are the known ones"
    assert found.labels == examined(HGX).labels
    text = gpu_doctor.render(Examination("s", (found,)))
    assert "is      8 x H100 SXM5 80GB and 1 x 10de:1ff2" in text
    assert "warning 10de:1ff2 at 0000:65:00.0 is in no table here: " in text


def test_both_vendors_are_advised_to_be_declared() -> None:
    found = examined(with_both(), amd=AMD)
    assert found.todo == (
        "declare `accelerators: [{vendor: nvidia, model: L40S, count: 2}]` in its pool, then run `swarmctl apply`",
        "declare `accelerators: [{vendor: amd, model: MI210, count: 1}]` in its pool, then run `swarmctl apply`",
    )


def test_a_machine_that_runs_something_else_is_told_what_to_do() -> None:
    found = examined(HGX, H100)
    text = gpu_doctor.render(Examination("s", (found,)))
    assert "is      8 x H100 SXM5 80GB" in text
    assert "should  run 595.91.07, open kernel module\n" in text
    assert "differs packages.nvidia-fabricmanager 580.173.02 → 595.91.07" in text
    assert "to do   run `swarmctl apply`" in text
    assert found.labels["swarmctl/gpu-model"] == "H100-SXM5-80GB"
    assert found.labels["swarmctl/gpu-healthy"] == "false"
    assert int(Examination("s", (found,)).exit_code) == 1


def test_a_card_that_is_lost_is_named() -> None:
    found = examined(HGX, H100, driver=READING.replace(SECOND, b""))
    assert found.todo[-1].startswith("by hand on n1: nvidia-smi does not see the cards at 0000:11:00.0, 0000:12:00.0, ")
    whole = examined(HGX, H100)
    assert not any("does not see" in text for text in whole.todo)


def test_a_machine_of_which_nothing_is_declared_gets_advice() -> None:
    found = examined(HGX)
    assert found.todo == (
        "declare `accelerators: [{vendor: nvidia, model: H100-SXM5-80GB, count: 8}]` in its pool, then run "
        "`swarmctl apply`",
    )
    assert "nothing is declared" in gpu_doctor.render(Examination("s", (found,)))
    without = examined(composed.host())
    assert without.healthy
    assert without.labels == {}


def test_what_can_t_be_is_told_with_its_mend() -> None:
    found = examined(composed.host("V100"), Accelerator("nvidia", driver=Driver("595")))
    assert "last branch" in found.drivers[0].refusals[0].reason
    assert found.todo == ("declare 580, or `auto`",)
    assert not found.healthy


def test_who_differs_from_others_of_the_pool_is_told_what_to_do_about_that_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.gpu.test_unfit import LOST, WELL, stack

    stack(tmp_path)
    known: dict[str, Host] = {**WELL, "n2": LOST}

    def told(*names: str) -> dict[str, Node]:
        def report(stack: str, machines: Sequence[Machine], *more: object, **words: object) -> Report:
            found = [NodeFacts(it.name, it.pool, "ssh", facts(known[it.name])) for it in machines]
            return Report(stack, tuple(found), 0.0)

        monkeypatch.setattr("swarmctl.operations.gpu_doctor.report", report)
        found = examine(tmp_path, names, emit=lambda event: None, open_=lambda machine: Answering())  # type: ignore[arg-type,return-value]
        return {node.name: node for node in found.nodes}

    for nodes, begins, ends in (
        (told(), "look for the card that has left the bus", "declares what it has"),
        (
            told("n2"),
            "where others of its pool are as declared: look for the card that has left the bus",
            "; where none is: declare 7, or look for the card that has left the bus",
        ),
    ):
        (refused,) = nodes["n2"].drivers[0].refusals
        assert refused.code == "SW3254"
        assert refused.mend.startswith(begins)
        assert "declare n2 `state: isolated`" in refused.mend
        assert refused.mend.endswith(ends)
        text = gpu_doctor.render(Examination("s", (nodes["n2"],)))
        assert "has 7 x H100 SXM5 80GB (SW3254)\n" in text
    known |= dict.fromkeys(WELL, LOST)
    assert told()["n2"].todo == ("declare 7, or look for the card that has left the bus",)


def test_a_key_that_waits_for_its_confirmation_comes_first() -> None:
    nothing = READING.replace(b"@@ loaded\n595.91.07", b"@@ loaded\n")
    assert examined(HGX, H100, driver=nothing).todo[0].startswith("by hand on n1: `mokutil --import")


def test_json_and_labels(tmp_path: Path) -> None:
    from swarmctl.errors import WorldUnreadable

    failing = READING.replace(b"@ 0\n", b"@ 18\n")
    nodes = (
        examined(HGX, H100),
        examined(HGX, H100, driver=failing),
        examined(composed.host("V100"), Accelerator("nvidia", driver=Driver("595"))),
        Node("n2", "gpu", error=WorldUnreadable("n2 does not answer", "see to it")),
    )
    found = Examination("s", nodes)
    compare("swarmctl/gpu-doctor/v1", gpu_doctor.to_json(found), gpu_doctor.to_json(examination_by_hand()))
    lines = gpu_doctor.labels(found).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("n1 swarmctl/gpu-model=H100-SXM5-80GB swarmctl/gpu-count=8 ")
    assert int(found.exit_code) == 8


def test_a_machine_that_is_silent_is_named_with_what_to_do_and_the_others_are_told_of() -> None:
    from swarmctl.errors import WorldUnreadable

    silent = Node("n2", "gpu", error=WorldUnreadable("n2 does not answer", "see whether it is on"))
    found = Examination("s", (examined(HGX, H100), silent))
    lines = gpu_doctor.render(found).splitlines()
    assert lines[0] == "n1 (gpu)"
    assert lines[-3:] == ["n2 (gpu)", "  can't be read: n2 does not answer", "  to do   see whether it is on"]


def examination_by_hand() -> Examination:
    from dataclasses import replace

    return Examination("s", (examined(replace(HGX, secure_boot=True), H100),))


@pytest.mark.parametrize("value", ["RTX PRO 6000 Blackwell", "10de:9999"])
def test_labels_are_such_that_schedulers_take(value: str) -> None:
    found = Node("n", "p", {"0000:10:00.0": value})
    assert all(char.isalnum() or char in "._-" for char in found.labels["swarmctl/gpu-model"])


def test_whose_bus_can_t_be_read_is_not_called_healthy() -> None:
    from dataclasses import replace

    for says in ([], [H100]):
        found = node(MACHINE, replace(facts(HGX), pci=None), says, lambda machine: Answering())  # type: ignore[arg-type,return-value]
        assert not found.healthy
        assert int(Examination("s", (found,)).exit_code) == 8
        assert "nobody can tell which cards are there" in gpu_doctor.render(Examination("s", (found,)))


def test_a_machine_without_a_driver_is_told_so_in_one_line() -> None:
    class Bare(Answering):
        def run(self, argv: Sequence[str], *, timeout: float = 30.0, check: bool = True) -> Completed:
            if "dpkg-query" in argv[-1]:
                return Completed(tuple(argv), 0, b"@ apt amd64\n@ end\n", b"")
            return Completed(tuple(argv), 0, b"\n@@ units\nnvidia-cdi-refresh.path\n\n@@ end\n", b"")

    found = node(MACHINE, facts(HGX), [H100], lambda machine: Bare())  # type: ignore[arg-type,return-value]
    assert found.drivers[0].differences == (
        "driver nothing → 595.91.07: neither package nor kernel module of it is there",
    )
    assert found.todo == ("run `swarmctl apply`",)
    text = gpu_doctor.render(Examination("s", (found,)))
    assert "differs driver nothing → 595.91.07" in text
    assert "persistence is declared" not in text
