"""Between plan and apply anything may move: it is refused, for its own reason, and nothing is touched."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from swarmctl.plans import file
from tests.plans import mutations
from tests.plans.mutations import Mutation
from tests.plans.reality import Reality, make

FAMILIES: dict[str, int] = {
    "file_bytes": 150,
    "file_layout": 14,
    "file_fields": 60,
    "forged": 30,
    "lying": 50,
    "declarations": 90,
    "state": 40,
    "versions": 8,
    "clock": 10,
    "world": 90,
    "marks": 1,
}
"""How many there are at least."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Reality, Path]]:
    """A stack with a saved plan."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("mutations")
        reality = make(folder, patch)
        reality.save(folder / "plan.json")
        yield reality, folder / "plan.json"


@pytest.fixture
def reality(shared: tuple[Reality, Path]) -> Iterator[Reality]:
    with shared[0].aside():
        yield shared[0]


@pytest.fixture
def plan(shared: tuple[Reality, Path]) -> Iterator[Path]:
    text = shared[1].read_bytes()
    yield shared[1]
    shared[1].write_bytes(text)


def every(family: str, reality: Reality, plan: Path) -> list[Mutation]:
    text, saved = plan.read_bytes(), file.load(plan)
    made: dict[str, Callable[[], Iterator[Mutation]]] = {
        "file_bytes": lambda: mutations.file_bytes(text),
        "file_layout": lambda: mutations.file_layout(text),
        "file_fields": lambda: mutations.file_fields(text),
        "forged": lambda: mutations.forged(text, plan.parent),
        "lying": lambda: mutations.lying(text, reality),
        "declarations": lambda: mutations.declarations(reality),
        "state": lambda: mutations.state(reality),
        "versions": mutations.versions,
        "clock": lambda: mutations.clock(saved.created),
        "world": lambda: mutations.world(reality),
        "marks": lambda: mutations.marks(saved.id),
    }
    return list(made[family]())


def test_what_has_not_moved_is_applied(reality: Reality, plan: Path) -> None:
    assert reality.refusal(plan) == ""
    created = file.load(plan).created
    for shift in (timedelta(hours=23, minutes=59), timedelta(), -timedelta(minutes=1)):
        reality.clock(created + shift)
        assert reality.refusal(plan) == ""


@pytest.mark.parametrize("family", FAMILIES)
def test_each_is_refused_for_its_own_reason(
    family: str, reality: Reality, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = every(family, reality, plan)
    refused(family, found, reality, plan, capsys)
    assert len(found) >= FAMILIES[family]


def refused(
    family: str, found: list[Mutation], reality: Reality, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = plan.read_bytes()
    wrong = []
    for mutation in found:
        with reality.aside():
            mutation.move(reality, plan)
            if not re.search(mutation.reason, told := reality.refusal(plan)):
                wrong.append(f"{mutation.name}: {told or 'APPLIED'}")
        plan.write_bytes(text)
    with capsys.disabled():
        print(f"\n{family}: {len(found) - len(wrong)} of {len(found)} mutations refused, nothing touched", end="")
    assert wrong == []


def test_what_the_plan_makes_and_is_there_already_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two new workers each waits for the key of the other."""
    reality = make(tmp_path, monkeypatch, workers=5)
    plan = tmp_path / "plan.json"
    reality.save(plan)
    found = list(mutations.appeared(reality))
    refused("appeared", found, reality, plan, capsys)
    assert len(found) >= 8


def test_there_are_at_least_300() -> None:
    assert sum(FAMILIES.values()) >= 300
