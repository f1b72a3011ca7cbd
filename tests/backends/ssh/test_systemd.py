"""Services where systemd is the first process: a real one, in namespaces, with sshd as one of its units."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from swarmctl.backends.base import Fence, Fenced
from swarmctl.backends.ssh.host import SshHost
from swarmctl.backends.ssh.transport import Transport

from . import servers

pytestmark = [pytest.mark.integration, pytest.mark.slow]
SYSTEMD = Path("/lib/systemd/systemd")


@pytest.fixture(scope="module")
def booted(server: servers.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    if not SYSTEMD.exists() or shutil.which("systemctl") is None:
        pytest.skip("systemd is not installed")
    with servers.serving(tmp_path_factory.mktemp("booted"), systemd=True) as running:
        yield running


def soon(check: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not check() and time.monotonic() < deadline:
        time.sleep(0.1)
    return check()


def test_services_are_units_of_systemd(booted: servers.Server, transport: Transport) -> None:
    host = SshHost(booted.host("worker"), Fence("trial", 2, "ann@laptop"), transport)
    assert host.run(["ps", "-o", "comm=", "-p", "1"]).text == "systemd\n"
    argv = ["/bin/sh", "-c", 'echo "$0 %n \\ $LC_ALL"; exec sleep 7654', "a 'b\""]
    host.start_service("one", argv)
    (first,) = host.services()
    assert first.running
    assert soon(lambda: list(host.logs()) == [("one", "a 'b\" %n \\ C")]), list(host.logs())
    assert host.run(["systemctl", "is-enabled", "swarmctl-one"]).text == "enabled\n"
    host.start_service("one", argv)
    assert host.services() == [first]
    host.start_service("one", ["sleep", "6543"])
    (second,) = host.services()
    assert second.pid != first.pid
    with pytest.raises(Fenced):
        SshHost(booted.host(), Fence("trial", 1, "ann@laptop"), transport).stop_service("one")
    host.run(["kill", "-KILL", str(second.pid)])
    assert soon(lambda: [it.running for it in host.services()] == [False])
    host.stop_service("one")
    host.stop_service("one")
    assert host.services() == []
    assert host.run(["systemctl", "cat", "swarmctl-one"], check=False).returncode != 0
    assert host.get("/etc/systemd/system/swarmctl-one.service") is None
