"""What runs that died have left unconfirmed on nodes is undone by the next one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swarmctl.backends.base import Completed
from swarmctl.operations import guards
from swarmctl.state.journal import Intent
from swarmctl.state.replay import urn
from tests.operations.world import Lease


class Host:
    def run(self, argv: Any, *, stdin: bytes = b"", timeout: float = 30.0, check: bool = True) -> Completed:
        return Completed((), 0, b"undone firewall\n", b"")

    def stop_service(self, name: str) -> None:
        pass


def test_what_older_runs_left_is_undone_and_nothing_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    token = Lease.token
    closed: list[int] = []
    runs = [
        SimpleNamespace(header=SimpleNamespace(token=token + more), journal=Path(str(token + more)))
        for more in (-2, -1, 0, 1)
    ]

    def read(journal: Path) -> list[Intent]:
        inputs = {"node": f"of-{journal}", "host": {"node": f"of-{journal}"}}
        return [
            Intent(1, "update", urn("lab", "swarm:mesh:Peers", f"mesh/m[{journal}/peers]"), inputs, {}, guarded=True)
        ]

    monkeypatch.setattr("swarmctl.state.journal.read", read)
    monkeypatch.setattr("swarmctl.state.runs.close", lambda run: closed.append(run.header.token))
    asked: list[str] = []

    def open_(host: Any, fence: Any) -> Any:
        asked.append(host["node"])
        return Host()

    store: Any = SimpleNamespace(runs=lambda: runs, identity="lab")
    lease: Any = SimpleNamespace(token=token, holder=SimpleNamespace(owner="me"))
    told: list[Any] = []
    guards.undo_left(store, lease, told.append, open_)
    older = [token - 2, token - 1]
    assert closed == older
    assert sorted(asked) == sorted(f"of-{it}" for it in older)
    assert "undone on of-" in told[0].text
