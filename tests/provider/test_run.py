"""What a provider process knows of the run that it works for."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmctl.provider import run
from swarmctl.state import runs
from swarmctl.state.model import RunHeader


@pytest.mark.parametrize(("operation", "destroys"), [("update", False), ("destroy", True)])
def test_whether_the_whole_stack_goes_is_known_where_things_are_removed(
    tmp_path: Path, operation: str, destroys: bool
) -> None:
    begun = runs.begin(tmp_path, RunHeader("trial-abc", 7, 0, operation, "me@here"))
    found = run.of(dict(begun.environment))
    assert found is not None
    assert (found.fence.stack, found.fence.token, found.fence.destroys) == ("trial-abc", 7, destroys)


def test_a_preview_works_for_none() -> None:
    assert run.of({}) is None
