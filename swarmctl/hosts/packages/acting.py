"""Running the scripts of `apt` and `dnf` on a machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from swarmctl.hosts.packages import dnf_faults, faults
from swarmctl.hosts.packages.work import Work


class _Ended(Protocol):
    @property
    def returncode(self) -> int: ...
    @property
    def stdout(self) -> bytes: ...
    @property
    def stderr(self) -> bytes: ...


class Runs(Protocol):
    """The part of `backends.base.Host` that is needed here."""

    name: str

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0, check: bool = True) -> _Ended:
        """See `backends.base.Host.run`."""
        ...


def carry_out(host: Runs, work: Work) -> str:
    """Do it and return what it printed. Raises `PackagesFailed` and its kin, and what `Host.run` raises."""
    done = host.run(["sh", "-eu", "-s"], stdin=work.script.encode(), timeout=work.timeout, check=False)
    printed, said = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    judge = dnf_faults.fault if work.by == "dnf" else faults.fault
    if found := judge(host.name, work.what, done.returncode, printed, said):
        raise found
    return printed
