"""What package managers have in common, and which one a machine has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from swarmctl.hosts.packages import apt, dnf
from swarmctl.hosts.packages.model import Packages
from swarmctl.hosts.packages.work import LOCK, Work


class Manages(Protocol):
    """One package manager; see the functions of `apt` and `dnf`."""

    def refresh(self, source: str = "", *, wait: int = LOCK) -> Work:
        """Read the indexes anew."""
        ...

    def simulate(self, wanted: Sequence[str], removing: Iterable[str] = ()) -> Work:
        """Say what `install` would do."""
        ...

    def download(self, wanted: Sequence[str], into: str, *, wait: int = LOCK) -> Work:
        """Fetch files."""
        ...

    def install(self, wanted: Sequence[str], removing: Iterable[str] = (), *, wait: int = LOCK) -> Work:
        """Install exact versions."""
        ...

    def hold(self, names: Sequence[str], *, wait: int = LOCK) -> Work:
        """Keep versions."""
        ...

    def unhold(self, names: Sequence[str], *, wait: int = LOCK) -> Work:
        """Let them change."""
        ...

    def remove(self, names: Sequence[str], *, wait: int = LOCK) -> Work:
        """Remove packages."""
        ...

    def mend(self, *, wait: int = LOCK) -> Work:
        """Finish what was cut off."""
        ...


def by(there: Packages) -> Manages:
    """What a machine's packages are changed by. Raises ValueError where it has none of the two."""
    if not there.manager:
        raise ValueError("no package manager that is known")
    return dnf if there.manager == "dnf" else apt
