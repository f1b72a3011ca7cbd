"""The way from a resource to its machine: hosts opened once, facts read once until something changes there."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from swarmctl import backends
from swarmctl.backends import looking, ways
from swarmctl.backends.base import Fence, Host
from swarmctl.errors import SwarmError
from swarmctl.hosts import reading
from swarmctl.hosts.facts import Facts
from swarmctl.hosts.readings import TIMEOUT, Reading

if TYPE_CHECKING:
    from swarmctl.hosts.guard import Change
    from swarmctl.provider.guards import Guards

Json = Any
T = TypeVar("T")
FORESEEING = 8
"""Hosts that are read at the same time before anyone asks for them."""
_FACTS = "facts"
"""Under which name those are kept."""


def read_facts(host: Host) -> Facts:
    """Read a host in one call. Raises `HostGone`, `HostUnreachable`, `WorldUnreadable`."""
    return reading.parse(host.run(reading.ARGV, timeout=TIMEOUT, check=False).stdout, host.name)


@dataclass(slots=True)
class _Entry:
    host: Host
    reading: threading.Lock = field(default_factory=threading.Lock)
    """Held by the one thread that reads the host; the others wait for what it finds."""
    found: dict[str, Any] = field(default_factory=dict)
    """What readings have found, by their names, since something was last changed there."""
    changes: int = 0


class Connections:
    """`kinds.base.Hosts` of one provider process; safe for threads."""

    def __init__(
        self,
        open_host: Callable[[Mapping[str, Json], Fence | None], Host] = backends.open_host,
        read: Callable[[Host], Facts] = read_facts,
        fence: Fence | None = None,
        guards: Guards | None = None,
    ) -> None:
        """`fence` is the run's; None for one that only looks. `guards` are those of its changes."""
        self.fence = fence
        self._guards = guards
        self._open = open_host
        self._read = read
        self._entries: dict[ways.Key, _Entry] = {}
        self._guard = threading.Lock()

    def open(self, host: Mapping[str, Json]) -> Host:
        """The host that the input `host` names; the same object every time."""
        return self._entry(host).host

    def facts(self, host: Mapping[str, Json]) -> Facts:
        """The host's facts, read at the first call and again after every change. See `kinds.base.Hosts.facts`."""
        return self._kept(host, _FACTS, self._read)

    def look(self, host: Mapping[str, Json], reading: Reading[T]) -> T:
        """The same for any other reading. See `kinds.base.Hosts.look`."""
        return self._kept(host, reading.name, lambda opened: looking.look(opened, reading))

    def _kept(self, host: Mapping[str, Json], name: str, ask: Callable[[Host], T]) -> T:
        entry = self._entry(host)
        with entry.reading:
            if name in entry.found:
                return cast("T", entry.found[name])
            before = entry.changes
            found = ask(entry.host)
            with self._guard:
                # What was changed during the reading may or may not be in it: such an answer is good for once.
                if entry.changes == before:
                    entry.found[name] = found
            return found

    def foresee(self, hosts: Iterable[Mapping[str, Json]]) -> None:
        """Begin to read hosts that will be asked for, side by side and in the background; returns at once.

        What cannot be read is left to `facts`, which tells why.
        """
        pending = iter(list(hosts))

        def work() -> None:
            for host in pending:
                with contextlib.suppress(SwarmError):
                    self.facts(host)

        for _ in range(FORESEEING):
            threading.Thread(target=work, daemon=True).start()

    def guarded(self, host: Mapping[str, Json], change: Change) -> str:
        """See `kinds.base.Hosts.guarded`; `guards.make`."""
        if self.fence is None:
            raise ValueError("what only looks changes nothing")
        if self._guards is None:
            from swarmctl.provider.guards import Guards

            self._guards = Guards()
        try:
            return self._guards.change(host, self.open(host), change, self.fence.token)
        finally:
            self.changed(host)

    def changed(self, host: Mapping[str, Json]) -> None:
        """Forget what was read from the host."""
        entry = self._entry(host)
        with self._guard:
            entry.changes += 1
            entry.found.clear()

    def _entry(self, host: Mapping[str, Json]) -> _Entry:
        name = ways.key(host)
        with self._guard:
            entry = self._entries.get(name)
            if entry is None:
                entry = self._entries[name] = _Entry(self._open(host, self.fence))
            return entry
