"""One run of the engine that breaks off: what was heard of it until then is told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from swarmctl.backends import clocks
from swarmctl.engine import runner
from swarmctl.engine.events import Gathered
from swarmctl.engine.outcome import EngineFailed
from swarmctl.engine.runner import Order, Runner
from swarmctl.plans.events import Event, Note


def test_clocks_that_were_only_counted_are_told_of_a_run_that_breaks_off_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def gatherer(*args: Any, on_note: Any, **how: Any) -> Any:
        told.append(on_note)
        return SimpleNamespace(receive=lambda event: None)

    def breaks_off(self: Runner, *args: Any) -> Any:
        for number in range(clocks.NAMED + 2):
            told[0](f"n{number}: its clock is 2 days behind; {clocks.MEND}")
        raise EngineFailed("the provider of this run does not end although its engine has")

    monkeypatch.setattr(runner, "Gatherer", gatherer)
    monkeypatch.setattr(Runner, "_wait", breaks_off)
    said: list[Event] = []
    order = Order(["up"], "changing", 0, cast(Any, None), lambda step: None, cast(Any, None))
    with pytest.raises(EngineFailed):
        Runner(cast(Any, None), tmp_path, said.append, (), None).run(cast(Any, None), order, Gathered())
    notes = [event.text for event in said if isinstance(event, Note)]
    assert len(notes) == clocks.NAMED + 1
    assert notes[-1].startswith("the clocks of 2 more machines are far off")
