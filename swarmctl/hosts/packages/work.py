"""One change of a machine's packages, and what goes into it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

LOCK = 120
"""Seconds to wait for whoever holds a lock of the package manager's; unattended upgrades take some minutes at most."""
QUICK = 120.0
SLOW = 1800.0
"""Seconds of a download or an installation: drivers are built by DKMS meanwhile."""
FILE = re.compile(r"/[A-Za-z0-9/._+~%-]{1,400}\.(deb|rpm)")
FOLDER = re.compile(r"/[A-Za-z0-9/._+~-]{1,300}")


@dataclass(frozen=True, slots=True)
class Work:
    """One change of a machine's packages."""

    what: str
    """For people: "installing nvidia-imex"."""
    script: str
    """For `sh -eu -s`."""
    timeout: float = QUICK
    """Seconds."""
    by: Literal["apt", "dnf"] = "apt"
    """Whose words it fails in."""


def folder(path: str) -> str:
    """The path, if it is one that goes into a command. Raises ValueError."""
    if not FOLDER.fullmatch(path):
        raise ValueError(f"not a path for packages: {path[:80]!r}")
    return path


def some(wanted: Sequence[str]) -> str:
    """Some of these by name, for people; of files, the names of their packages."""
    names = [
        one.rpartition("/")[2].partition("_")[0].replace("%5f", "_") if FILE.fullmatch(one) else one.partition("=")[0]
        for one in wanted
    ]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
