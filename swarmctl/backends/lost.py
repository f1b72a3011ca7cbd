"""A machine that is declared to be gone for good, as a host: every call says so, and nobody is asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn

from swarmctl.backends.base import Completed, HostGone, ServiceStatus


class Lost:
    """See `swarmctl.backends.base.Host`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def _gone(self) -> NoReturn:
        raise HostGone(f"{self.name} is declared lost", "take `state: lost` away if it is there again")

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0, check: bool = True) -> Completed:
        """Raises HostGone."""
        self._gone()

    def put(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Raises HostGone."""
        self._gone()

    def get(self, path: str) -> bytes | None:
        """Raises HostGone."""
        self._gone()

    def remove(self, path: str) -> None:
        """Raises HostGone."""
        self._gone()

    def start_service(self, name: str, argv: Sequence[str]) -> None:
        """Raises HostGone."""
        self._gone()

    def stop_service(self, name: str) -> None:
        """Raises HostGone."""
        self._gone()

    def services(self) -> list[ServiceStatus]:
        """Raises HostGone."""
        self._gone()

    def logs(self, *, tail: int = 200) -> Iterable[tuple[str, str]]:
        """Raises HostGone."""
        self._gone()

    def exec(self, argv: Sequence[str]) -> int:
        """Raises HostGone."""
        self._gone()
