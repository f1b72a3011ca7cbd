"""Taking a reading of a machine."""

from __future__ import annotations

from typing import TypeVar

from swarmctl.backends.base import Host
from swarmctl.hosts.readings import Reading

T = TypeVar("T")


def look(host: Host, reading: Reading[T]) -> T:
    """What the machine tells now. Raises `HostGone`, `HostUnreachable`, `WorldUnreadable`."""
    answer = host.run(reading.argv, timeout=reading.timeout, check=False)
    return reading.parse(answer.stdout, host.name)
