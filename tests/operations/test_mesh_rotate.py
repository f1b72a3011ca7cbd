"""`mesh rotate` refuses what can't be rotated before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmctl.errors import UsageError
from swarmctl.operations import stack as stacks

LAB = Path(__file__).resolve().parents[2] / "stacks" / "lab"


@pytest.mark.parametrize(
    ("nodes", "why"),
    [(stacks.EVERY_NODE, "no mesh of this stack is applied"), (("worker-0",), "no node of a mesh is called worker-0")],
)
def test_what_has_no_key_is_not_rotated(
    nodes: tuple[str, ...], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    loaded, store = stacks.load(LAB)
    with pytest.raises(UsageError, match=why):
        stacks.compile_stack(loaded, store, rotate=nodes)
