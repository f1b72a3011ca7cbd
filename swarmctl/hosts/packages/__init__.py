"""Packages of a machine's operating system: what is installed and held, and how that is changed.

Pure: `carry_out` runs a script by a host that is given. `by` has what a machine's package manager takes: apt and dpkg,
or dnf and rpm. The functions here are apt's.
"""

from swarmctl.hosts.packages.acting import Runs, carry_out
from swarmctl.hosts.packages.apt import (
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
from swarmctl.hosts.packages.errors import (
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
from swarmctl.hosts.packages.managers import Manages, by
from swarmctl.hosts.packages.model import Manager, Move, Packages
from swarmctl.hosts.packages.reading import BY_APT, READING
from swarmctl.hosts.packages.simulation import moves
from swarmctl.hosts.packages.work import SLOW, Work

__all__ = [
    "BY_APT",
    "READING",
    "SLOW",
    "BadSignature",
    "DiskFull",
    "Interrupted",
    "Locked",
    "Manager",
    "Manages",
    "Move",
    "Packages",
    "PackagesFailed",
    "RepositoryUnreachable",
    "Runs",
    "ScriptFailed",
    "UnknownPackage",
    "Unmet",
    "Work",
    "by",
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
