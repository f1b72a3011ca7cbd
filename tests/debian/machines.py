"""A node of a lab as a machine whose packages a test may change: dpkg and apt are real, in the node's own tree."""

from __future__ import annotations

from collections.abc import Iterator
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
