"""How a run that failed tells what failed, and where."""

from __future__ import annotations

import pytest

from swarmctl.engine.outcome import Failure, Skipped
from swarmctl.errors import NothingDone
from swarmctl.operations.running import Run
from swarmctl.plans.model import Plan

WHY = "{}: the kernel has no vm.foo\nhelp: take it out of the HostBaseline"


def details(*failures: Failure, skipped: tuple[Skipped, ...] = ()) -> list[str]:
    with pytest.raises(NothingDone) as raised:
        Run(Plan("s", (), 0), failures=failures, skipped=skipped).judge()
    return list(raised.value.details)


def sysctl(node: str) -> Failure:
    return Failure(f"hostbaseline/hb[{node}/sysctl]", node, WHY.format(node))


def test_what_fails_alike_on_many_nodes_is_told_once() -> None:
    other = Failure("hostbaseline/hb[n2/swap]", "n2", "n2: it is in use")
    assert details(sysctl("n1"), sysctl("n2"), other, sysctl("n10")) == [
        "hostbaseline/hb[n1/sysctl] on n1: the kernel has no vm.foo",
        "    help: take it out of the HostBaseline",
        "    the same with hostbaseline/hb[n2/sysctl], hostbaseline/hb[n10/sysctl]",
        "hostbaseline/hb[n2/swap] on n2: it is in use",
    ]


def test_of_very_many_some_are_named() -> None:
    told = details(*(sysctl(f"n{number}") for number in range(12)))
    assert len(told) == 3
    assert told[2].endswith("hostbaseline/hb[n8/sysctl], and 3 more")


def test_names_of_other_nodes_make_it_another_reason() -> None:
    told = details(
        Failure("mesh/m[n1/peers]", "n1", "n1 does not reach n3"),
        Failure("mesh/m[n10/peers]", "n10", "n10 does not reach n1"),
        Failure("mesh/m[rotation]", "", "half of it is done"),
        Failure("mesh/m[key]", "n1", "no room"),
    )
    assert told == [
        "mesh/m[n1/peers] on n1: n1 does not reach n3",
        "mesh/m[n10/peers] on n10: n10 does not reach n1",
        "mesh/m[rotation]: half of it is done",
        "mesh/m[key] on n1: no room",
    ]


def test_what_was_not_begun_for_one_reason_is_told_once() -> None:
    need = "it needs nodepool/metal[{}], which failed"
    skipped = tuple(Skipped(f"mesh/m[{node}]", node, need.format(node)) for node in ("n1", "n2"))
    assert details(skipped=skipped) == [
        "not begun:",
        "mesh/m[n1] on n1: it needs nodepool/metal[n1], which failed",
        "    the same with mesh/m[n2]",
    ]
