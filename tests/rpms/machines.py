"""A node of a lab as a machine with dnf: Debian's packages of dnf and rpm, of the release that Enterprise Linux 9 has.

dnf, rpm and the machine's database of packages are real. That it is Rocky Linux is composed: its os-release says so,
and apt is taken away, with a plugin of dnf's that Debian alone switches on. dpkg stays, as EPEL brings it.
"""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from swarmctl.backends.base import Host
from tests.backends.ssh import unpacked
from tests.debian import machines

PROGRAMS = {
    "/usr/bin/dnf": "dnf",
    "/usr/bin/rpmbuild": "rpm",
    "/usr/bin/createrepo_c": "createrepo-c",
    "/etc/dnf/plugins/versionlock.conf": "dnf-plugins-core",
}
OS_RELEASE = """NAME="Rocky Linux"
ID="rocky"
ID_LIKE="rhel centos fedora"
VERSION_ID="9.6"
PLATFORM_ID="platform:el9"
PRETTY_NAME="Rocky Linux 9.6, composed"
"""
COMPOSE = """
ldconfig
rm -f /usr/bin/apt-get /etc/os-release
rm -f /etc/dnf/plugins/local.conf /usr/lib/python3/dist-packages/dnf-plugins/local.py
mkdir -p /etc/yum.repos.d /etc/pki/rpm-gpg
cat >/etc/os-release
rpm --initdb
"""


@functools.cache
def require() -> Path | None:
    """What the node gets beside this machine's tree; skips where that can't be had, or no node be made."""
    machines.require()
    try:
        return unpacked.tree(PROGRAMS)
    except unpacked.Unavailable as error:
        pytest.skip(str(error))


@contextmanager
def machine(data: Path) -> Iterator[Host]:
    """A node with dnf and no package at all; `data` is the data folder of its lab."""
    tree = require()
    with machines.machine(data) as host:
        if tree is not None:
            packed = subprocess.run(["tar", "-C", str(tree), "-c", "."], check=True, capture_output=True).stdout
            host.run(["tar", "-x", "-C", "/", "--keep-directory-symlink"], stdin=packed, timeout=60)
        host.run(["sh", "-euc", COMPOSE], stdin=OS_RELEASE.encode())
        yield host
