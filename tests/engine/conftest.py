"""The real engine on a world of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmctl.engine.install import EngineMissing, locate
from tests.engine.world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """An empty world and an empty store; skips where there is no engine."""
    try:
        engine = locate()
    except EngineMissing as missing:
        pytest.skip(f"no Pulumi engine: {'; '.join(missing.details)}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder = tmp_path / "world"
    folder.mkdir()
    return World(folder, engine)
