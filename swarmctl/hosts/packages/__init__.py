"""Packages of a machine's operating system: what is installed and held, and how that is changed.

Pure: `carry_out` runs a script by a host that is given. Debian's kind alone is driven, by apt and dpkg; a machine with
dnf is told apart and no more.
"""

from swarmctl.hosts.packages.acting import Runs, carry_out
from swarmctl.hosts.packages.apt import (
    Work,
    download,
    hold,
    install,
    mend,
    purge,
    refresh,
    remove,
    simulate,
    unhold,
)
from swarmctl.hosts.packages.faults import (
    BadSignature,
    DiskFull,
    Interrupted,
    Locked,
    PackagesFailed,
    RepositoryUnreachable,
    ScriptFailed,
    UnknownPackage,
    Unmet,
)
from swarmctl.hosts.packages.model import Manager, Move, Packages
from swarmctl.hosts.packages.reading import READING
from swarmctl.hosts.packages.simulation import moves

__all__ = [
    "READING",
    "BadSignature",
    "DiskFull",
    "Interrupted",
    "Locked",
    "Manager",
    "Move",
    "Packages",
    "PackagesFailed",
    "RepositoryUnreachable",
    "Runs",
    "ScriptFailed",
    "UnknownPackage",
    "Unmet",
    "Work",
    "carry_out",
    "download",
    "hold",
    "install",
    "mend",
    "moves",
    "purge",
    "refresh",
    "remove",
    "simulate",
    "unhold",
]
