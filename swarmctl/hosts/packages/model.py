"""What a machine's package manager tells, as plain data. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Manager = Literal["apt", "dnf", ""]
"""Which one a machine has; empty for none that is known here."""

NAME = re.compile(r"[a-z0-9][a-z0-9+.-]{1,127}(:[a-z0-9-]{1,32})?")
"""A package (Debian policy 5.6.1), with the architecture where it is not the machine's own."""
VERSION = re.compile(r"([0-9]{1,9}:)?[A-Za-z0-9.+~-]{1,200}")
"""Epoch, upstream version and revision (Debian policy 5.6.12)."""
RPM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
"""A package of rpm's, with `.architecture` where that is not the machine's own."""
RPM_VERSION = re.compile(r"([0-9]{1,9}:)?[A-Za-z0-9._+~^-]{1,200}")
"""Epoch, version and release (RPM Packaging Guide, NEVRA)."""


@dataclass(frozen=True, slots=True)
class Packages:
    """All packages of one machine."""

    manager: Manager
    installed: Mapping[str, str] = field(default_factory=dict)
    """Name → version, unpacked at least; where the architecture is not the machine's own, `name:architecture` with apt
    and `name.architecture` with dnf."""
    held: frozenset[str] = frozenset()
    broken: tuple[str, ...] = ()
    """Packages that are neither whole nor gone: half installed, not configured, waiting for a trigger, or there in two
    versions; by name."""
    interrupted: bool = False
    """Whether dpkg or rpm was cut off, and nothing should be begun until that is mended."""
    streams: frozenset[str] = frozenset()
    """Of modules, that dnf keeps to: `nvidia-driver:595-open`."""


@dataclass(frozen=True, slots=True)
class Move:
    """What one package would become."""

    name: str
    before: str
    """Version; empty when it is not installed."""
    after: str
    """Version; empty when it is removed."""
