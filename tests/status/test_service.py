"""`status` says who is not in or out of service as declared, by what the machine itself tells."""

from __future__ import annotations

from typing import Any

import pytest

from swarmctl.backends.base import Completed, HostUnreachable
from swarmctl.graph.model import Address, Machine, Resource
from swarmctl.kinds.node_pool.draining.expand import DRAIN
from swarmctl.kinds.node_pool.draining.reading import Seen
from swarmctl.operations.nodes import Declared
from swarmctl.operations.service import misplaced, why


@pytest.mark.parametrize(
    ("seen", "declared", "said"),
    [
        (Seen("active"), "active", ""),
        (Seen("drained"), "cordoned", ""),
        (Seen("drained"), "active", "not in service: it is drained"),
        (Seen("active"), "drained", "not drained: it is active"),
        (Seen("unknown: `check` prints nothing"), "active", "not in service: it is unknown: `check` prints nothing"),
        (Seen("drained", {"driver": "changing"}), "drained", ""),
        (
            Seen("drained", {"driver": "changing"}),
            "active",
            "out of service for a change of its driver, which has not ended",
        ),
    ],
)
def test_what_is_said_of_a_machine(seen: Seen, declared: str, said: str) -> None:
    assert why(seen, declared) == said


class Host:
    def __init__(self, printed: bytes | None) -> None:
        self.printed = printed
        self.name = "n"

    def run(self, argv: Any, *, timeout: float = 0, check: bool = True) -> Completed:
        if self.printed is None:
            raise HostUnreachable("n does not answer")
        return Completed((), 0, self.printed, b"")


def test_only_machines_with_hooks_that_answer_are_told() -> None:
    printed = {"n1": b"\n@@ mark\ndrained\n", "n2": b"\n@@ mark\n", "n3": None, "n4": b"\n@@ mark\ndrained\n"}
    printed["n5"] = printed["n1"]
    machines = tuple(
        Machine(name, Address("nodepool", "p", name), "p", "c", "r", {}, (), {}, state="isolated" * (name == "n5"))
        for name in printed
    )
    inputs = {"state": "active", "hooks": {"check": []}}
    resources = {
        address: Resource(address, DRAIN, inputs, node=name)
        for name in ("n1", "n2", "n3", "n5")
        if (address := Address("nodepool", "p", f"{name}/drain"))
    }
    stack = Declared("s", None, machines, (), frozenset(), resources)  # type: ignore[arg-type]
    found = misplaced(stack, printed, lambda machine: Host(printed[machine.name]))  # type: ignore[arg-type, return-value]
    assert found == {"n1": "not in service: it is drained"}
