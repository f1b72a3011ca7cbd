"""What the doctor says of a driver that was never verified, that holds its machine out of service, or whose card hangs;
and the labels that schedulers go by."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from swarmctl.backends.base import Completed
from swarmctl.kinds.node_pool.accelerators.spec import Accelerator
from swarmctl.operations.gpu_doctor import Examination, Node, node
from swarmctl.reports import gpu_doctor
from tests.gpu import hosts as composed
from tests.gpu.test_accelerators import HGX, READING, facts
from tests.gpu.test_doctor import H100, MACHINE, Answering

UNVERIFIED = READING.replace(b"@@ end", b"@@ unverified\nyes\n\n@@ end")
FAILS = "its last change failed or was cut off: what is installed was never verified to work"
HOLDS = "swarmctl holds the machine out of service until the driver works"


class Draining(Answering):
    """A machine with a note of its driver's turn, or without."""

    turn = b"driver changing\n"

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, check: bool = True) -> Completed:
        if any("part turns" in word for word in argv):
            return Completed(
                tuple(argv), 0, b"\n@@ mark\ndrained\n@@ turns\n" + self.turn + b"@@ said\n@@ status\n0\n", b""
            )
        return super().run(argv, timeout=timeout, check=check)


def examined(host: Answering, *says: Accelerator) -> Node:
    return node(MACHINE, facts(HGX), says, lambda machine: host)  # type: ignore[arg-type,return-value]


def told(found: Node) -> str:
    return gpu_doctor.render(Examination("s", (found,)))


def test_a_failed_verification_is_told_with_what_to_look_for_before_the_next_apply() -> None:
    found = examined(Draining(UNVERIFIED), H100)
    assert f"  state   {FAILS}\n  state   {HOLDS}\n" in told(found)
    by_hand, apply = found.todo[:2]
    assert by_hand.startswith("by hand on n1: see what fails there (`dcgmi diag -r 1`; XID in `dmesg`)")
    assert "no apply mends that" in by_hand
    assert apply == "run `swarmctl apply`: when the driver is verified, n1 comes back into service"
    assert found.labels["swarmctl/gpu-healthy"] == "false"
    (driver,) = gpu_doctor.to_json(Examination("s", (found,)))["nodes"][0]["drivers"]
    assert (driver["runs"]["verified"], driver["outOfService"]) == (False, True)


def test_what_was_verified_and_is_in_service_says_nothing_of_that() -> None:
    host = Draining(READING)
    host.turn = b""
    found = examined(host, H100)
    assert FAILS not in told(found)
    assert HOLDS not in told(found)
    (driver,) = gpu_doctor.to_json(Examination("s", (found,)))["nodes"][0]["drivers"]
    assert (driver["runs"]["verified"], driver["outOfService"]) == (True, False)


def test_a_machine_that_is_held_for_its_driver_is_not_healthy_though_all_else_is_as_decided() -> None:
    from swarmctl.operations import gpu_doctor as doctor

    host = Draining(READING)
    seen = examined(host, H100)
    held = [text for text in seen.drivers[0].differences if text.startswith("drained by a change of it")]
    assert held
    assert doctor._todo("n1", "nvidia", True, {}, held, seen.drivers[0].runs, held=True) == [  # type: ignore[arg-type]
        "run `swarmctl apply`: when the driver is verified, n1 comes back into service"
    ]


def test_a_card_that_hangs_is_named_and_no_apply_is_advised() -> None:
    hangs = READING[: READING.index(b"@@ smi")] + b"@@ smi\n\n@ 124\n\n@@ end\n"
    for says in ([H100], []):
        found = examined(Answering(hangs), *says)
        assert "nvidia-smi answers: no answer of nvidia-smi within 20 s: a card hangs" in told(found)
        assert found.todo == (
            "by hand on n1: look for XID in `dmesg`, take the machine out of service and restart it; then `swarmctl "
            "gpu doctor n1` again",
        )
        assert found.labels["swarmctl/gpu-healthy"] == "false"


@pytest.mark.parametrize(
    ("cards", "says", "label"),
    [
        (["GH200"], [], "GH200"),
        (["GH200"], [Accelerator("nvidia", "GH200-480GB", 1)], "GH200-480GB"),
        (["25b6"], [], "A2-or-A16"),
        (["H100"], [], "H100-SXM5-80GB"),
    ],
)
def test_an_id_that_means_several_models_claims_none_of_them(
    cards: list[str], says: list[Accelerator], label: str
) -> None:
    found = node(MACHINE, facts(composed.host(*cards)), says, lambda machine: Answering())  # type: ignore[arg-type,return-value]
    assert found.labels["swarmctl/gpu-model"] == label


def test_a_label_has_whole_names_alone() -> None:
    names = [
        "RTX PRO 6000 Blackwell Max-Q Workstation Edition",
        "RTX PRO 6000 Blackwell Server Edition",
        "A100 SXM4 80GB",
    ]
    found = Node("n", "p", {f"0000:1{number}:00.0": name for number, name in enumerate(names)})
    label = found.labels["swarmctl/gpu-model"]
    assert label == "A100-SXM4-80GB_and-2-more"
    two = Node("n", "p", {"0000:10:00.0": names[2], "0000:11:00.0": names[1]})
    assert two.labels["swarmctl/gpu-model"] == "A100-SXM4-80GB_RTX-PRO-6000-Blackwell-Server-Edition"
    long = Node("n", "p", {"0000:10:00.0": "A " + "long-winded " * 6 + "card"})
    label = long.labels["swarmctl/gpu-model"]
    assert label.endswith("-winded")
    assert len(label) <= 63
