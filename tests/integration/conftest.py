"""What integration tests share: the real engine, found once."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def engine() -> Path:
    """The real engine's path. `make test` has put it there; without it the tests cannot prove anything, and fail."""
    from swarmctl.engine.install import locate

    return locate().path
