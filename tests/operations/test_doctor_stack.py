"""`doctor --stack --remove`: what is protected stays, and a run that is over removes nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swarmctl.backends.base import Fence
from swarmctl.errors import Declined, LeaseLost, PlanRefused
from swarmctl.graph.model import Graph
from swarmctl.operations import doctor_stack
from swarmctl.operations import stack as stacks
from swarmctl.operations.remains import Finding, Standing, removable
from swarmctl.state import lease_files
from swarmctl.state.checkpoint import Snapshot
from swarmctl.state.holder import me
from swarmctl.state.lease_rules import Party, Record
from swarmctl.state.store import Store
from tests.operations.test_remains import STACK, Fake, graph, machine, recorded, thing


class Remains:
    """A stack whose machine `a` is known and has a thing that is not, as has all of `b`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.world = Fake(["a", "b"], {("a", "x"): {}, ("b", "y"): {}}, left=["a process"])
        self.declared = {it.address: it for it in (machine("a"), thing("a", "x"), machine("b"), thing("b", "y"))}
        self.asked: list[str] = []

    @property
    def graph(self) -> Graph:
        return graph(*self.declared.values())

    @property
    def snapshot(self) -> Snapshot:
        return recorded(machine("a"))

    def protect(self, *addresses: str) -> None:
        for address, it in self.declared.items():
            self.declared[address] = replace(it, protect=str(address) in addresses)

    def remove(self, *, sure: bool = True) -> doctor_stack.Examination:
        def confirm(going: Sequence[Finding], name: str) -> bool:
            self.asked += [name, *(it.address or it.what for it in going)]
            return sure

        return doctor_stack.remove(Path(), lambda event: None, confirm=confirm)

    @property
    def done(self) -> list[tuple[str, str]]:
        """What was removed, and from where."""
        return [it[:2] for it in self.world.done]  # type: ignore[index]


@pytest.fixture
def remains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Remains:
    made = Remains(Store(STACK, f"file://{tmp_path}"))
    loaded = SimpleNamespace(identity=STACK, name="core")

    def world(graph: Graph, snapshot: Snapshot, fence: Fence | None = None) -> Any:
        assert fence is not None, "what is removed is removed under the run's fence"
        return made.world.world

    monkeypatch.setattr(stacks, "load", lambda folder, emit: (loaded, made.store))
    monkeypatch.setattr(stacks, "greatest_token", lambda identity: 0)
    monkeypatch.setattr(doctor_stack, "_compiled", lambda *_: (made.graph, made.snapshot))
    monkeypatch.setattr(doctor_stack, "_world", world)
    return made


ALL = [("delete", "a"), ("delete machine", "b"), ("clear", STACK)]


def test_what_no_state_knows_is_removed_after_asking(remains: Remains) -> None:
    examination = remains.remove()
    assert remains.asked == ["core", "test/x[a]", "nodepool/pool[b]", "a process"]
    assert remains.done == ALL
    assert examination.well
    assert {it.address for it in examination.removed} == {"test/x[a]", "nodepool/pool[b]", "test/y[b]", ""}


def test_who_declines_has_removed_nothing(remains: Remains) -> None:
    with pytest.raises(Declined, match="nothing was removed"):
        remains.remove(sure=False)
    assert remains.done == []


@pytest.mark.parametrize(
    "protected",
    ["test/x[a]", "nodepool/pool[b]", "test/y[b]"],
    ids=["a thing", "a machine", "what goes with its machine"],
)
def test_what_is_protected_is_not_removed_and_nor_is_anything_else(remains: Remains, protected: str) -> None:
    remains.protect(protected)
    with pytest.raises(PlanRefused, match="declared as protected is not removed; nothing was touched") as refused:
        remains.remove()
    assert list(refused.value.details) == [protected]
    assert "`protect: true`" in refused.value.hint
    assert remains.asked == [], "there is nothing to agree to"
    assert remains.done == []


def test_what_is_protected_and_not_in_the_way_hinders_nothing(remains: Remains) -> None:
    remains.protect("nodepool/pool[a]")
    remains.remove()
    assert remains.done == ALL


@pytest.mark.parametrize("removed", range(3))
def test_a_run_that_is_over_removes_nothing_more(
    remains: Remains, monkeypatch: pytest.MonkeyPatch, removed: int
) -> None:
    """Taken over while it asks, or between two removals: each is another look at the lease."""
    other = Party("other", me())

    def take_over() -> None:
        record = lease_files.read(remains.store.folder)
        assert record is not None
        lease_files.write(remains.store.folder, Record(record.token + 1, other), sync=True)

    class Done(list[object]):
        def append(self, it: object) -> None:
            super().append(it)
            if len(self) == removed:
                take_over()

    remains.world.done = Done()
    if removed == 0:
        monkeypatch.setattr(doctor_stack, "_require_unprotected", lambda *_: take_over())
    with pytest.raises(LeaseLost):
        remains.remove()
    assert remains.done == ALL[:removed]


def test_what_is_on_no_machine_is_removed_once() -> None:
    unknown = [Finding(Standing.UNKNOWN, f"thing {n}", removal=lambda fence: None) for n in "ab"]
    assert removable(unknown) == unknown[::-1]
