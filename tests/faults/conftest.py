"""What the fault tests share: a stack of costless things whose world, store and processes are looked at in the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.stack import Stack, make


@pytest.fixture
def stack(tmp_path: Path, engine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A stack of its own. Whatever a test leaves running, by a failure or by its nature, is ended by its id."""
    monkeypatch.setenv("SWARMCTL_ENGINE", str(engine))
    made = make(tmp_path)
    try:
        yield made
    finally:
        made.end()
