"""What the tests with real dnf and rpm have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.debian.repository import Key
from tests.rpms import machines


@pytest.fixture(scope="module")
def key() -> Iterator[Key]:
    """What signs a module's repositories. Skips where machines with dnf can't be made."""
    machines.require()
    made = Key()
    yield made
    made.close()
