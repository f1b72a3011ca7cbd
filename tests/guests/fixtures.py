"""A guest per test. Mark such tests `integration`, `slow` and `xdist_group("guest")`: one at a time is enough."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmctl.backends.ssh.host import SshHost
from swarmctl.backends.ssh.transport import Transport

from . import image, machine


@pytest.fixture(scope="session")
def guest_image() -> Path:
    """The folder of the image. Skips with the reason where it can't be made."""
    with pytest.MonkeyPatch.context() as patch:
        # The user's own cache: building takes minutes.
        from tests.conftest import REAL_CACHE

        patch.setenv("XDG_CACHE_HOME", REAL_CACHE)
        try:
            return image.folder()
        except image.Unavailable as error:
            pytest.skip(str(error))


@pytest.fixture
def guest(guest_image: Path, tmp_path: Path) -> Iterator[machine.Guest]:
    """A guest that has booted, its clock set; gone afterwards, with all that was changed there."""
    folder = tmp_path / "guest"
    folder.mkdir()
    try:
        with machine.running(guest_image, folder) as running:
            transport = Transport(patience=60)
            try:
                SshHost(running.host(), None, transport).run(["date", "-s", f"@{time.time():.0f}"], timeout=60)
            finally:
                transport.close()
            yield running
    except image.Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def transport() -> Iterator[Transport]:
    """Connections, closed afterwards."""
    made = Transport(patience=20)
    try:
        yield made
    finally:
        made.close()
