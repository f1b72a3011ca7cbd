"""A node of a lab as a machine whose packages a test may change: dpkg and apt are real, in the node's own tree."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from swarmctl.backends.base import Host
from swarmctl.backends.lab import modes
from tests.backends import labs

from . import repository

SOURCE = "/etc/apt/sources.list.d/test.list"
KEYRING = "/etc/apt/keyrings/test.asc"
BARE = """
rm -rf /var/lib/apt/lists/* /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/apt/preferences.d/*
mkdir -p /etc/apt/keyrings /etc/apt/sources.list.d
"""
"""What this machine knows of repositories is another matter, and apt is quicker without."""


def require() -> None:
    """Skip where no node can be made, or no package."""
    if missing := repository.missing():
        pytest.skip(f"not installed: {', '.join(missing)}")
    try:
        modes.detect("tests", None)
    except modes.LabImpossible as error:
        pytest.skip("; ".join((error.message, *error.details)))


@contextmanager
def machine(data: Path) -> Iterator[Host]:
    """A node without any repository; `data` is the data folder of its lab."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(data))
        (only,) = labs.place(labs.pool())
        try:
            labs.backend.create_machine(only.inputs)
            host = labs.host(only)
            host.run(["sh", "-c", BARE])
            yield host
        finally:
            labs.backend.sweep(labs.STACK)


def use(host: Host, made: repository.Repository, *, key: repository.Key | None = None, http: int = 0) -> None:
    """Have the machine take packages from it, signed by `key`; over HTTP on that port, else from a folder."""
    url = made.into(host)
    if http:
        url = repository.serving(host, port=http)
    host.put(KEYRING, (key or made.key).public)
    host.put(SOURCE, made.source(url, KEYRING).encode())


HOLD = r"""
import fcntl, glob, select, sys
file = open('/var/lib/dpkg/lock-frontend', 'w')
fcntl.lockf(file, fcntl.LOCK_EX)
print('held', flush=True)
def is_over(seconds):
    return bool(select.select([0], [], [], seconds)[0])
asked = False
while not asked and not is_over(0.02):
    for path in glob.glob('/proc/[0-9]*/cmdline'):
        try:
            words = open(path, 'rb').read().split(b'\0')
        except OSError:
            continue
        asked = asked or (words[0] == b'apt-get' and b'install' in words and b'-s' not in words)
is_over(float(sys.argv[1]))
"""


@contextmanager
def locked(way: Sequence[str], seconds: float) -> Iterator[None]:
    """Hold dpkg's lock on the machine that commands are brought into by `way`, until somebody who installs there has
    asked for it and these seconds are over, or the block."""
    command = [*way, "python3", "-c", HOLD, str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline() == b"held\n"
            yield
        finally:
            holder.stdin.close()  # it is killed by nobody: `way` may have made it a child of its own
            holder.wait(timeout=30)
