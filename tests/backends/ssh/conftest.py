"""A server for all tests of a worker, and connections that are closed after each."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from swarmctl.backends.base import Fence
from swarmctl.backends.ssh.host import SshHost
from swarmctl.backends.ssh.transport import Transport

from . import servers, unpacked


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """Skips where no sshd can be had, or no right to make namespaces."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-mpf", "true"], check=False).returncode:
        pytest.skip("namespaces of root can't be made here")
    try:
        unpacked.tree()
    except unpacked.Unavailable as error:
        pytest.skip(str(error))
    with servers.serving(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = Transport(patience=10)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def machine(server: servers.Server, transport: Transport) -> Callable[..., SshHost]:
    """Opens a host: the server's, as a user, with what else is declared."""

    def opened(user: str = "root", fence: Fence | None = None, **more: Any) -> SshHost:
        return SshHost(server.host(user, **more), fence, transport)

    return opened
