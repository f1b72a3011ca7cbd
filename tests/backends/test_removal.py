"""Trees of nodes are removed in bounded time, or it is said that they are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from swarmctl.backends.lab import fabric, launch
from tests.toolchain import releases as fakes


def test_a_removal_that_hangs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "bin"
    fakes.executable(tools / "rm", b"#!/bin/sh\nexec /bin/sleep 60\n")
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setattr(fabric, "REMOVAL_TIMEOUT", 0.2)
    (tmp_path / "tree").mkdir()
    with pytest.raises(launch.LabBroken, match="did not end within"):
        fabric.remove_tree(tmp_path / "tree")
