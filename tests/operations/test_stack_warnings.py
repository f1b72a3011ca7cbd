"""What is unwise about declarations is told by every command that reads them, not only by `validate`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from swarmctl.operations import stack as stacks
from swarmctl.plans.events import Event, Note

LAB = Path(__file__).resolve().parents[2] / "stacks" / "lab"


def test_the_first_warnings_are_told_with_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for file in LAB.glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    events: list[Event] = []
    stacks.load(tmp_path, events.append)
    assert events == []

    path = tmp_path / "network.yaml"
    before, flows, after = re.split(r"(    flows:.*\n)", path.read_text())
    ghosts = "".join(f"      - {{name: g-{n}, from: {{role: ghost}}, to: {{}}, ports: [{n}]}}\n" for n in range(1, 6))
    path.write_text(f"{before}{flows}{ghosts}{after}")
    line = before.count("\n") + 2
    stacks.load(tmp_path, events.append)
    told = [event for event in events if isinstance(event, Note)]
    assert len(told) == stacks.WARNINGS + 1
    assert all(event.warning for event in told)
    assert f"{path.name}:{line}:" in told[0].text
    assert told[0].text.endswith("(SW3304)")
    assert told[-1].text.startswith("2 more warnings; `swarmctl validate` shows")
